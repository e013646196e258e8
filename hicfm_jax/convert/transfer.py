"""Pretraining's parameters as the beginning of a head's."""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hicfm_jax.convert.resize import resize_table
from hicfm_jax.models.positions import sincos_2d


class Transfer(NamedTuple):
    """A head's parameters as far as pretraining gives them.

    Attributes:
      params: arrays by path.
      resized: paths of the position tables that came from another grid.
      dropped: paths of pretraining that the head has no use for.
      new: paths of the head that pretraining has nothing for.
    """

    params: dict[str, np.ndarray]
    resized: list[str]
    dropped: list[str]
    new: list[str]


def to_head(
    params: Mapping[str, np.ndarray],
    grid: tuple[int, int],
    task: str,
    shapes: Mapping[str, tuple[int, ...]],
    new_grid: tuple[int, int],
) -> Transfer:
    """Fills a head from pretraining, as the original's `finetune/main_worker.py` does.

    The tables are resized from the grid of pretraining and not computed for the new one, which would
    be other numbers. The epigenome head computes its decoder's.

    Args:
      params: of pretraining, by path.
      grid: patches of its windows (h, w).
      task: of the head.
      shapes: of the head's parameters, by path.
      new_grid: patches of the head's windows.
    """
    own_table = {"decoder/pos_embed"} if task == "epigenome" else set()
    taken = {path: params[path] for path in shapes if path in params}
    resized = []
    for path in ("encoder/pos_embed", "decoder/pos_embed"):
        width, class_token = shapes[path][-1], path.startswith("encoder")
        if path in own_table:
            taken[path] = sincos_2d(*new_grid, width)[None]
            continue
        taken[path] = resize_table(sincos_2d(*grid, width, class_token)[None], grid, new_grid)
        if grid != new_grid:
            resized.append(path)
    return Transfer(
        params=taken,
        resized=resized,
        dropped=[path for path in params if path not in shapes] + sorted(own_table),
        new=[path for path in shapes if path not in taken],
    )
