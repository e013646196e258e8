"""Task, model and window size of a file, from its names and shapes."""

import collections
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from hicfm_jax.checkpoints.parameters import HEAD_LAYERS
from hicfm_jax.errors import InputError
from hicfm_jax.models.presets import find_preset
from hicfm_jax.models.vit import sincos_2d
from hicfm_jax.types import PATCH

# Layers after the decoder: the original's name -> ours.
_LAYERS = {
    "decoder_map": "map_head",
    "map_block": "track_head",
    "map_blocks": "track_heads",
    "decoder_pred": "pixel_head",
}
TABLE_ERROR = 5e-3  # of a position table in bfloat16, for numbers up to 1


def recognize(tensors: Mapping[str, np.ndarray], path: str) -> tuple[tuple[str, ...], str]:
    """The tasks that have the parameters of a file, and its model (key of `models.PRESETS`).

    Raises:
      InputError: no HiCFoundation model, or a size without a preset.
    """
    head = any(name.startswith("vit_backbone.") for name in tensors)
    encoder = "vit_backbone." if head else ""
    widths = _width(tensors, f"{encoder}norm"), _width(tensors, "decoder_norm")
    depths = _depth(tensors, f"{encoder}blocks"), _depth(tensors, "decoder_blocks")
    if 0 in depths + widths:
        raise InputError(
            f"{path} has no encoder and decoder under the original's names: "
            "give a checkpoint of HiCFoundation."
        )
    layers = {name.split(".")[0] for name in tensors} & set(_LAYERS)
    tasks = tuple(
        task for task, needed in HEAD_LAYERS.items() if needed == {_LAYERS[name] for name in layers}
    )
    if head and not tasks:
        raise InputError(
            f"{path} has the layers {', '.join(sorted(layers))} after its decoder, a combination that no "
            "task has: give a checkpoint of HiCFoundation."
        )
    return tasks if head else ("pretrain",), find_preset(path, widths, depths)


def _depth(tensors: Mapping[str, np.ndarray], blocks: str) -> int:
    found = (re.match(rf"{re.escape(blocks)}\.(\d+)\.", name) for name in tensors)
    numbers = collections.Counter(match[1] for match in found if match)
    # A single name under a number is a misspelt one, to be listed as unexpected, and not a block.
    return sum(count > 1 for count in numbers.values())


def _width(tensors: Mapping[str, np.ndarray], norm: str) -> int:
    sizes = [np.size(tensors[name]) for name in (f"{norm}.weight", f"{norm}.bias") if name in tensors]
    return sizes[-1] if sizes else 0


def recognize_size(
    tensors: Mapping[str, np.ndarray], args: Mapping[str, Any], path: str, given: tuple[int, int] | None
) -> tuple[int, int]:
    """Window (H, W) in bins, from the position tables.

    The stored command line `args` is used only where it agrees with the shapes of the tensors; the size that
    the caller gives decides where they are ambiguous.

    Raises:
      InputError: the size given does not agree with the tables, or they are ambiguous.
    """
    table = _table(tensors)
    if table is None:
        raise InputError(
            f"{path} has neither pos_embed nor decoder_pos_embed, which give the size of its windows: "
            "give a checkpoint of HiCFoundation."
        )
    patches = len(table)
    if given and given[0] * given[1] != patches * PATCH**2:
        raise InputError(
            f"{path} was trained on windows of {patches} patches of {PATCH} x {PATCH} bins, and a head is "
            f"never resized: {given[0]} x {given[1]} bins cannot be its windows, so give their size or none."
        )
    stored = (args.get("input_row_size"), args.get("input_col_size"))
    stored = [side // PATCH if isinstance(side, int) else 0 for side in stored]
    likely = [(given[0] // PATCH, given[1] // PATCH)] if given else []
    likely += [tuple(stored), (math.isqrt(patches),) * 2]
    likely = [grid for grid in likely if math.prod(grid) == patches]
    possible = [(rows, patches // rows) for rows in range(1, patches + 1) if patches % rows == 0]
    fixed = [grid for grid in likely + possible if is_fixed_table(table, grid)]
    for rows, columns in likely[:1] if given else fixed + likely:
        return rows * PATCH, columns * PATCH
    raise InputError(
        f"{path} was trained on windows of {patches} patches but does not give their two sides: "
        "give --input_size=ROWS,COLUMNS in bins."
    )


def _table(tensors: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """A position table `[L, D]` of the file; the decoder's where there is one, which often is fixed."""
    for name, norm, extra in (
        ("decoder_pos_embed", "decoder_norm", 0),
        ("decoder_pos_embed_new", "decoder_norm", 0),
        ("pos_embed", "norm", 1),
        ("vit_backbone.pos_embed", "vit_backbone.norm", 1),
    ):
        shape = np.shape(tensors.get(name, 0))
        if len(shape) == 3 and shape[1] > extra and shape[2] == _width(tensors, norm):
            return tensors[name][0, extra:]
    return None


def is_fixed_table(table: np.ndarray, grid: tuple[int, int]) -> bool:
    """Whether `[L, D]` is the sine-cosine table of a grid of patches."""
    return bool(np.abs(table - sincos_2d(*grid, table.shape[1])).max() <= TABLE_ERROR)
