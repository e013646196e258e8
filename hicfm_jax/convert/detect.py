"""What a file of the original is, told from the names and shapes in it."""

import collections
import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.models import PRESETS
from hicfm_jax.models.vit import sincos_2d
from hicfm_jax.types import PATCH

HEADS = {
    "finetune": {"decoder_map", "map_block"},
    "reproducibility": set(),
    "loop": {"decoder_map"},
    "resolution": {"decoder_map"},
    "epigenome": {"map_blocks"},
    "single_cell": {"decoder_map"},
    "embedding": set(),
    "reconstruction": {"decoder_pred"},
}
"""The layers after the decoder, by task. Tasks with the same layers cannot be told apart."""

TABLE_ERROR = 5e-3
"""Largest rounding of a position table: what bfloat16 does to numbers up to 1."""


class Kind(NamedTuple):
    """What the file was made for.

    Attributes:
      tasks: the tasks it fits: one, or those that have the same parameters.
      model: key of `models.PRESETS`.
    """

    tasks: tuple[str, ...]
    model: str


def recognise(tensors: Mapping[str, np.ndarray], path: str) -> Kind:
    """Tells task and model from names and shapes.

    Args:
      tensors: arrays of the file by name.
      path: for messages.

    Raises:
      InputError: no HiCFoundation model, or of a size that there is no preset for.
    """
    head = any(name.startswith("vit_backbone.") for name in tensors)
    encoder = "vit_backbone." if head else ""
    depths = (_depth(tensors, f"{encoder}blocks"), _depth(tensors, "decoder_blocks"))
    widths = (_width(tensors, f"{encoder}norm"), _width(tensors, "decoder_norm"))
    if 0 in depths + widths:
        raise InputError(
            f"{path} has no encoder and decoder under the original's names: "
            "give a checkpoint of HiCFoundation."
        )
    return Kind(_head_tasks(tensors, path) if head else ("pretrain",), _preset(widths, depths, path))


def _depth(tensors: Mapping[str, np.ndarray], blocks: str) -> int:
    found = (re.match(rf"{re.escape(blocks)}\.(\d+)\.", name) for name in tensors)
    numbers = collections.Counter(match[1] for match in found if match)
    # A single name under a number is a misnomer, to be listed as such, and not a block.
    return sum(count > 1 for count in numbers.values())


def _width(tensors: Mapping[str, np.ndarray], norm: str) -> int:
    sizes = [np.size(tensors[name]) for name in (f"{norm}.weight", f"{norm}.bias") if name in tensors]
    return sizes[-1] if sizes else 0


def _preset(widths: tuple[int, int], depths: tuple[int, int], path: str) -> str:
    for name, preset in PRESETS.items():
        if widths == (preset["dim"], preset["decoder_dim"]) and depths == (
            preset["depth"],
            preset["decoder_depth"],
        ):
            return name
    known = ", ".join(f"{name} ({p['dim']} x {p['depth']})" for name, p in PRESETS.items())
    raise InputError(
        f"{path} holds an encoder of width {widths[0]} and depth {depths[0]} with a decoder of width "
        f"{widths[1]} and depth {depths[1]}, which is none of {known}: give the checkpoint of one of these."
    )


def _head_tasks(tensors: Mapping[str, np.ndarray], path: str) -> tuple[str, ...]:
    layers = {name.split(".")[0] for name in tensors} & set().union(*HEADS.values())
    tasks = tuple(task for task, needed in HEADS.items() if needed == layers)
    if not tasks:
        raise InputError(
            f"{path} has the layers {', '.join(sorted(layers))} after its decoder, which no task has "
            "together: give a checkpoint of HiCFoundation."
        )
    return tasks


def recognise_size(
    tensors: Mapping[str, np.ndarray],
    args: Mapping[str, Any],
    path: str,
    said: tuple[int, int] | None = None,
) -> tuple[int, int]:
    """Window (H, W) in bins, told from the position tables.

    Args:
      tensors: arrays of the file by name.
      args: the command line stored with them; believed only where it agrees with the shapes.
      path: for messages.
      said: what the caller takes it for; settles what the tables leave open.

    Raises:
      InputError: what is said does not agree, or the tables leave it open.
    """
    table = _table(tensors)
    if table is None:
        raise InputError(
            f"{path} has neither pos_embed nor decoder_pos_embed, which tell the size of its windows: "
            "give a checkpoint of HiCFoundation."
        )
    patches = len(table)
    if said and said[0] * said[1] != patches * PATCH**2:
        raise InputError(
            f"{path} was trained on windows of {patches} patches of {PATCH} x {PATCH} bins, and a head is "
            f"never resized: {said[0]} x {said[1]} bins cannot be its windows, so give their size or none."
        )
    stored = (args.get("input_row_size"), args.get("input_col_size"))
    stored = tuple(side if isinstance(side, int) else 0 for side in stored)
    likely = [(rows // PATCH, columns // PATCH) for rows, columns in ([said] if said else []) + [stored]]
    likely += [(math.isqrt(patches),) * 2]
    possible = [(rows, patches // rows) for rows in range(1, patches + 1)]
    fitting = [grid for grid in likely if grid[0] * grid[1] == patches]
    every = fitting + [grid for grid in possible if grid[0] * grid[1] == patches]
    fixed = [grid for grid in every if is_fixed_table(table, grid)]
    for rows, columns in fitting[:1] if said else fixed + fitting:
        return rows * PATCH, columns * PATCH
    raise InputError(
        f"{path} was trained on windows of {patches} patches but does not tell their two sides: "
        "give --input_size=ROWS,COLUMNS in bins."
    )


def _table(tensors: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """A position table `[L, D]` of the file; the decoder's if it can be, which often is a fixed one."""
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
