"""Attention among the bins of a window: those with alike contacts lend each other theirs.

Compartments, pericentromeres and telomeres make far-apart bins contact the same partners. Averaging
over such bins lowers the noise where neighbours alone are too few, as a truncated eigenvector
expansion of the map would, but adapts to each bin.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from hicfm_jax.models.vit import Block, Dense
from hicfm_jax.types import Array

HEAD_DIM = 16
TOKEN_DIM = 64  # width of a bin's token
TOKEN_HEADS = 4  # of the block among the bins before they are compared


class BinAttention(nn.Module):
    """Averages of whole rows of a map over rows that look alike.

    Attributes:
      heads: averages that are made.
      dtype: of the products.
    """

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, profiles: Array, values: Array, tokens: Array | None = None) -> Array:
        """Returns `[B, H, W, heads]`.

        Args:
          profiles: `[B, H, W]`, rows by which bins are compared.
          values: `[B, H, W]`, rows that are averaged.
          tokens: what else is known of each row, `[B, H, D]`.
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
        # One product for all heads: two batch axes with one that is shared are slow on CPUs.
        averages = weights.reshape(batch, self.heads * size, size) @ values
        return averages.reshape(batch, self.heads, size, width).transpose(0, 2, 3, 1)
