"""Smooth estimates of a shallow window, aware of distance and coverage."""

import math

import jax.numpy as jnp
import numpy as np

from hicfm_jax.types import Array

SIGMAS = (1.0, 2.0, 4.0, 8.0)
"""Standard deviations in bins: what suits 1/16 of a 100 M contact map at 30 kb up to 1/256 and less."""

BASE = 1
"""Which of `SIGMAS` serves where one estimate has to do."""

REACH = 4.0  # a kernel ends at this many standard deviations


def expected_counts(context: dict[str, Array]) -> Array:
    """Contacts that distance and the visibility of both bins let expect, `[B, H, W]` float32.

    Args:
      context: `row_bias` `[B, H]`, `column_bias` `[B, W]` and `decay` `[B, H + W - 1]`, as
        `contacts.expected.Expected.window` gives them.
    """
    rows, columns = context["row_bias"], context["column_bias"]
    height, width = rows.shape[1], columns.shape[1]
    offset = np.arange(width) - np.arange(height)[:, None] + height - 1
    return context["decay"][:, offset] * rows[:, :, None] * columns[:, None, :]


def _kernel(size: int, sigma: float) -> np.ndarray:
    """Matrix `[size, size]` that smooths one axis; what lies beyond the window counts as zero."""
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


def pixels_pooled(sigma: float) -> float:
    """How many pixels the filter averages: its variance is that of a mean of so many."""
    return 4 * math.pi * sigma**2


def log_ratios(counts: Array, expected: Array) -> tuple[Array, Array]:
    """How far a window departs from what is expected, at each scale of `SIGMAS`.

    Observed and expected contacts are smoothed alike and then divided, so that neither decay nor
    bins of low coverage are smeared. Half a contact is added to both, which draws the ratio to 1 where
    hardly anything was seen.

    Args:
      counts: observed contacts `[B, H, W]` float32.
      expected: see `expected_counts`.

    Returns:
      `[B, H, W, S]` each: the logarithm of observed over expected, and the number of contacts expected
      among the pixels that were pooled.
    """
    found = [_ratio(counts, expected, sigma) for sigma in SIGMAS]
    ratios, awaited = (jnp.stack(each, axis=-1) for each in zip(*found, strict=True))
    return jnp.log(ratios), awaited * jnp.array([pixels_pooled(sigma) for sigma in SIGMAS])


def estimated_counts(counts: Array, expected: Array) -> Array:
    """Coverage-aware Gaussian estimate of the contacts behind `counts`, `[B, H, W]`, of `SIGMAS[BASE]`."""
    return expected * _ratio(counts, expected, SIGMAS[BASE])[0]


def _ratio(counts: Array, expected: Array, sigma: float) -> tuple[Array, Array]:
    """Smoothed observed over smoothed expected, and the latter."""
    half = 0.5 / pixels_pooled(sigma)
    awaited = smooth(expected, sigma)
    return (smooth(counts, sigma) + half) / (awaited + half), awaited
