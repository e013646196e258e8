"""Predictions and targets of fine-tuning as panels of a picture."""

import jax.numpy as jnp

from hicfm_jax.types import Array


def target_panels(predicted: Array, true: Array, size: tuple[int, int]) -> list[Array]:
    """Two panels on the target's own range.

    Args:
      predicted, true: maps `[B, H, W]`, or one number a row: tracks `[B, H]` or `[B, K, H]`,
        embeddings `[B, D']`.
      size: (H, W) of the panels.

    Returns:
      [predicted, true], `[B, H, W]` intensities in about [0, 1]; what is no map becomes bars that
      lie on its rows.
    """
    axes = tuple(range(1, true.ndim))
    low = jnp.minimum(true.min(axis=axes, keepdims=True), 0.0)
    high = true.max(axis=axes, keepdims=True)
    span = jnp.where(high > low, high - low, 1.0)
    panels = [(values - low) / span for values in (predicted, true)]
    return panels if true.shape[1:] == size else [_bars(panel, *size) for panel in panels]


def _bars(values: Array, height: int, width: int) -> Array:
    """One horizontal bar a row; several tracks stand side by side."""
    tracks = values if values.ndim == 3 else values[:, None]
    rows = jnp.arange(height) * tracks.shape[2] // height
    track, place = jnp.divmod(jnp.arange(width) * tracks.shape[1], width)
    length = jnp.take(tracks[:, :, rows], track, axis=1).transpose(0, 2, 1)
    return (place / width < length).astype(jnp.float32) * 0.6
