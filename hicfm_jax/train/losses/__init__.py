"""Tables of training losses, and the weighted sums of their entries."""

import jax
from ml_collections import ConfigDict

from hicfm_jax.config import require
from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.models.preprocess import SCALINGS
from hicfm_jax.train.losses import finetuning_losses, gamma_poisson, pretraining_losses
from hicfm_jax.train.losses.finetuning_losses import TargetLoss
from hicfm_jax.train.losses.pretraining_losses import Reconstruction
from hicfm_jax.types import Array

LOSSES = {
    "mse": finetuning_losses.squared_error,
    "cosine": finetuning_losses.cosine_distance,
    "poisson": finetuning_losses.poisson_deviance,
    "log_mse": finetuning_losses.squared_log_error,
    "gamma_poisson": gamma_poisson.gamma_poisson_deviance,
    "quasi_poisson": gamma_poisson.quasi_poisson_deviance,
    "bernoulli": finetuning_losses.bernoulli_deviance,
}
"""Losses of a fine-tuning target: `(output, target, scaling) -> [B]`; chosen in `config.targets`."""

WITH_SHAPE = ("gamma_poisson", "quasi_poisson")
"""Losses of a mean and a shape, which `model.dispersion` predicts."""

NEED_LOG_SCALING = ("poisson", *WITH_SHAPE)
"""Losses that compute counts from the output, as 10^(output * unit) - 1: they need a scaling with offset 1.

A loss that compares the output with `scaling.scale(target)` works with any scaling, and is not listed.
"""

PRETRAIN_LOSSES = {
    "ssim": pretraining_losses.ssim_loss,
    "count": pretraining_losses.count_loss,
    "contrastive": pretraining_losses.contrastive_loss,
    "pixel": pretraining_losses.pixel_loss,
    "log": pretraining_losses.log_loss,
}
"""Terms of pretraining: `(Reconstruction) -> {metric: scalar}`; `config.loss` has a weight of each."""


def pretrain_losses(
    output: PretrainOutput,
    images: Array,
    valid_mask: Array,
    matrix_count: Array,
    *,
    alpha: float = 1.0,
    count_weight: float = 1.0,
    contrastive_weight: float = 1.0,
    **options,
) -> dict[str, Array]:
    """The losses of pretraining (original: `Models_HiCFoundation.forward_loss`, `train_epoch.py`).

    Weights are as in the original; `alpha` is that of SSIM and count loss. `options` are further fields of
    `Reconstruction`, and `NAME_weight` of further terms, 0 by default.

    Returns:
      Scalars: all that the terms return (`ssim_loss`, `ssim_loss_gb`, `count_loss`, `contrastive_loss`,
      `pixel_loss`, and `log_loss` if `counts` are given), and `loss`, the weighted sum.
    """
    weights = {"ssim": alpha, "count": alpha * count_weight, "contrastive": contrastive_weight}
    weights |= {name: options.pop(f"{name}_weight", 0.0) for name in PRETRAIN_LOSSES if name not in weights}
    windows = Reconstruction(output, images, valid_mask, matrix_count, **options)
    parts, total = {}, 0.0
    for name, term in PRETRAIN_LOSSES.items():
        with jax.named_scope(f"{name}_loss"):  # profiles name it
            parts |= term(windows)
        if weights[name] and f"{name}_loss" in parts:
            total = total + weights[name] * parts[f"{name}_loss"]
    return {"loss": total, **parts}


def target_losses(config: ConfigDict) -> dict[str, TargetLoss]:
    """Loss, weight and scaling of each target with a weight above 0, by the name of the target.

    Raises:
      InputError: a loss or scaling without an entry in its table, or a loss that needs another scaling.
    """
    settings, found = config.targets, {}
    for name in (field.removesuffix("_weight") for field in settings if field.endswith("_weight")):
        loss, scaling = settings[f"{name}_loss"], settings[f"{name}_scaling"]
        for field, value, table in (("loss", loss, LOSSES), ("scaling", scaling, SCALINGS)):
            require(value in table, f"targets.{name}_{field}", value, "one of " + ", ".join(table))
        counts = loss not in NEED_LOG_SCALING or SCALINGS[scaling].offset == 1.0
        require(counts, f"targets.{name}_scaling", scaling, f"log10 or log1000 for a {loss} loss")
        if settings[f"{name}_weight"] > 0:
            found[name] = TargetLoss(LOSSES[loss], settings[f"{name}_weight"], SCALINGS[scaling])
    return found
