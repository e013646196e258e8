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

REACH = 48
"""Distance in bins up to which the contacts of a bin are used."""

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
        ratios, _ = log_ratios(counts, expected)
        ratios = jnp.where((expected > 0)[..., None], ratios, 0.0)
        profile = by_distance(ratios, min(REACH, min(counts.shape[1:]) // 2))
        features = [profile.reshape(*profile.shape[:2], -1), log_visibility(expected)[..., None]]
        if bins is not None:
            features.append(bins)
        x = Dense(self.width, dtype=self.dtype, name="in")(jnp.concatenate(features, axis=-1))
        x = jax.nn.gelu(x)
        for i in range(self.depth):
            y = nn.LayerNorm(epsilon=1e-6, name=f"norm_{i}")(x)
            y = jax.nn.gelu(nn.Conv(self.width, (KERNEL,), dtype=self.dtype, name=f"conv_{i}")(y))
            x = x + Dense(self.width, dtype=self.dtype, name=f"mix_{i}")(y)
        x = nn.LayerNorm(epsilon=1e-6, name="norm")(x)
        tracks = nn.Dense(self.tracks, kernel_init=nn.initializers.zeros, name="out")(x)
        return tracks.astype(jnp.float32).swapaxes(1, 2)


def by_distance(pixels: Array, reach: int) -> Array:
    """Pixels at distances 0 to `reach` from the diagonal, `[B, H, W, C]` -> `[B, H, reach + 1, C]`.

    The two sides of the diagonal are averaged, where the window has both.
    """
    height, width = pixels.shape[1:3]
    rows = np.arange(height)[:, None]
    total, sides = 0.0, 0.0
    for direction in (1, -1):
        columns = rows + (width - height) // 2 + direction * np.arange(reach + 1)
        inside = ((columns >= 0) & (columns < width)).astype(np.float32)[..., None]
        total = total + pixels[:, rows, np.clip(columns, 0, width - 1)] * inside
        sides = sides + inside
    return total / np.maximum(sides, 1.0)


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
