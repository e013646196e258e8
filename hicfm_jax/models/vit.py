"""The vision transformer: tokens, blocks, encoder and decoder of Hi-C windows."""

from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hicfm_jax.models.attention import PRODUCT, attend, dense_product
from hicfm_jax.models.preprocess import patchify
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, PATCH, Array


def sincos_1d(positions: np.ndarray, dim: int) -> np.ndarray:
    """Sine-cosine code of scalar positions: `[N]` -> `[N, dim]`, float32, [sin, cos] halves."""
    omega = 1.0 / 10000 ** (np.arange(dim // 2, dtype=np.float32) / np.float32(dim / 2))
    angle = np.asarray(positions, np.float32)[:, None] * omega.astype(np.float32)[None, :]
    return np.concatenate([np.sin(angle), np.cos(angle)], axis=1)


def sincos_2d(height: int, width: int, dim: int, class_token: bool = False) -> np.ndarray:
    """Position table of a grid of patches, `[h * w (+ 1), D]` float32, row-major; D is a multiple of 4.

    The first half of the channels codes the column, the second half the row (He et al. 2022; original:
    `get_2d_sincos_pos_embed_rectangle`). `class_token` adds a first row of zeros.
    """
    rows, columns = np.divmod(np.arange(height * width), width)
    table = np.concatenate([sincos_1d(columns, dim // 2), sincos_1d(rows, dim // 2)], axis=1)
    return np.concatenate([np.zeros((1, dim), np.float32), table]) if class_token else table


def table_init(key: Array, height: int, width: int, dim: int, class_token: bool = False) -> Array:
    """Initializer of a parameter `[1, h * w (+ 1), D]`: `sincos_2d`, not random."""
    return jnp.asarray(sincos_2d(height, width, dim, class_token))[None]


def count_token(total_count: Array | None, batch: int, dim: int) -> Array:
    """Token for the depth of each experiment, `[B, D]` float32 (`convert_count_to_pos_embed_cuda`).

    `total_count` are the contacts of the whole experiment `[B]`; None: 1e9. The exponent of the frequencies
    is i / (2 D), not i / (D / 2): published weights depend on it.
    """
    if total_count is None:
        total_count = jnp.full((batch,), DEFAULT_TOTAL_COUNT)
    omega = 1.0 / 10000 ** (np.arange(dim // 2, dtype=np.float32) / np.float32(2 * dim))
    angle = jnp.log10(jnp.asarray(total_count, jnp.float32))[:, None] * omega.astype(np.float32)
    return jnp.concatenate([jnp.sin(angle), jnp.cos(angle)], axis=1) + 1.0


Dense = partial(nn.Dense, kernel_init=nn.initializers.xavier_uniform(), dot_general=dense_product)


class Attention(nn.Module):
    """Multi-head self-attention (`attend`); `qkv` columns are packed q, k, v, each heads-major."""

    heads: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        batch, length, dim = x.shape
        size = dim // self.heads
        qkv = Dense(3 * dim, dtype=self.dtype, name="qkv")(x)
        query, key, value = jnp.moveaxis(qkv.reshape(batch, length, 3, self.heads, size), 2, 0)
        mixed = attend(query, key, value).reshape(batch, length, dim)
        return Dense(dim, dtype=self.dtype, name="proj")(mixed)


class Mlp(nn.Module):
    """Two dense layers around an exact (erf) GELU; the hidden layer is four times as wide."""

    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: Array) -> Array:
        dim = x.shape[-1]
        x = jax.nn.gelu(Dense(4 * dim, dtype=self.dtype, name="fc1")(x), approximate=False)
        return Dense(dim, dtype=self.dtype, name="fc2")(x)


class Block(nn.Module):
    """Pre-norm transformer block, `[B, N, D]` -> `[B, N, D]`; the residual stream keeps its dtype."""

    heads: int
    dtype: jnp.dtype = jnp.float32
    norm_eps: float = 1e-6

    def setup(self):
        self.norm1 = nn.LayerNorm(epsilon=self.norm_eps, dtype=jnp.float32)
        self.attn = Attention(self.heads, self.dtype)
        self.norm2 = nn.LayerNorm(epsilon=self.norm_eps, dtype=jnp.float32)
        self.mlp = Mlp(self.dtype)

    def __call__(self, x: Array) -> Array:
        x = x + self.attn(self.norm1(x).astype(self.dtype)).astype(x.dtype)
        return x + self.mlp(self.norm2(x).astype(self.dtype)).astype(x.dtype)


# What a backward pass recomputes: nothing; all but the dense layers' products; all but blocks' inputs.
REMATS = ("none", "products", "blocks")


class Blocks(nn.Module):
    """A stack of blocks with parameters `block_0`, `block_1`, ... however it is run.

    Attributes:
      depth, heads, dtype, norm_eps: of the blocks.
      scan: run as one `lax.scan` over parameters stacked inside the step: compiles faster, the
        checkpoint layout stays the same. Otherwise the blocks are unrolled.
      remat: one of `REMATS`.
    """

    depth: int
    heads: int
    dtype: jnp.dtype = jnp.float32
    norm_eps: float = 1e-6
    scan: bool = False
    remat: str = "none"

    def setup(self):
        block = Block if self.remat == "none" else nn.remat(Block, policy=self._kept())
        self.blocks = [
            block(self.heads, self.dtype, self.norm_eps, name=f"block_{i}") for i in range(self.depth)
        ]

    def __call__(self, x: Array, every: bool = False) -> Array | list[Array]:
        """The last block's output `[B, N, D]`, or with `every` the outputs of all blocks."""
        # Outside a loop, XLA for CPUs merges the recomputation with the first computation.
        scan = self.scan or (self.remat != "none" and jax.default_backend() == "cpu")
        if not scan or self.is_initializing():
            outputs = []
            for block in self.blocks:
                x = block(x)
                outputs.append(x)
            return outputs if every else x
        stacked = jax.tree.map(
            lambda *leaves: jnp.stack(leaves), *[b.variables["params"] for b in self.blocks]
        )
        block = Block(self.heads, self.dtype, self.norm_eps, parent=None)

        def step(carry, params):
            carry = block.apply({"params": params}, carry)
            return carry, carry if every else None

        if self.remat != "none":
            step = jax.checkpoint(step, policy=self._kept(), prevent_cse=False)
        last, outputs = jax.lax.scan(step, x, stacked)
        return list(outputs) if every else last

    def _kept(self):
        return jax.checkpoint_policies.save_only_these_names(PRODUCT) if self.remat == "products" else None


class Encoder(nn.Module):
    """Tokens of a Hi-C window: class, count, patches (original: `Models_HiCFoundation`).

    Attributes:
      dim, depth, heads: width D, number of blocks and heads.
      table_grid: (h, w) of a head, whose position table is a parameter with an unused first row for the
        class token, as in the original's files; None, in pretraining: computed.
      dtype, scan, remat: see `Blocks`.
    """

    dim: int
    depth: int
    heads: int
    table_grid: tuple[int, int] | None = None
    dtype: jnp.dtype = jnp.float32
    scan: bool = False
    remat: str = "none"

    def setup(self):
        self.cls_token = self.param("cls_token", nn.initializers.normal(0.02), (1, 1, self.dim))
        if self.table_grid is not None:
            self.pos_embed = self.param("pos_embed", table_init, *self.table_grid, self.dim, True)
        # A 16 x 16 convolution of stride 16 is a dense layer on flattened patches.
        self.patch_embed = Dense(self.dim, dtype=self.dtype)
        self.blocks = Blocks(self.depth, self.heads, self.dtype, scan=self.scan, remat=self.remat)
        self.norm = nn.LayerNorm(epsilon=1e-6, dtype=jnp.float32)

    def tokens(self, images: Array, total_count: Array | None, keep: Array | None = None) -> Array:
        """Input of block 0: normalized images `[B, H, W, 3]` -> `[B, 2 + K, D]` float32.

        Args:
          images: H and W are multiples of 16.
          total_count: `[B]` contacts of the experiment or None.
          keep: indices `[B, K]` of the visible patches, or None for all.
        """
        batch, height, width, _ = images.shape
        patches = patchify(images)
        if self.table_grid is None:
            table = jnp.asarray(sincos_2d(height // PATCH, width // PATCH, self.dim))[None]
        else:
            table = self.pos_embed[:, 1:]
        if keep is not None:
            # Selected before they are embedded: a quarter of the work.
            patches = jnp.take_along_axis(patches, keep[..., None], axis=1)
            table = table[0][keep]
        embedded = self.patch_embed(patches).astype(jnp.float32) + table
        count = count_token(total_count, batch, self.dim)[:, None]
        cls_token = jnp.broadcast_to(self.cls_token, (batch, 1, self.dim))
        return jnp.concatenate([cls_token, count, embedded], axis=1)

    def __call__(self, images: Array, total_count: Array | None, keep: Array | None = None) -> Array:
        """Returns the encoded tokens after the final norm, `[B, 2 + K, D]` float32."""
        return self.norm(self.blocks(self.tokens(images, total_count, keep)))


class Decoder(nn.Module):
    """Transformer on class, count and patch tokens of smaller width, `[B, 2 + K, D]` -> `[B, 2 + L, D']`.

    Attributes:
      dim, depth, heads: width D', number of blocks and heads.
      norm_eps: of every LayerNorm: 1e-6 in pretraining, 1e-5 in the heads (published weights depend on both).
      table_grid: (h, w) of a head, whose position table is a parameter, because published tables were
        resized. None, in pretraining: mask tokens replace the masked patches, and the table is computed.
      dtype, scan, remat: see `Blocks`.
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
            self.pos_embed = self.param("pos_embed", table_init, *self.table_grid, self.dim)
        self.blocks = Blocks(
            self.depth, self.heads, self.dtype, self.norm_eps, scan=self.scan, remat=self.remat
        )
        self.norm = nn.LayerNorm(epsilon=self.norm_eps, dtype=jnp.float32)

    def tokens(
        self, latent: Array, restore: Array | None = None, grid: tuple[int, int] | None = None
    ) -> Array:
        """Input of block 0, `[B, 2 + L, D']` float32; arguments as of `__call__`."""
        embedded = self.embed(latent).astype(jnp.float32)
        cls_token, count, patches = embedded[:, :1], embedded[:, 1:2], embedded[:, 2:]
        if self.table_grid is None:
            batch, kept, _ = patches.shape
            masked = jnp.broadcast_to(self.mask_token, (batch, restore.shape[1] - kept, self.dim))
            shuffled = jnp.concatenate([patches, masked], axis=1)
            patches = jnp.take_along_axis(shuffled, restore[..., None], axis=1)
            patches += jnp.asarray(sincos_2d(*grid, self.dim))
        else:
            patches += self.pos_embed
        # The count token gets + 1 instead of a position: published weights depend on it.
        return jnp.concatenate([cls_token, count + 1.0, patches], axis=1)

    def __call__(
        self, latent: Array, restore: Array | None = None, grid: tuple[int, int] | None = None
    ) -> Array:
        """The decoded tokens after the final norm, `[B, 2 + L, D']` float32.

        Args:
          latent: encoded tokens `[B, 2 + K, D]`.
          restore, grid: in pretraining only: `mae.Masking.restore` `[B, L]`, and (h, w) in patches.
        """
        return self.norm(self.blocks(self.tokens(latent, restore, grid)))

    def layers(self, latent: Array) -> list[Array]:
        """The tokens after each block, then after the final norm: `[B, 2 + L, D']` each (heads only)."""
        blocks = self.blocks(self.tokens(latent), every=True)
        return [*blocks, self.norm(blocks[-1])]


class EncoderDecoder(nn.Module):
    """Base of the networks: an encoder and a decoder.

    Attributes:
      dim, depth, heads, decoder_dim, decoder_depth, decoder_heads: see `Encoder` and `Decoder`.
      dtype, scan, remat: see `Blocks`. Parameters are float32 whatever `dtype` is.
    """

    dim: int
    depth: int
    heads: int
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int
    dtype: jnp.dtype
    scan: bool
    remat: str

    @nn.nowrap
    def parts(self, table_grid: tuple[int, int] | None, norm_eps: float) -> tuple[Encoder, Decoder]:
        """Encoder and decoder; arguments as of `Decoder`. To be called in a compact method."""
        run = dict(table_grid=table_grid, dtype=self.dtype, scan=self.scan, remat=self.remat)
        encoder = Encoder(self.dim, self.depth, self.heads, **run, name="encoder")
        sizes = self.decoder_dim, self.decoder_depth, self.decoder_heads
        return encoder, Decoder(*sizes, norm_eps, **run, name="decoder")
