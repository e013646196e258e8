"""Position tables for another window size."""

import numpy as np

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
