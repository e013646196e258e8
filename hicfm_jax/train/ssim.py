"""Structural similarity of images as a differentiable function (Wang et al. 2004)."""

import jax
import jax.numpy as jnp
import numpy as np

from hicfm_jax.types import Array

WINDOW, SIGMA = 11, 1.5
C1, C2 = 0.01**2, 0.03**2  # for a data range of 1


def gaussian_taps() -> np.ndarray:
    """The 11 weights of the smoothing window, normalised in float32 as the original does."""
    offsets = np.arange(WINDOW) - WINDOW // 2
    taps = np.exp(-(offsets**2) / (2 * SIGMA**2))
    return taps.astype(np.float32) / np.float32(taps.sum())


def _smoother(size: int) -> np.ndarray | None:
    """Banded matrix `[size - 10, size]` that smooths one axis without padding; None: axis too short."""
    if size < WINDOW:
        return None
    matrix = np.zeros((size - WINDOW + 1, size), np.float32)
    for row in range(matrix.shape[0]):
        matrix[row, row : row + WINDOW] = gaussian_taps()
    return matrix


def _weight_sum(size: int) -> float:
    return float(gaussian_taps().sum(dtype=np.float64)) if size >= WINDOW else 1.0


def _smooth(x: Array) -> Array:
    # A banded matrix product per axis is faster than a depthwise convolution on every backend, and
    # its transpose (the backward pass) is one too. An axis shorter than the window stays as it is.
    highest = jax.lax.Precision.HIGHEST
    for axis, spec in ((1, "ph,bhwc->bpwc"), (2, "qw,bhwc->bhqc")):
        matrix = _smoother(x.shape[axis])
        if matrix is not None:
            x = jnp.einsum(spec, matrix, x, precision=highest)
    return x


def ssim_per_channel(x: Array, y: Array) -> Array:
    """SSIM of two images in [0, 1], `[B, H, W, C]` each -> `[B, C]`.

    Gaussian window of 11 pixels, sigma 1.5, no padding, K = (0.01, 0.03), data range 1 (original:
    `ops/ssim.py` of the PyTorch code; Wang et al. 2004, IEEE TIP 13:600).
    """
    # Second moments about a constant near the pixels' values: about 0 they cancel in float32.
    origin = jax.lax.stop_gradient(y.mean(axis=(1, 2), keepdims=True))
    x, y = x - origin, y - origin
    mean_x, mean_y = _smooth(x), _smooth(y)
    # The rounded weights sum to 1 - 3e-8 per axis, which makes a flat patch's variance slightly
    # positive; against C2 that shows in the fifth digit of its gradient, so it is put back.
    missing = 1.0 - np.prod([_weight_sum(size) for size in x.shape[1:3]])

    def moment(u, v, mean_u, mean_v):
        return _smooth(u * v) - mean_u * mean_v + missing * origin * (mean_u + mean_v + origin)

    variance_x = moment(x, x, mean_x, mean_x)
    variance_y = moment(y, y, mean_y, mean_y)
    covariance = moment(x, y, mean_x, mean_y)
    mean_x, mean_y = mean_x + origin, mean_y + origin
    contrast = (2 * covariance + C2) / (variance_x + variance_y + C2)
    luminance = (2 * mean_x * mean_y + C1) / (mean_x**2 + mean_y**2 + C1)
    return jnp.mean(luminance * contrast, axis=(1, 2))
