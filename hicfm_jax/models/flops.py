"""How much arithmetic a step takes, counted from the sizes of its matrix products."""

from hicfm_jax.models.presets import PRESETS
from hicfm_jax.types import PATCH


def _blocks(length: int, dim: int, depth: int) -> int:
    # Per token and block: qkv 3 D^2, projection D^2, MLP 8 D^2; per pair of tokens 2 D.
    return 2 * depth * (12 * length * dim**2 + 2 * length**2 * dim)


def pretrain_flops(name: str, input_size: tuple[int, int], mask_ratio: float = 0.75) -> int:
    """FLOPs of one pretraining step per sample: forward and backward (twice the forward).

    A multiply-add counts 2. Element-wise work and the SSIM are left out (below 1 % for ViT-L).

    Args:
      name: a key of `PRESETS`.
      input_size: (H, W) in bins.
      mask_ratio: share of patches that the encoder does not see.
    """
    size = PRESETS[name]
    patches = input_size[0] * input_size[1] // PATCH**2
    kept = int(patches * (1 - mask_ratio))
    pixels = 3 * PATCH**2
    forward = _blocks(2 + kept, size["dim"], size["depth"])
    forward += _blocks(2 + patches, size["decoder_dim"], size["decoder_depth"])
    forward += 2 * kept * pixels * size["dim"]
    forward += 2 * (2 + kept) * size["dim"] * size["decoder_dim"]
    forward += 2 * patches * size["decoder_dim"] * pixels
    forward += 2 * patches**2 * pixels  # the contrastive loss
    return 3 * forward
