"""Network along the bins that reads tracks off the ratios near the diagonal.

The original's head predicts 16 bins from the mean of a row of tokens. To learn the same function for each of
the 16 takes more chromosomes than a small genome has. Here the function is the same for all bins.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hicfm_jax.models.smoothing import log_ratios
from hicfm_jax.models.vit import Dense
from hicfm_jax.types import Array

DISTANCES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Edges of the ranges of distance, in bins."""

KERNEL = 5  # bins of a convolution


class BinPath(nn.Module):
    """Tracks `[B, K, H]` from windows whose middle is on the main diagonal.

    Attributes:
      tracks: number of tracks, K.
      width: channels.
      depth: residual convolutions along the bins.
      dtype: of the products.
    """

    tracks: int
    width: int
    depth: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, counts: Array, expected: Array, bins: Array | None = None) -> Array:
        """Returns `[B, K, H]` float32; untrained, all 0.

        Args:
          counts, expected: see `heads.Shallow`; expected is 0 for bins without coverage.
          bins: features of each row from the transformer, `[B, H, D]`; None without it.
        """
        in_range = ranges(*counts.shape[1:])
        observed, expected_there = (by_distance(each, in_range) for each in (counts, expected))
        smoothed, _ = log_ratios(counts, expected)
        smoothed = jnp.where((expected > 0)[..., None], smoothed, 0.0)
        size = np.maximum(in_range.sum(axis=1, keepdims=True), 1.0)
        means = by_distance(smoothed, in_range / size)
        features = [
            jnp.log(observed + 0.5) - jnp.log(expected_there + 0.5),
            means.reshape(*means.shape[:2], -1),
            log_visibility(expected)[..., None],
        ]
        x = Dense(self.width, dtype=self.dtype, name="in")(jnp.concatenate(features, axis=-1))
        if bins is not None:
            # From zero: what the ratios near the diagonal tell is learned first.
            zeros = dict(kernel_init=nn.initializers.zeros, use_bias=False)
            x = x + nn.Dense(self.width, dtype=self.dtype, **zeros, name="token")(bins)
        x = jax.nn.gelu(x)
        for i in range(self.depth):
            y = nn.LayerNorm(epsilon=1e-6, name=f"norm_{i}")(x)
            y = jax.nn.gelu(nn.Conv(self.width, (KERNEL,), dtype=self.dtype, name=f"conv_{i}")(y))
            x = x + Dense(self.width, dtype=self.dtype, name=f"mix_{i}")(y)
        x = nn.LayerNorm(epsilon=1e-6, name="norm")(x)
        tracks = nn.Dense(self.tracks, kernel_init=nn.initializers.zeros, name="out")(x)
        return tracks.astype(jnp.float32).swapaxes(1, 2)


def ranges(height: int, width: int) -> np.ndarray:
    """1 for the pixels of each row in each range of `DISTANCES` from the diagonal, `[H, W, R]` float32."""
    columns = np.arange(height)[:, None] + (width - height) // 2
    distance = np.abs(np.arange(width) - columns)[..., None]
    return ((np.array(DISTANCES[:-1]) <= distance) & (distance < np.array(DISTANCES[1:]))).astype(np.float32)


def by_distance(pixels: Array, weights: np.ndarray) -> Array:
    """Sums of each row under weights `[H, W, R]`, `[B, H, W]` -> `[B, H, R]`, or with further axes."""
    return jnp.einsum("bhw...,hwr->bhr...", pixels, weights, precision="highest")


def log_visibility(expected: Array) -> Array:
    """Logarithm of the bias of each row relative to the window's, `[B, H, W]` -> `[B, H]`.

    It is 0 for bins without coverage.
    """
    height, width = expected.shape[1:]
    rows = np.arange(height)
    diagonal = expected[:, rows, rows + (width - height) // 2]
    visible = diagonal > 0
    logs = 0.5 * jnp.log(jnp.where(visible, diagonal, 1.0))
    mean = logs.sum(axis=1, keepdims=True) / jnp.maximum(visible.sum(axis=1, keepdims=True), 1)
    return jnp.where(visible, logs - mean, 0.0)
