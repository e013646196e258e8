"""Position tables for another window size.

Pretraining's parameters as the beginning of a head's.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from hicfm_jax.models.vit import sincos_2d

_A = -0.75  # PyTorch's cubic kernel; many other libraries take -0.5


def _weights(old: int, new: int) -> np.ndarray:
    """Share of each old point in each new one, `[new, old]` float64."""
    # Half-pixel centres; no wider kernel when shrinking; beyond the edge its point is repeated.
    centre = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        point = np.floor(centre).astype(int) + tap
        distance = np.abs(centre - point)
        near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
        far = ((distance - 5) * distance + 8) * distance * _A - 4 * _A
        np.add.at(weights, (np.arange(new), np.clip(point, 0, old - 1)), np.where(distance <= 1, near, far))
    return weights


def resize_table(table: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation as the original does it (`interpolate_pos_embed_inputsize`).

    Args:
      table: `[1, n + h * w, D]`, patches row-major; the first n rows (class token) are kept.
      old, new: (h, w) in patches.

    Returns:
      `[1, n + h' * w', D]` float32; the table itself if the grid stays.
    """
    if old == new:
        return table
    extra = table.shape[1] - old[0] * old[1]
    grid = table[0, extra:].reshape(*old, -1)
    rows, columns = _weights(old[0], new[0]), _weights(old[1], new[1])
    resized = np.einsum("ih,hwd,jw->ijd", rows, grid, columns, optimize=True).reshape(new[0] * new[1], -1)
    return np.concatenate([table[0, :extra], resized]).astype(np.float32)[None]


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
