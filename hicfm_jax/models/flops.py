"""FLOPs of a step or window, from the sizes of its matrix products.

A multiply-add counts 2. Element-wise work and the SSIM are left out (below 1 % for ViT-L).
"""

from hicfm_jax.models.bin_path import DISTANCES, KERNEL
from hicfm_jax.models.heads import OUTPUTS, TRACKS
from hicfm_jax.models.pixel_path import HEAD_DIM, LEVELS, PIXEL_FEATURES
from hicfm_jax.models.presets import PRESETS
from hicfm_jax.models.smoothing import SIGMAS
from hicfm_jax.types import PATCH


def _blocks(length: int, dim: int, depth: int) -> int:
    # Per token and block: qkv 3 D^2, projection D^2, MLP 8 D^2; per pair of tokens 2 D.
    return 2 * depth * (12 * length * dim**2 + 2 * length**2 * dim)


def _encoder(size: dict[str, int], patches: int) -> int:
    return _blocks(2 + patches, size["dim"], size["depth"]) + 2 * patches * 3 * PATCH**2 * size["dim"]


def _decoder(size: dict[str, int], visible: int, patches: int) -> int:
    embedding = 2 * (2 + visible) * size["dim"] * size["decoder_dim"]
    return embedding + _blocks(2 + patches, size["decoder_dim"], size["decoder_depth"])


def pretrain_flops(name: str, input_size: tuple[int, int], mask_ratio: float = 0.75) -> int:
    """FLOPs of pretraining per sample: forward and backward (twice the forward)."""
    size = PRESETS[name]
    patches = input_size[0] * input_size[1] // PATCH**2
    kept = int(patches * (1 - mask_ratio))
    pixels = 3 * PATCH**2
    forward = _encoder(size, kept) + _decoder(size, kept, patches)
    forward += 2 * patches * size["decoder_dim"] * pixels
    forward += 2 * patches**2 * pixels  # the contrastive loss
    return 3 * forward


def head_flops(
    name: str,
    input_size: tuple[int, int],
    task: str,
    train_encoder: bool = False,
    train_decoder: bool = False,
    map_channels: int = 1,
    n_tracks: int = len(TRACKS),
) -> int:
    """FLOPs of a head per window of `input_size` bins: forward, and backward through the trained part.

    Training the encoder includes a backward pass through everything, training the decoder one through decoder
    and head; neither is inference. `map_channels` are the outputs of the decoder per pixel of a map,
    `pixel_path.PIXEL_FEATURES` with a residual; `n_tracks` are those of task epigenome.
    """
    size = PRESETS[name]
    height, width = input_size[0] // PATCH, input_size[1] // PATCH
    patches = height * width
    # Outputs of each field's last layer per window.
    outputs = {
        "map": map_channels * patches * PATCH**2,
        "image": patches * 3 * PATCH**2,
        "track": height * PATCH,
    }
    outputs["tracks"] = n_tracks * outputs["track"]
    encoder, decoder = _encoder(size, patches), _decoder(size, patches, patches)
    decoder += sum(2 * outputs.get(field, 0) * size["decoder_dim"] for field in OUTPUTS[task])
    return encoder * (3 if train_encoder else 1) + decoder * (3 if train_encoder or train_decoder else 1)


def bin_path_flops(input_size: tuple[int, int], width: int, depth: int, n_tracks: int) -> int:
    """FLOPs of training a `bin_path.BinPath` per window, without features from the transformer."""
    rows, columns = input_size
    n_ranges = len(DISTANCES) - 1
    features = (1 + len(SIGMAS)) * n_ranges + 1
    layers = features * width + depth * (KERNEL + 1) * width**2 + width * n_tracks
    smoothing = 2 * len(SIGMAS) * 2 * rows * columns * (rows + columns)
    sums = 2 * (2 + len(SIGMAS)) * n_ranges * rows * columns
    return 3 * 2 * layers * rows + smoothing + sums


def pixel_path_flops(input_size: tuple[int, int], width: int, depth: int, bin_heads: int) -> int:
    """FLOPs of training a `pixel_path.PixelPath` per window: forward and backward."""
    rows, columns = input_size
    pixels = rows * columns
    features = 2 * len(SIGMAS) + 3 + 2 * bin_heads + PIXEL_FEATURES
    channels = [(features, width, 1)]  # (in, out, factor by which it has fewer pixels) of each convolution
    for level in range(1, LEVELS + 1):
        channels += [
            (width if level == 1 else 2 * width, 2 * width, 4**level),
            (2 * width, 2 * width, 4**level),
        ]
    for level in range(LEVELS):
        same = 2 * width if level else width
        channels.append((2 * width + same, same, 4**level))
    channels += [(width, width, 1)] * depth
    convolutions = sum(2 * 9 * before * after * pixels // fewer for before, after, fewer in channels)
    smoothing = 2 * len(SIGMAS) * 2 * pixels * (rows + columns)
    attention = 2 * bin_heads * pixels * (rows + columns)  # averages; tokens of bins are small beside them
    attention += 2 * bin_heads * HEAD_DIM * (rows**2 + columns**2)
    return 3 * (convolutions + attention) + smoothing
