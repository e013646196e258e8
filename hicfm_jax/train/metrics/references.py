"""Reference predictions that a model has to beat in validation.

References for masked pixels work on `log10(1 + counts)` of one window. They use all visible pixels, and
for distances without any the nearest ones. References for deep maps are the shallow input, scaled and
smoothed.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from hicfm_jax.models.preprocess import unpatchify
from hicfm_jax.models.smoothing import estimated_counts, expected_counts
from hicfm_jax.types import NO_DIAGONAL, PATCH, Array

BACKFITTING_ROUNDS = 3
"""Early stopping shrinks effects of rows and columns with few pixels: on held-out Arabidopsis windows the
fit predicts masked pixels better after 3 rounds than after 20."""


def visible_pixels(token_mask: Array, height: int, width: int) -> Array:
    """1 for pixels of visible patches: `[B, L]` -> `[B, H, W]`."""
    pixels = jnp.repeat((1.0 - token_mask)[..., None], PATCH * PATCH, axis=-1)
    return unpatchify(pixels, height, width)[..., 0]


def bin_distance(diag: Array, height: int, width: int) -> Array:
    """Distance from the map's diagonal in bins, `[B]` patches -> `[B, H, W]` int32; 0 for trans."""
    rows, columns = jnp.arange(height)[:, None], jnp.arange(width)[None, :]
    distance = jnp.abs(columns - rows - PATCH * diag[:, None, None])
    return jnp.where((diag == NO_DIAGONAL)[:, None, None], 0, distance)


def mean_by(values: Array, weights: Array, index: Array, size: int) -> tuple[Array, Array]:
    """Weighted mean and total weight of each class, `[...]` -> `[size]` twice; 0 for empty classes."""
    total = jax.ops.segment_sum((values * weights).ravel(), index.ravel(), size)
    weight = jax.ops.segment_sum(weights.ravel(), index.ravel(), size)
    return total / jnp.maximum(weight, 1.0), weight


def _fill_gaps(values: Array, known: Array) -> Array:
    """Linear interpolation of unknown entries; beyond the outermost known ones, their values."""
    size = values.shape[0]
    place = jnp.arange(size)
    before = jax.lax.cummax(jnp.where(known, place, -1))
    after = jax.lax.cummin(jnp.where(known, place, size), reverse=True)
    before, after = jnp.where(before < 0, after, before), jnp.where(after == size, before, after)
    before, after = jnp.clip(before, 0, size - 1), jnp.clip(after, 0, size - 1)
    weight = (place - before) / jnp.maximum(after - before, 1)
    return values[before] * (1 - weight) + values[after] * weight


def _distance_mean(values: Array, visible: Array, distance: Array) -> Array:
    size = sum(values.shape) - 1
    index = distance - distance.min()
    mean, weight = mean_by(values, visible, index, size)
    return _fill_gaps(mean, weight > 0)[index]


def _coverage(values: Array, visible: Array, distance: Array) -> Array:
    height, width = values.shape
    in_row, in_column = jnp.maximum(visible.sum(1), 1.0), jnp.maximum(visible.sum(0), 1.0)

    def fit(_, parts):
        by_distance, row, column = parts
        row = ((values - by_distance - column) * visible).sum(1, keepdims=True) / in_row[:, None]
        column = ((values - by_distance - row) * visible).sum(0, keepdims=True) / in_column[None]
        return _distance_mean(values - row - column, visible, distance), row, column

    start = (_distance_mean(values, visible, distance), jnp.zeros((height, 1)), jnp.zeros((1, width)))
    by_distance, row, column = jax.lax.fori_loop(0, BACKFITTING_ROUNDS, fit, start)
    return by_distance + row + column


def distance_means(values: Array, weights: Array, diag: Array) -> Array:
    """Weighted mean at each pixel's distance in its window, `[B, H, W]`; 0 where all weights are 0."""

    def means(values, weights, distance):
        index = distance - distance.min()
        return mean_by(values, weights, index, sum(values.shape) - 1)[0][index]

    return jax.vmap(means)(values, weights, bin_distance(diag, *values.shape[1:]))


def masked_references(values: Array, visible: Array, diag: Array) -> dict[str, Array]:
    """Predicts every pixel of `log10(1 + counts)` from the visible ones, `[B, H, W]`.

    By "mean" of the visible pixels; "distance", their mean at each genomic distance; "coverage", distance,
    row and column effects fitted together (the log of decay times the biases of both bins).
    """
    height, width = values.shape[1:]
    distance = bin_distance(diag, height, width)
    pixels = jnp.maximum(visible.sum(axis=(1, 2), keepdims=True), 1.0)
    mean = (values * visible).sum(axis=(1, 2), keepdims=True) / pixels
    return {
        "mean": jnp.broadcast_to(mean, values.shape),
        "distance": jax.vmap(_distance_mean)(values, visible, distance),
        "coverage": jax.vmap(_coverage)(values, visible, distance),
    }


SIGMA = 1.0
"""Standard deviation of the smoothing in bins."""


def _smoother(size: int) -> np.ndarray:
    """Matrix `[size, size]` that smooths one axis; its weights sum to 1 near the ends too."""
    distance = np.subtract.outer(np.arange(size), np.arange(size))
    weights = np.exp(-0.5 * (distance / SIGMA) ** 2)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def map_baselines(counts: Array, kept: Array, context: Mapping[str, Array] | None = None) -> dict[str, Array]:
    """Estimates of the deep counts from the shallow ones, `[B, H, W]` each.

    The fraction `kept` of the deep map's contacts is `[B]`. Returns "input", counts / kept; "smoothed", the
    same after a Gaussian filter of `SIGMA` bins; with a context (see `batch.Batch`) also "coverage_aware",
    see `smoothing.estimated_counts`.
    """
    scaled = counts.astype(jnp.float32) / kept[:, None, None]
    rows, columns = _smoother(counts.shape[1]), _smoother(counts.shape[2])
    found = {"input": scaled, "smoothed": jnp.einsum("ph,bhw,qw->bpq", rows, scaled, columns)}
    if context:
        estimate = estimated_counts(counts.astype(jnp.float32), expected_counts(context))
        found["coverage_aware"] = estimate / kept[:, None, None]
    return found
