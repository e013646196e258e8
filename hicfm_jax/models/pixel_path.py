"""Network from input to output pixels that corrects a coverage-aware estimate.

The original's decoder predicts all 256 pixels of a patch from one token, and needs long training to reach a
Gaussian filter. Here training starts at the filter.
"""

import math
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp

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
