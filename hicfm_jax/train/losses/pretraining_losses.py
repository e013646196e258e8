"""Terms of the pretraining loss: the original's three, and two more."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.models.preprocess import (
    denormalize,
    inside_chromosome,
    intensity,
    log_scale,
    patchify,
    unpatchify,
)
from hicfm_jax.types import Array

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for a data range of 1


def gaussian_taps() -> np.ndarray:
    """The 11 weights of the smoothing window, normalized in float32 as in the original."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return taps.astype(np.float32) / np.float32(taps.sum())


def _by_matrix(x: Array, axis: int) -> Array:
    taken = x.shape[axis] - WINDOW + 1
    matrix = np.zeros((taken, x.shape[axis]), np.float32)
    for row in range(taken):
        matrix[row, row : row + WINDOW] = gaussian_taps()
    spec = {1: "ph,bhwc->bpwc", 2: "qw,bhwc->bhqc"}[axis]
    return jnp.einsum(spec, matrix, x, precision=jax.lax.Precision.HIGHEST)


def _by_slices(x: Array, axis: int) -> Array:
    taken = x.shape[axis] - WINDOW + 1
    shifted = (jax.lax.slice_in_dim(x, at, at + taken, axis=axis) for at in range(WINDOW))
    return sum(tap * part for tap, part in zip(gaussian_taps(), shifted, strict=True))


def _smooth(x: Array) -> Array:
    """Weighted means along H and W, without padding; an axis shorter than the window is unchanged."""
    # XLA for GPUs fuses the eleven terms; elsewhere the product with a banded matrix is faster. A depthwise
    # convolution is slower everywhere.
    along = _by_slices if jax.default_backend() == "gpu" else _by_matrix
    for axis in (1, 2):
        if x.shape[axis] >= WINDOW:
            x = along(x, axis)
    return x


def ssim_per_channel(x: Array, y: Array) -> Array:
    """SSIM of two images in [0, 1], `[B, H, W, C]` -> `[B, C]`.

    `y` may have one channel, or one pixel for a constant image. Gaussian window of 11 pixels, sigma 1.5, no
    padding, K = (0.01, 0.03), data range 1 (original: `ops/ssim.py`; Wang et al. 2004, IEEE TIP 13:600).
    """
    # Second moments about 0 would cancel in float32; about a constant near the pixels' values they do not.
    origin = jax.lax.stop_gradient(y.mean(axis=(1, 2), keepdims=True))
    x, y = x - origin, y - origin
    mean_x, mean_y = _smooth(x), _smooth(y)
    # The rounded weights sum to 1 - 3e-8 per axis, which makes a flat patch's variance slightly positive.
    # Beside C2 that changes the fifth digit of its gradient, so it is corrected.
    smoothed_axes = sum(size >= WINDOW for size in x.shape[1:3])
    missing = 1.0 - float(gaussian_taps().sum(dtype=np.float64)) ** smoothed_axes

    def moment(u, v, mean_u, mean_v):
        return _smooth(u * v) - mean_u * mean_v + missing * origin * (mean_u + mean_v + origin)

    variance_x = moment(x, x, mean_x, mean_x)
    variance_y = moment(y, y, mean_y, mean_y)
    covariance = moment(x, y, mean_x, mean_y)
    mean_x, mean_y = mean_x + origin, mean_y + origin
    contrast = (2 * covariance + C2) / (variance_x + variance_y + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return jnp.mean(luminance * contrast, axis=(1, 2))


MIN_VALID_FRACTION = 0.001  # of a patch's pixels; one pixel of 256 suffices

# The default precision of GPUs and TPUs is too low for cosines of nearly parallel patches.
PRECISION = "highest"


class Reconstruction(NamedTuple):
    """What the model predicted of a batch, and the truth.

    Attributes:
      output: of the model.
      images: normalized images `[B, H, W, 3]`.
      valid_mask: where there is data, `[B, H, W]`.
      matrix_count: contacts of each stored tile, `[B]`.
      example_mask: 0 for padding examples, `[B]`; None: all count.
      counts: raw contacts `[B, H, W]` that the images were made of. `log_loss` needs them, and they make
        SSIM cheaper; None if unknown.
      temperature, center_targets: of the contrastive loss; 1 and False in the original.
    """

    output: PretrainOutput
    images: Array
    valid_mask: Array
    matrix_count: Array
    example_mask: Array | None = None
    counts: Array | None = None
    temperature: float = 1.0
    center_targets: bool = False

    @property
    def examples(self) -> Array:
        """1 for an example, 0 for padding, `[B]`."""
        return jnp.ones(len(self.images)) if self.example_mask is None else self.example_mask


def weighted_mean(values: Array, weights: Array) -> Array:
    """Mean of `values` under `weights` (broadcast); 0 where all weights are 0."""
    weights = jnp.broadcast_to(weights, values.shape)
    return jnp.sum(values * weights) / jnp.maximum(jnp.sum(weights), 1e-9)


def ssim_loss(windows: Reconstruction) -> dict[str, Array]:
    """Means of 1 - SSIM over all channels, as in the original, and over green and blue (`_gb`).

    The red channel of a target is constant, which makes the mean over all channels too favorable.
    """
    losses, per_image = ssim_losses(windows), windows.examples[:, None]
    return {
        "ssim_loss": weighted_mean(losses, per_image),
        "ssim_loss_gb": weighted_mean(losses[:, 1:], per_image),
    }


def ssim_losses(windows: Reconstruction) -> Array:
    """1 - SSIM of the predicted and the true colors, per image and channel, `[B, 3]`.

    Both are clipped to [0, 1]: no gradient reaches a pixel predicted outside. The whole image
    counts, visible patches included.
    """
    patches, images = windows.output.patch_pred, windows.images
    predicted = jnp.clip(denormalize(unpatchify(patches, *images.shape[1:3])), 0.0, 1.0)
    true = jnp.clip(denormalize(images), 0.0, 1.0)
    if windows.counts is None:
        return 1.0 - ssim_per_channel(predicted, true)
    # Images of counts have a constant red, and a blue that equals the green.
    red = ssim_per_channel(predicted[..., :1], true[:, :1, :1, :1])
    return 1.0 - jnp.concatenate([red, ssim_per_channel(predicted[..., 1:], true[..., 1:2])], axis=1)


def count_loss(windows: Reconstruction) -> dict[str, Array]:
    """Squared error of log10(1 + contacts) of the stored tile."""
    true = jnp.log10(windows.matrix_count.astype(jnp.float32) + 1.0)
    return {"count_loss": weighted_mean((windows.output.count_pred - true) ** 2, windows.examples)}


def contrastive_loss(windows: Reconstruction) -> dict[str, Array]:
    """Mean of `contrastive_per_patch` over patches that hold data."""
    per_patch = contrastive_per_patch(
        windows.output.patch_pred, patchify(windows.images), windows.temperature, windows.center_targets
    )
    weights = patches_with_data(windows.valid_mask) * windows.examples[:, None]
    return {"contrastive_loss": weighted_mean(per_patch, weights)}


def _unit(vectors: Array) -> Array:
    # rsqrt of a floored square keeps the gradient of an all-zero patch finite.
    square = jnp.sum(vectors * vectors, axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(square, 1e-24))


def contrastive_per_patch(
    patch_pred: Array, patch_true: Array, temperature: float = 1.0, center: bool = False
) -> Array:
    """Cross-entropy of finding each patch's own target among the window's targets, `[B, L]`.

    Patches are normalized pixels `[B, L, 768]`; with `center`, each window's mean patch is subtracted first.
    `temperature` divides the cosines: Hi-C patches are nearly parallel, so at 1 (as in the original) the
    loss hardly leaves ln L.
    """
    if center:
        patch_pred = patch_pred - patch_pred.mean(axis=1, keepdims=True)
        patch_true = patch_true - patch_true.mean(axis=1, keepdims=True)
    predicted, true = _unit(patch_pred), _unit(patch_true)
    logits = jnp.einsum("bld,bmd->blm", predicted, true, precision=PRECISION) / temperature
    # Not the diagonal of the logits, whose gradient would be another L x L array.
    own = jnp.sum(predicted * true, axis=-1) / temperature
    return jax.nn.logsumexp(logits, axis=-1) - own


def patches_with_data(valid_mask: Array) -> Array:
    """1 for each patch that holds data, from `[B, H, W]` to `[B, L]` float32."""
    fraction = patchify(valid_mask[..., None]).mean(axis=-1)
    return (fraction >= MIN_VALID_FRACTION).astype(jnp.float32)


def pixel_loss(windows: Reconstruction) -> dict[str, Array]:
    """Squared error of normalized pixels, in units of each patch's variance.

    The unit makes faint long-range patches count as much as the diagonal; it is floored so that
    flat patches do not dominate (the idea of normalized targets, He et al. 2022).
    """
    true = patchify(windows.images)[..., 1::3]
    variance = jnp.var(true, axis=-1)
    floor = 0.01 + 0.1 * variance.mean(axis=1, keepdims=True)
    error = jnp.mean((windows.output.patch_pred[..., 1::3] - true) ** 2, axis=-1)
    return {"pixel_loss": weighted_mean(error / (variance + floor), windows.examples[:, None])}


def log_loss(windows: Reconstruction) -> dict[str, Array]:
    """Mean squared error of log10(1 + counts) over all pixels within the chromosome, in decades².

    The image is scaled to each window's maximum, so one unit of its error means more decades in a
    deep window than in a shallow one. `masked_r2_*` are computed from this error.
    """
    counts = windows.counts
    if counts is None:
        return {}
    predicted = 1.0 - denormalize(unpatchify(windows.output.patch_pred, *counts.shape[1:]))[..., 1]
    error = (predicted - intensity(counts)) * log_scale(counts)[:, None, None]
    inside = inside_chromosome(counts) * windows.examples[:, None, None]
    return {"log_loss": weighted_mean(error**2, inside)}
