"""The masked autoencoder of pretraining, and its random masks."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from hicfm_jax.models.vit import Dense, EncoderDecoder
from hicfm_jax.types import NO_DIAGONAL, PATCH, Array


@flax.struct.dataclass
class Masking:
    """A mask of patches.

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

    The mirror of patch (r, c) about a diagonal that enters at (0, d) is (c - d, r + d). Where it is inside
    the grid, both get the sum of their noises (original: `apply_symmectric_noise`). The sum is larger than a
    single draw, so patches near the diagonal are masked more often; the mean reduces this bias.

    Args:
      noise: `[B, h, w]` in [0, 1).
      diag: `[B]` in patches, see `batch.Batch`.
      combine: "sum" (the original) or "mean".
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
    combined = (noise + mirrored) / (2 if combine == "mean" else 1)
    return jnp.where(inside, combined, noise)


def mask_from_noise(noise: Array, mask_ratio: float) -> Masking:
    """Keeps the `int(L * (1 - mask_ratio))` patches with the smallest noise, `[B, h, w]`, as in the original.

    Unlike the original's sort, this one is stable, so a mask is a function of its noise.
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


class MaskedAutoencoder(EncoderDecoder):
    """HiCFoundation's pretraining model (Wang et al. 2026; original: `Models_HiCFoundation`).

    Attributes:
      mask_ratio: fraction of patches that are masked.
      mask_combine: noise of mirror-image patches, see `symmetric_noise`.
    """

    mask_ratio: float = 0.75
    mask_combine: str = "sum"

    @nn.compact
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
          diag: where the map's diagonal enters, in patches, `[B]` (see `batch.Batch`); None: nowhere.
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
        encoder, decoder = self.parts(table_grid=None, norm_eps=1e-6)
        decoded = decoder(encoder(images, total_count, mask.keep), mask.restore, grid).astype(self.dtype)
        pixels = Dense(PATCH * PATCH * 3, dtype=self.dtype, name="pixel_head")(decoded[:, 2:])
        count = Dense(1, dtype=self.dtype, name="count_head")(decoded[:, 1])[:, 0]
        return PretrainOutput(pixels.astype(jnp.float32), count.astype(jnp.float32), mask.token_mask)
