"""The decoder that pretraining and every head share."""

import flax.linen as nn
import jax.numpy as jnp

from hicfm_jax.models import positions
from hicfm_jax.models.vit import Blocks, Dense
from hicfm_jax.types import Array


class Decoder(nn.Module):
    """Mixes class, count and patch tokens at a smaller width, `[B, 2 + K, D]` -> `[B, 2 + L, D']`.

    Attributes:
      dim, depth, heads: width D', number of blocks and heads.
      norm_eps: of every LayerNorm: 1e-6 in pretraining, 1e-5 in the heads (published weights
        depend on both).
      table_grid: (h, w) of a head: every patch arrives, and the position table is a parameter,
        because published tables are resized ones. None, in pretraining: mask tokens stand in for
        the removed patches, and the table is computed.
      dtype, scan, remat: see `vit.Blocks`.
    """

    dim: int
    depth: int
    heads: int
    norm_eps: float = 1e-6
    table_grid: tuple[int, int] | None = None
    dtype: jnp.dtype = jnp.float32
    scan: bool = False
    remat: str = "none"

    def setup(self):
        self.embed = Dense(self.dim, dtype=self.dtype)
        if self.table_grid is None:
            self.mask_token = self.param("mask_token", nn.initializers.normal(0.02), (1, 1, self.dim))
        else:
            self.pos_embed = self.param("pos_embed", positions.table_init, *self.table_grid, self.dim)
        self.blocks = Blocks(
            self.depth, self.heads, self.dtype, self.norm_eps, scan=self.scan, remat=self.remat
        )
        self.norm = nn.LayerNorm(epsilon=self.norm_eps, dtype=jnp.float32)

    def _fill(self, visible: Array, restore: Array) -> Array:
        """Mask tokens in the removed places: `[B, K, D']` -> `[B, L, D']`."""
        batch, kept, _ = visible.shape
        removed = jnp.broadcast_to(self.mask_token, (batch, restore.shape[1] - kept, self.dim))
        shuffled = jnp.concatenate([visible, removed], axis=1)
        return jnp.take_along_axis(shuffled, restore[..., None], axis=1)

    def tokens(
        self, latent: Array, restore: Array | None = None, grid: tuple[int, int] | None = None
    ) -> Array:
        """What enters block 0, `[B, 2 + L, D']` float32; arguments as of `__call__`."""
        embedded = self.embed(latent).astype(jnp.float32)
        if self.table_grid is None:
            patches = self._fill(embedded[:, 2:], restore) + jnp.asarray(positions.sincos_2d(*grid, self.dim))
        else:
            patches = embedded[:, 2:] + self.pos_embed
        # The count token gets + 1 instead of a position: published weights depend on it.
        return jnp.concatenate([embedded[:, :1], embedded[:, 1:2] + 1.0, patches], axis=1)

    def __call__(
        self, latent: Array, restore: Array | None = None, grid: tuple[int, int] | None = None
    ) -> Array:
        """The decoded tokens after the final norm, `[B, 2 + L, D']` float32.

        Args:
          latent: encoded tokens `[B, 2 + K, D]`.
          restore: `masking.Masking.restore` `[B, L]`, and
          grid: (h, w) of the window in patches, both in pretraining only.
        """
        return self.norm(self.blocks(self.tokens(latent, restore, grid)))

    def layers(self, latent: Array) -> list[Array]:
        """The tokens after each block, then after the final norm: `[B, 2 + L, D']` each (heads only)."""
        blocks = self.blocks(self.tokens(latent), every=True)
        return [*blocks, self.norm(blocks[-1])]
