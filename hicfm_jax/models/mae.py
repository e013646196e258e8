"""The masked autoencoder of pretraining, and its random masks."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from hicfm_jax.models.vit import Decoder, Dense, Encoder
from hicfm_jax.types import NO_DIAGONAL, PATCH, Array


@flax.struct.dataclass
class Masking:
    """A drawn mask.

    Attributes:
      keep: indices of the visible patches, in the order of the encoder's tokens, `[B, K]` int32.
      restore: place of every patch in the list "visible, then masked", `[B, L]` int32.
      token_mask: 1 for a masked patch, `[B, L]` float32.
    """

    keep: Array
    restore: Array
    token_mask: Array


def symmetric_noise(noise: Array, diag: Array, combine: str = "sum") -> Array:
    """Gives mirror-image patches the same noise, so that a visible one does not reveal a masked one.

    The mirror of patch (r, c) about a diagonal that enters at (0, d) is (c - d, r + d). Where it
    lies inside the grid, both get the sum of their noises (original: `apply_symmectric_noise`).
    The sum is larger than a single draw, so patches near the diagonal are masked more often;
    `combine="mean"` halves it, which reduces the bias.

    Args:
      noise: `[B, h, w]` in [0, 1).
      diag: `[B]` in patches; where no patch has a mirror, the noise stays as it is.
      combine: "sum" (the original) or "mean".

    Returns:
      `[B, h, w]`.
    """
    noise = jnp.asarray(noise)
    height, width = noise.shape[1:]
    rows = jnp.arange(height)[None, :, None]
    columns = jnp.arange(width)[None, None, :]
    offset = jnp.asarray(diag, jnp.int32)[:, None, None]
    mirror_row, mirror_column = columns - offset, rows + offset
    inside = (mirror_row >= 0) & (mirror_row < height) & (mirror_column >= 0) & (mirror_column < width)
    mirrored = noise[
        jnp.arange(noise.shape[0])[:, None, None],
        jnp.clip(mirror_row, 0, height - 1),
        jnp.clip(mirror_column, 0, width - 1),
    ]
    combined = noise + mirrored
    if combine == "mean":
        combined = combined / 2
    return jnp.where(inside, combined, noise)


def mask_from_noise(noise: Array, mask_ratio: float) -> Masking:
    """Keeps the patches with the smallest noise.

    Args:
      noise: `[B, h, w]`, already symmetric.
      mask_ratio: fraction to mask; `int(L * (1 - ratio))` stay visible (truncated, as in the original).

    Returns:
      A `Masking`. Unlike the original's sort, this one is stable (row-major), so a mask is a function of
      its noise.
    """
    flat = noise.reshape(noise.shape[0], -1)
    kept = int(flat.shape[1] * (1 - mask_ratio))
    order = jnp.argsort(flat, axis=1, stable=True)
    restore = jnp.argsort(order, axis=1, stable=True)
    return Masking(keep=order[:, :kept], restore=restore, token_mask=(restore >= kept).astype(jnp.float32))


def draw_noise(keys: Array, height: int, width: int) -> Array:
    """Uniform noise on the patch grid, `[B, h, w]`, from one random key per example `[B]`."""
    return jax.vmap(lambda k: jax.random.uniform(k, (height, width)))(keys)


@flax.struct.dataclass
class PretrainOutput:
    """Output of the pretraining model.

    Attributes:
      patch_pred: predicted normalized pixels `[B, L, 768]`; inside a patch: row, column, channel.
      count_pred: predicted `log10(matrix_count + 1)`, `[B]`.
      token_mask: 1 for a masked patch, `[B, L]`.
    """

    patch_pred: Array
    count_pred: Array
    token_mask: Array


class MaskedAutoencoder(nn.Module):
    """HiCFoundation's pretraining model (Wang et al. 2026; original: `Models_HiCFoundation`).

    Attributes:
      dim, depth, heads: of the encoder.
      decoder_dim, decoder_depth, decoder_heads: of the decoder.
      mask_ratio: fraction of patches that are masked.
      mask_combine: noise of mirror-image patches, see `symmetric_noise`.
      dtype, scan, remat: see `vit.Blocks`. Parameters are float32 whatever `dtype` is.
    """

    dim: int
    depth: int
    heads: int
    decoder_dim: int
    decoder_depth: int
    decoder_heads: int
    mask_ratio: float = 0.75
    mask_combine: str = "sum"
    dtype: jnp.dtype = jnp.float32
    scan: bool = False
    remat: str = "none"

    def setup(self):
        run = dict(dtype=self.dtype, scan=self.scan, remat=self.remat)
        self.encoder = Encoder(self.dim, self.depth, self.heads, **run)
        self.decoder = Decoder(self.decoder_dim, self.decoder_depth, self.decoder_heads, **run)
        self.pixel_head = Dense(PATCH * PATCH * 3, dtype=self.dtype)
        self.count_head = Dense(1, dtype=self.dtype)

    def __call__(
        self,
        images: Array,
        total_count: Array | None = None,
        diag: Array | None = None,
        *,
        noise: Array | None = None,
    ) -> PretrainOutput:
        """Masks patches and predicts the whole window.

        Args:
          images: normalized images `[B, H, W, 3]`, H and W multiples of 16.
          total_count: contacts of each experiment `[B]`, None where unknown.
          diag: where the map's diagonal enters, in patches, `[B]` (see `types.Batch`); None: nowhere.
          noise: `[B, h, w]` in [0, 1); None draws it from the rng stream "mask".
        """
        batch, height, width, _ = images.shape
        grid = (height // PATCH, width // PATCH)
        if noise is None:
            noise = draw_noise(jax.random.split(self.make_rng("mask"), batch), *grid)
        if diag is None:
            diag = jnp.full((batch,), NO_DIAGONAL)
        noise = symmetric_noise(noise, diag, self.mask_combine)
        mask = mask_from_noise(noise, self.mask_ratio)
        latent = self.encoder(images, total_count, mask.keep)
        decoded = self.decoder(latent, mask.restore, grid).astype(self.dtype)
        return PretrainOutput(
            patch_pred=self.pixel_head(decoded[:, 2:]).astype(jnp.float32),
            count_pred=self.count_head(decoded[:, 1])[:, 0].astype(jnp.float32),
            token_mask=mask.token_mask,
        )
