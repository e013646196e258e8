"""Names and layouts of parameters: the original's and ours."""

import re

import numpy as np

from hicfm_jax.types import PATCH

_PLACES = (
    (r"^encoder/patch_embed/", "patch_embed.proj."),
    (r"^encoder/", ""),
    (r"^decoder/(mask_token)", r"\1"),
    (r"^decoder/", "decoder_"),
    (r"^pixel_head/", "decoder_pred."),
    (r"^count_head/", "decoder_count."),
    (r"^map_head/", "decoder_map."),
    (r"^track_head/", "map_block."),
    (r"^track_heads_(\d+)/", r"map_blocks.\1."),
)
_LEAVES = ((r"blocks/block_", "blocks."), (r"(kernel|scale)$", "weight"), (r"/", "."))

# Words of the original's names in the order in which its modules are created, that of a state_dict.
_ORDER = (
    "cls_token pos_embed mask_token decoder_pos_embed decoder_pos_embed_new vit_backbone patch_embed "
    "blocks norm head decoder_embed decoder_blocks decoder_norm decoder_map map_block map_blocks "
    "decoder_pred decoder_count norm1 attn qkv proj norm2 mlp fc1 fc2 weight bias"
).split()


def original_name(path: str, task: str) -> str:
    """The original's name: "encoder/norm/scale" -> "norm.weight", in a head "vit_backbone.norm.weight"."""
    name = path
    for pattern, place in _PLACES:
        name, found = re.subn(pattern, place, name)
        if found:
            break
    for pattern, place in _LEAVES:
        name = re.sub(pattern, place, name)
    if task != "pretrain" and path.startswith("encoder/"):
        return f"vit_backbone.{name}"
    # The original named this table anew so that pretraining files do not fill it.
    return f"{name}_new" if (task, name) == ("epigenome", "decoder_pos_embed") else name


def original_order(name: str) -> tuple[int, ...]:
    """Sorts names as the original's state_dict and optimizer do."""
    return tuple(int(word) if word.isdigit() else _ORDER.index(word) for word in name.split("."))


def original_shape(path: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """The original's shape of a parameter whose shape here is `shape`."""
    if path == "encoder/patch_embed/kernel":
        return (shape[1], 3, PATCH, PATCH)
    return shape[::-1] if path.endswith("/kernel") else shape


def to_ours(path: str, value: np.ndarray) -> np.ndarray:
    """The original's numbers in our layout, float32: dense kernels are transposed.

    The patch embedding's convolution `[D, 3, 16, 16]` becomes a dense kernel `[768, D]` over pixels
    in the order row, column, channel.
    """
    if path == "encoder/patch_embed/kernel":
        value = value.transpose(2, 3, 1, 0).reshape(-1, value.shape[0])
    elif path.endswith("/kernel"):
        value = value.T
    return np.array(value, np.float32, order="C")


def to_original(path: str, value: np.ndarray) -> np.ndarray:
    """The inverse of `to_ours`."""
    if path == "encoder/patch_embed/kernel":
        value = value.reshape(PATCH, PATCH, 3, -1).transpose(3, 2, 0, 1)
    elif path.endswith("/kernel"):
        value = value.T
    return np.array(value, np.float32, order="C")


def dropped(name: str, task: str) -> str | None:
    """Why a name in a file of `task` has no parameter here; None if it should have one."""
    if task == "pretrain":
        fixed = name in ("pos_embed", "decoder_pos_embed")
        return "fixed table, computed from the window's size" if fixed else None
    if re.fullmatch(r"vit_backbone\.head\.(weight|bias)", name):
        return "classifier that the original never uses"
    if re.fullmatch(r"patch_embed\.proj\.(weight|bias)", name):
        return "second name of vit_backbone.patch_embed"
    return None
