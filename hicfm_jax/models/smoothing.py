"""Coverage-aware Gaussian estimates of shallow windows."""

import math

import jax.numpy as jnp
import numpy as np

from hicfm_jax.types import Array

SIGMAS = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations in bins, for 1/16 to less than 1/256 of a map of 100 M contacts at 30 kb."""

BASE = 1  # index in `SIGMAS` of the single estimate
REACH = 4.0  # standard deviations at which a kernel ends


def expected_counts(context: dict[str, Array]) -> Array:
    """Expected contacts `[B, H, W]` float32: decay at the distance times the biases of both bins.

    `context` has `row_bias` `[B, H]`, `column_bias` `[B, W]` and `decay` `[B, H + W - 1]`, from
    `contacts.expected.Expected.window`.
    """
    rows, columns = context["row_bias"], context["column_bias"]
    height, width = rows.shape[1], columns.shape[1]
    offset = np.arange(width) - np.arange(height)[:, None] + height - 1
    return context["decay"][:, offset] * rows[:, :, None] * columns[:, None, :]


def _kernel(size: int, sigma: float) -> np.ndarray:
    """Matrix `[size, size]` that smooths one axis; pixels beyond the window count as zero."""
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    reach = int(REACH * sigma + 0.5)
    weights = np.where(distance <= reach, np.exp(-0.5 * (distance / sigma) ** 2), 0.0)
    total = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2).sum()
    return (weights / total).astype(np.float32)


def smooth(values: Array, sigma: float) -> Array:
    """Gaussian filter of windows `[B, H, W]`, sigma in bins.

    Two products with banded matrices: faster than convolutions with kernels this wide.
    """
    rows, columns = (_kernel(size, sigma) for size in values.shape[1:])
    return jnp.einsum("ph,bhw,qw->bpq", rows, values, columns, precision="highest")


def log_ratios(counts: Array, expected: Array) -> tuple[Array, Array]:
    """Log observed/expected contacts of a window at each scale of `SIGMAS`.

    Observed and expected contacts are smoothed before they are divided, so that neither the decay nor
    bins of low coverage are blurred. Half a contact is added to both, which moves the ratio towards 1
    where there are few contacts.

    Returns:
      `[B, H, W, S]` each: the log ratio, and the number of contacts expected in the pooled pixels.
    """
    found = [_ratio(counts, expected, sigma) for sigma in SIGMAS]
    ratios, pooled = (jnp.stack(each, axis=-1) for each in zip(*found, strict=True))
    return jnp.log(ratios), pooled


def estimated_counts(counts: Array, expected: Array) -> Array:
    """Coverage-aware Gaussian estimate of the contacts behind `counts`, `[B, H, W]`, of `SIGMAS[BASE]`."""
    return expected * _ratio(counts, expected, SIGMAS[BASE])[0]


def _ratio(counts: Array, expected: Array, sigma: float) -> tuple[Array, Array]:
    """Smoothed observed over smoothed expected contacts, and those expected in the pooled pixels."""
    pixels = 4 * math.pi * sigma**2  # whose mean has the variance of the filter
    smoothed = smooth(expected, sigma)
    return (smooth(counts, sigma) + 0.5 / pixels) / (smoothed + 0.5 / pixels), smoothed * pixels
