"""Targets made from the map itself, for trying fine-tuning out where there are no measured ones.

They show that the machinery works, and nothing about biology: a network can read them off its input.
"""

import jax
import jax.numpy as jnp

from hicfm_jax.train.references import bin_distance, mean_by
from hicfm_jax.types import Array


def coverage_track(counts: Array) -> Array:
    """log10(1 + mean count) of every row of the window, `[B, H, W]` -> `[B, H]`."""
    return jnp.log10(1.0 + counts.astype(jnp.float32).mean(axis=2))


def distance_profile(counts: Array, diag: Array, size: int) -> Array:
    """Mean log10(1 + count) of a window in `size` classes of distance from the diagonal.

    Args:
      counts: `[B, H, W]`.
      diag: in patches, `[B]` (see `types.Batch`).
      size: number of classes, evenly spaced over the distances in the window.

    Returns:
      `[B, size]`; 0 for a class without pixels.
    """
    height, width = counts.shape[1:]
    distance = bin_distance(diag, height, width)
    distance = distance - distance.min(axis=(1, 2), keepdims=True)
    classes = jnp.minimum(distance * size // (height + width), size - 1)
    logs = jnp.log10(1.0 + counts.astype(jnp.float32))

    return jax.vmap(lambda values, index: mean_by(values, jnp.ones_like(values), index, size)[0])(
        logs, classes
    )
