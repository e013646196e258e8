"""Networks from observed over expected contacts to maps and to tracks."""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hicfm_jax.models.smoothing import BASE, log_ratios
from hicfm_jax.models.vit import Block, Dense
from hicfm_jax.types import Array

HEAD_DIM = 16
TOKEN_DIM = 64  # width of a bin's token
TOKEN_HEADS = 4  # of the block among the bins before they are compared


class BinAttention(nn.Module):
    """Averages of rows of a map over similar rows, one per head.

    In compartments, pericentromeres and telomeres, distant bins contact the same partners. Averages over
    such bins reduce the noise where neighbors are too few.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, profiles: Array, values: Array, tokens: Array | None = None) -> Array:
        """Returns `[B, H, W, heads]`.

        Args:
          profiles: rows by which bins are compared, `[B, H, W]`.
          values: rows that are averaged, `[B, H, W]`.
          tokens: further features of each row, `[B, H, D]`.
        """
        x = Dense(TOKEN_DIM, dtype=self.dtype, name="profile")(profiles).astype(jnp.float32)
        if tokens is not None:
            x = x + Dense(TOKEN_DIM, dtype=self.dtype, name="token")(tokens).astype(jnp.float32)
        x = Block(TOKEN_HEADS, self.dtype, name="block_0")(x)
        x = nn.LayerNorm(epsilon=1e-6, name="norm")(x)
        shape = (*x.shape[:2], self.heads, HEAD_DIM)
        query, key = (
            Dense(self.heads * HEAD_DIM, dtype=self.dtype, name=name)(x).reshape(shape)
            for name in ("query", "key")
        )
        logits = jnp.einsum("bihd,bjhd->bhij", query * HEAD_DIM**-0.5, key)
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1)
        batch, size, width = values.shape
        # One product for all heads: with a batch axis of heads it is slow on CPUs.
        averages = weights.reshape(batch, self.heads * size, size) @ values
        return averages.reshape(batch, self.heads, size, width).transpose(0, 2, 3, 1)


AT_FIRST = (0.0, 1.5, 0.0, -1.0)  # logits of the weights of `SIGMAS` before training: mostly the second
UNSMOOTHED_AT_FIRST = -3.0  # of the counts as they are
SHAPE_AT_FIRST = 10.0  # of the intensity's gamma distribution: standard deviation 0.32 of the mean
LOG_SHAPES = (-3.0, 12.0)  # standard deviations from 4.5 means to 0.0025
PIXEL_FEATURES = 8  # per pixel, from the transformer
LEVELS = 2  # halvings of the image in the convolutions: windows are multiples of 16


class PixelPath(nn.Module):
    """Logarithm of (true contacts / expected contacts) of every pixel, and how sure it is.

    It corrects a coverage-aware estimate. The original's decoder predicts all 256 pixels of a patch from one
    token, and needs long training to reach a Gaussian filter. Here training starts at the filter.

    Attributes:
      width: channels of the convolutions at full size; twice as many at half and quarter size.
      depth: residual convolutions at the end.
      bin_heads: averages over similar rows and over similar columns (`BinAttention`); 0 for none.
      dtype: of the products; smoothing and the last sum are float32.
      dispersion: also predict the shape of a gamma distribution of the true contacts.
      unsmoothed: choose among the widths of `SIGMAS` and the counts as they are, which are better than any
        filter where a pixel has many contacts.
    """

    width: int
    depth: int
    bin_heads: int
    dtype: jnp.dtype = jnp.float32
    dispersion: bool = False
    unsmoothed: bool = False

    @nn.compact
    def __call__(
        self,
        counts: Array,
        expected: Array,
        pixels: Array | None = None,
        bins: tuple[Array, Array] | None = None,
    ) -> tuple[Array, Array | None]:
        """Returns log ratio and log shape, `[B, H, W]` float32 each, the latter None without `dispersion`.

        Untrained, the ratio is mostly the filter of `SIGMAS[BASE]`, and the shape is `SHAPE_AT_FIRST`.

        Args:
          counts, expected: see `heads.Shallow`; expected is 0 for bins without coverage.
          pixels: features of each pixel from the transformer, `[B, H, W, C]`; None without it.
          bins: its features of each row and each column, `[B, H, D]` and `[B, W, D]`; None without it.
        """
        ratios, evidence = log_ratios(counts, expected)
        at_first = AT_FIRST
        if self.unsmoothed:
            single = jnp.log((counts + 0.5) / (expected + 0.5))
            ratios, at_first = jnp.append(ratios, single[..., None], -1), (*AT_FIRST, UNSMOOTHED_AT_FIRST)
        visible = (expected > 0)[..., None]
        known = jnp.where(visible, ratios, 0.0)
        features = [
            known,
            0.2 * jnp.log1p(evidence),
            0.3 * ((counts - expected) / jnp.sqrt(expected + 1.0))[..., None],
            0.3 * jnp.log1p(counts)[..., None],
            0.2 * jnp.log(expected + 1e-3)[..., None],
        ]
        if self.bin_heads:
            rows, columns = bins or (None, None)
            attention = partial(BinAttention, self.bin_heads, dtype=self.dtype)
            by_row = attention(name="rows")(known[..., BASE], known[..., 0], rows)
            turned = known.swapaxes(1, 2)
            by_column = attention(name="columns")(turned[..., BASE], turned[..., 0], columns)
            features += [by_row, by_column.swapaxes(1, 2)]
        if pixels is not None:
            features.append(pixels)
        x = jnp.where(visible, jnp.concatenate(features, axis=-1), 0.0).astype(self.dtype)
        x = self._convolutions(x)
        out = nn.Conv(len(at_first) + 1, (1, 1), kernel_init=nn.initializers.zeros, name="out")(x)
        out = out.astype(jnp.float32)
        # The width of the filter is chosen pixel by pixel, and a correction is added.
        weights = jax.nn.softmax(out[..., :-1] + jnp.array(at_first), axis=-1)
        log_ratio = (weights * ratios).sum(axis=-1) + out[..., -1]
        if not self.dispersion:
            return log_ratio, None
        start = nn.initializers.constant(math.log(SHAPE_AT_FIRST))
        layer = nn.Conv(1, (1, 1), kernel_init=nn.initializers.zeros, bias_init=start, name="shape")
        return log_ratio, jnp.clip(layer(x)[..., 0].astype(jnp.float32), *LOG_SHAPES)

    def _convolutions(self, x: Array) -> Array:
        """A small U-Net (Ronneberger et al. 2015), `[B, H, W, C]` -> `[B, H, W, width]`."""

        def conv(channels, name, stride=1):
            layer = nn.Conv(channels, (3, 3), (stride, stride), dtype=self.dtype, name=name)
            return lambda x: jax.nn.gelu(layer(x))

        def doubled(x):
            return jnp.repeat(jnp.repeat(x, 2, axis=1), 2, axis=2)

        sizes = [conv(self.width, "in")(x)]
        for level in range(1, LEVELS + 1):
            x = conv(2 * self.width, f"down_{level}", stride=2)(sizes[-1])
            sizes.append(conv(2 * self.width, f"mix_{level}")(x))
        x = sizes.pop()
        for level in reversed(range(LEVELS)):
            same = sizes.pop()
            x = conv(same.shape[-1], f"up_{level}")(jnp.concatenate([doubled(x), same], axis=-1))
        for i in range(self.depth):
            x = x + conv(self.width, f"refine_{i}")(x)
        return x


DISTANCES = (0, 1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
"""Edges of the ranges of distance, in bins."""

KERNEL = 5  # bins of a convolution


class BinPath(nn.Module):
    """Tracks `[B, K, H]` from the ratios near the diagonal, of windows with their middle on it.

    The original's head predicts 16 bins from the mean of a row of tokens. To learn the same function for each
    of the 16 takes more chromosomes than a small genome has. Here the function is the same for all bins.

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
