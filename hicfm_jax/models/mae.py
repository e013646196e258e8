"""The masked autoencoder that is pretrained."""

import flax.linen as nn
import flax.struct
import jax
import jax.numpy as jnp

from hicfm_jax.models import masking
from hicfm_jax.models.decoder import Decoder
from hicfm_jax.models.vit import Dense, Encoder
from hicfm_jax.types import NO_DIAGONAL, PATCH, Array


@flax.struct.dataclass
class PretrainOutput:
    """What pretraining predicts.

    Attributes:
      patch_pred: predicted normalised pixels `[B, L, 768]`; inside a patch: row, column, channel.
      count_pred: predicted `log10(matrix_count + 1)`, `[B]`.
      token_mask: 1 where the encoder did not see the patch, `[B, L]`.
    """

    patch_pred: Array
    count_pred: Array
    token_mask: Array


class MaskedAutoencoder(nn.Module):
    """HiCFoundation's pretraining model (Wang et al. 2026; original: `Models_HiCFoundation`).

    Attributes:
      dim, depth, heads: of the encoder.
      decoder_dim, decoder_depth, decoder_heads: of the decoder.
      mask_ratio: share of patches that the encoder may not see.
      mask_combine: how mirror-image patches share their noise, see `masking.symmetric_noise`.
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
        """Hides patches and predicts the whole window.

        Args:
          images: normalised images `[B, H, W, 3]`, H and W multiples of 16.
          total_count: contacts of each experiment `[B]`, None where unknown.
          diag: where the map's diagonal enters, in patches, `[B]` (see `types.Batch`); None: nowhere.
          noise: `[B, h, w]` in [0, 1); None draws it from the rng stream "mask".
        """
        batch, height, width, _ = images.shape
        grid = (height // PATCH, width // PATCH)
        if noise is None:
            noise = masking.draw_noise(jax.random.split(self.make_rng("mask"), batch), *grid)
        if diag is None:
            diag = jnp.full((batch,), NO_DIAGONAL)
        noise = masking.symmetric_noise(noise, diag, self.mask_combine)
        mask = masking.mask_from_noise(noise, self.mask_ratio)
        latent = self.encoder(images, total_count, mask.keep)
        decoded = self.decoder(latent, mask.restore, grid).astype(self.dtype)
        return PretrainOutput(
            patch_pred=self.pixel_head(decoded[:, 2:]).astype(jnp.float32),
            count_pred=self.count_head(decoded[:, 1])[:, 0].astype(jnp.float32),
            token_mask=mask.token_mask,
        )
