"""What pretraining minimises: the original's three losses, and named options beside them."""

import jax
import jax.numpy as jnp

from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.models.preprocess import (
    denormalize,
    inside_chromosome,
    intensity,
    log_scale,
    patchify,
    unpatchify,
)
from hicfm_jax.train.losses.ssim import ssim_per_channel
from hicfm_jax.types import Array

MIN_VALID_FRACTION = 0.001  # of a patch's pixels; one pixel of 256 suffices


def weighted_mean(values: Array, weights: Array) -> Array:
    """Mean of `values` under `weights` (broadcast); 0 where all weights are 0."""
    weights = jnp.broadcast_to(weights, values.shape)
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1e-9)


def ssim_losses(output: PretrainOutput, images: Array, from_counts: bool = False) -> Array:
    """1 - SSIM of the predicted and the true colours, per image and channel, `[B, 3]`.

    Both are clipped to [0, 1]: no gradient reaches a pixel predicted outside. The whole image
    counts, visible patches included. The red channel of a target is constant, so a mean over
    channels flatters; channels 1 and 2 alone are the honest number.

    Args:
      output: of the model.
      images: normalised images `[B, H, W, 3]`.
      from_counts: the images are those of `preprocess.normalize`, whose red is one number and whose
        blue is their green, so that a third of the work is spared.
    """
    predicted = jnp.clip(denormalize(unpatchify(output.patch_pred, *images.shape[1:3])), 0.0, 1.0)
    true_colours = jnp.clip(denormalize(images), 0.0, 1.0)
    if not from_counts:
        return 1.0 - ssim_per_channel(predicted, true_colours)
    red = ssim_per_channel(predicted[..., :1], true_colours[:, :1, :1, :1])
    return 1.0 - jnp.concatenate([red, ssim_per_channel(predicted[..., 1:], true_colours[..., 1:2])], axis=1)


def _unit(vectors: Array) -> Array:
    # rsqrt of a floored square keeps the gradient of an all-zero patch finite.
    square = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def contrastive_per_patch(
    patch_pred: Array, patch_true: Array, temperature: float = 1.0, center: bool = False
) -> Array:
    """Cross-entropy of finding each patch's own target among the window's targets, `[B, L]`.

    Args:
      patch_pred, patch_true: normalised pixels `[B, L, 768]`.
      temperature: divides the cosine similarities; the original has none (1). Hi-C patches are
        nearly parallel, so at 1 the loss hardly leaves ln L.
      center: subtract each window's mean patch from the targets and predictions first.
    """
    if center:
        patch_pred = patch_pred - patch_pred.mean(axis=1, keepdims=True)
        patch_true = patch_true - patch_true.mean(axis=1, keepdims=True)
    predicted, true = _unit(patch_pred), _unit(patch_true)
    # Cosines of patches that are nearly parallel: rounded as GPUs and TPUs would, they tell too little apart.
    logits = jnp.einsum("bld,bmd->blm", predicted, true, precision="highest") / temperature
    # Not the diagonal of the logits, whose gradient would be one more array of L x L.
    own = jnp.sum(predicted * true, axis=-1) / temperature
    return jax.nn.logsumexp(logits, axis=-1) - own


def patches_with_data(valid_mask: Array) -> Array:
    """1 for each patch that holds data, from `[B, H, W]` to `[B, L]` float32."""
    fraction = patchify(valid_mask[..., None]).mean(axis=-1)
    return (fraction >= MIN_VALID_FRACTION).astype(jnp.float32)


def log_loss(output: PretrainOutput, counts: Array, example_mask: Array) -> Array:
    """Mean squared error of log10(1 + counts) over all pixels within the chromosome, in decades².

    The image is scaled to each window's maximum, so an error of the image means more decades in a
    deep window than in a shallow one; this is the error that `masked_r2_*` judge.

    Args:
      output: of the model.
      counts: raw contacts `[B, H, W]`.
      example_mask: 0 for padding examples, `[B]`.
    """
    predicted = 1.0 - denormalize(unpatchify(output.patch_pred, *counts.shape[1:]))[..., 1]
    error = (predicted - intensity(counts)) * log_scale(counts)[:, None, None]
    return weighted_mean(error**2, inside_chromosome(counts) * example_mask[:, None, None])


def pixel_errors(output: PretrainOutput, images: Array) -> Array:
    """Squared error of every normalised pixel, in units of its patch's variance, `[B, L]`.

    The unit makes faint long-range patches count as much as the diagonal; it is floored so that
    flat patches do not dominate (the idea of normalised targets, He et al. 2022).
    """
    true = patchify(images)[..., 1::3]
    variance = jnp.var(true, axis=-1)
    floor = 0.01 + 0.1 * variance.mean(axis=1, keepdims=True)
    error = jnp.mean((output.patch_pred[..., 1::3] - true) ** 2, axis=-1)
    return error / (variance + floor)


def pretrain_losses(
    output: PretrainOutput,
    images: Array,
    valid_mask: Array,
    matrix_count: Array,
    *,
    example_mask: Array | None = None,
    counts: Array | None = None,
    alpha: float = 1.0,
    count_weight: float = 1.0,
    contrastive_weight: float = 1.0,
    temperature: float = 1.0,
    center_targets: bool = False,
    pixel_weight: float = 0.0,
    log_weight: float = 0.0,
) -> dict[str, Array]:
    """The losses of pretraining (original: `Models_HiCFoundation.forward_loss`, `train_epoch.py`).

    Args:
      output: of the model.
      images: normalised images `[B, H, W, 3]`.
      valid_mask: where there is data, `[B, H, W]`.
      matrix_count: contacts of each stored tile, `[B]`.
      example_mask: 0 for padding examples, `[B]`; None: all count.
      counts: raw contacts `[B, H, W]` that the images were made of; needed for `log_loss`, and makes
        SSIM cheaper.
      alpha, count_weight: alpha weighs SSIM and count loss together, count_weight the latter once more.
      contrastive_weight, temperature, center_targets: of the contrastive loss; 1, 1, False is the original.
      pixel_weight, log_weight: of `pixel_errors` and `log_loss`; 0 is the original.

    Returns:
      Scalars `ssim_loss, contrastive_loss, count_loss, loss`, and `ssim_loss_gb` (SSIM of the two
      channels that hold data), `pixel_loss` and, given `counts`, `log_loss`.
    """
    if example_mask is None:
        example_mask = jnp.ones(images.shape[0], jnp.float32)
    per_image = example_mask[:, None]
    ssim = ssim_losses(output, images, from_counts=counts is not None)
    ssim_loss = weighted_mean(ssim, per_image)
    contrastive = contrastive_per_patch(output.patch_pred, patchify(images), temperature, center_targets)
    contrastive_loss = weighted_mean(contrastive, patches_with_data(valid_mask) * per_image)
    count_error = (output.count_pred - jnp.log10(matrix_count.astype(jnp.float32) + 1.0)) ** 2
    count_loss = weighted_mean(count_error, example_mask)
    pixel_loss = weighted_mean(pixel_errors(output, images), per_image)
    loss = alpha * (ssim_loss + count_weight * count_loss) + contrastive_weight * contrastive_loss
    if pixel_weight:
        loss = loss + pixel_weight * pixel_loss
    parts = {}
    if counts is not None:
        parts["log_loss"] = log_loss(output, counts, example_mask)
        if log_weight:
            loss = loss + log_weight * parts["log_loss"]
    return {
        "loss": loss,
        **parts,
        "ssim_loss": ssim_loss,
        "count_loss": count_loss,
        "contrastive_loss": contrastive_loss,
        "pixel_loss": pixel_loss,
        "ssim_loss_gb": weighted_mean(ssim[:, 1:], per_image),
    }
