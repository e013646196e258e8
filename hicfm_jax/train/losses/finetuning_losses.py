"""The losses of fine-tuning: one for each target, weighted and summed."""

from collections.abc import Mapping
from typing import NamedTuple

import jax.numpy as jnp
from ml_collections import ConfigDict

from hicfm_jax.config import TARGETS
from hicfm_jax.models.preprocess import TargetScaling, target_scaling
from hicfm_jax.train.losses.pretraining_losses import weighted_mean
from hicfm_jax.types import Array

LN10 = 2.302585092994046


class TargetLoss(NamedTuple):
    """How one target counts: its loss (a name of `config.TARGET_LOSSES`), weight and scaling."""

    loss: str
    weight: float
    scaling: TargetScaling


def target_losses(config: ConfigDict) -> dict[str, TargetLoss]:
    """The targets that `config.targets` gives a weight, by name."""
    settings = config.targets
    return {
        name: TargetLoss(
            settings[f"{name}_loss"], settings[f"{name}_weight"], target_scaling(settings[f"{name}_scaling"])
        )
        for name in TARGETS
        if settings[f"{name}_weight"] > 0
    }


def cosine(x: Array, y: Array) -> Array:
    """Cosine similarity of flattened examples, `[B, ...]` twice -> `[B]`; 0 where one is all zero."""
    x, y = (v.reshape(v.shape[0], -1) for v in (x, y))

    def norm(v):  # floored under the root, so that an all-zero example has a gradient
        return jnp.sqrt(jnp.maximum(jnp.sum(v * v, axis=1), 1e-16))

    return jnp.sum(x * y, axis=1) / (norm(x) * norm(y))


def _signed_log10(x: Array) -> Array:
    # Unlike a logarithm of what is clipped at 0, it has a gradient where the output is negative.
    return jnp.sign(x) * jnp.log1p(jnp.abs(x)) / LN10


def per_example(loss: str, scaling: TargetScaling, output: Array, target: Array) -> Array:
    """One number an example: `[B, ...]` predicted and true -> `[B]`.

    Args:
      loss: "mse", mean squared error on the scale of the output (original: loss type 1);
        "cosine", 1 - cosine of the flattened output and scaled target (original: loss type 2);
        "poisson", half the Poisson deviance of target + 1 given 10^(output * unit): like the
        Poisson likelihood it is least where the prediction is the target's mean, not the mean of
        its logarithm, but a pixel predicted below zero keeps its gradient;
        "log_mse", mean squared error of log10(1 + x), in decades².
      scaling: of the output.
      output: on the network's scale.
      target: as in the tiles.
    """
    scaled = scaling.scale(target)
    if loss == "cosine":
        return 1.0 - cosine(output, scaled)
    if loss == "mse":
        error = (output - scaled) ** 2
    elif loss == "poisson":
        log_mean, log_target = (value * scaling.unit * LN10 for value in (output, scaled))
        error = jnp.exp(log_mean) - jnp.exp(log_target) * (1.0 + log_mean - log_target)
    elif scaling.offset is None:
        error = (_signed_log10(output) - _signed_log10(scaled)) ** 2
    else:
        error = ((output - scaled) * scaling.unit) ** 2
    return error.reshape(error.shape[0], -1).mean(axis=1)


def finetune_losses(
    outputs: Mapping[str, Array],
    targets: Mapping[str, Array],
    specs: Mapping[str, TargetLoss],
    example_mask: Array,
) -> dict[str, Array]:
    """The losses of the targets that are there (original: `finetune/train_epoch.py`).

    Args:
      outputs: predictions by target, `map [B, H, W]`, `track [B, H]` or `[B, 6, H]`, `embedding [B, D']`.
      targets: as in the tiles, same shapes.
      specs: how each counts.
      example_mask: 0 for padding examples, `[B]`.

    Returns:
      Scalars `NAME_loss` of each target, not weighted, and `loss`, their weighted sum.
    """
    parts = {
        f"{name}_loss": weighted_mean(
            per_example(spec.loss, spec.scaling, outputs[name], targets[name]), example_mask
        )
        for name, spec in specs.items()
    }
    total = sum(spec.weight * parts[f"{name}_loss"] for name, spec in specs.items())
    return {"loss": total, **parts}


def triplet_similarities(anchor: Array, replicate: Array) -> tuple[Array, Array]:
    """Cosine of each embedding `[B, D']` with its own replicate's and with the one before it, `[B]` each."""
    return cosine(anchor, replicate), cosine(anchor, jnp.roll(replicate, 1, axis=0))


def triplet_loss(anchor: Array, replicate: Array, margin: float, example_mask: Array) -> Array:
    """Hinge on the cosine: a replicate is to be more similar than another window, by `margin`.

    The other window is the example before it in the batch; where either is padding, nothing counts.
    """
    same, other = triplet_similarities(anchor, replicate)
    both = example_mask * jnp.roll(example_mask, 1)
    return weighted_mean(jnp.maximum(margin + other - same, 0.0), both)
