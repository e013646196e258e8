"""What a predicted map has to beat: the shallow input itself, scaled up, and smoothed."""

from collections.abc import Mapping

import jax.numpy as jnp
import numpy as np

from hicfm_jax.models.smoothing import estimated_counts, expected_counts
from hicfm_jax.types import Array

SIGMA = 1.0
"""Standard deviation of the smoothing in bins."""


def _smoother(size: int) -> np.ndarray:
    """Matrix `[size, size]` that smooths one axis; near the ends its weights still sum to 1."""
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    weights = np.exp(-0.5 * (distance / SIGMA) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def map_baselines(counts: Array, kept: Array, context: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Estimates of the deep counts from the shallow ones, `[B, H, W]` each.

    Args:
      counts: of the input, `[B, H, W]`.
      kept: share of the deep map's contacts that they are, `[B]`.
      context: of each window, see `types.Batch`, if it is known.

    Returns:
      "input", counts / kept; "smoothed", the same after a Gaussian filter of `SIGMA` bins, and with a
      context "coverage_aware", see `smoothing.estimated_counts`.
    """
    scaled = counts.astype(jnp.float32) / kept[:, None, None]
    rows, columns = _smoother(counts.shape[1]), _smoother(counts.shape[2])
    found = {"input": scaled, "smoothed": jnp.einsum("ph,bhw,qw->bpq", rows, scaled, columns)}
    if context:
        estimate = estimated_counts(counts.astype(jnp.float32), expected_counts(context))
        found["coverage_aware"] = estimate / kept[:, None, None]
    return found
