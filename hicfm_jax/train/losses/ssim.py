"""Differentiable structural similarity of images (Wang et al. 2004)."""

import jax
import jax.numpy as jnp
import numpy as np

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
