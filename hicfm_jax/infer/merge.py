"""How the predictions of overlapping windows become one."""

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from hicfm_jax.infer.band import Band, Rows

MERGES = ("average", "original")

_STEPS = 1024


class Merge(NamedTuple):
    """A rule of merging.

    Attributes:
      weights: of a window's predictions `[H, W]`, same shape.
      least: means up to this are no contacts.
    """

    weights: Callable[[np.ndarray], np.ndarray]
    least: float


def create_merge(name: str, window: tuple[int, int]) -> Merge:
    """A rule by its name.

    `average`: every prediction counts, those near a window's edge less, where it sees little of a
    pixel's surroundings. `original`: the plain mean of the predictions that are not 0, kept if above
    0.01 (original: its inference for loops and resolution).
    """
    if name == "original":
        return Merge(lambda values: (values != 0).astype(np.float64), 0.01)
    smooth = smooth_weights(window)
    return Merge(lambda values: smooth, 0.0)


def smooth_weights(window: tuple[int, int]) -> np.ndarray:
    """A hill over the window, `[H, W]`: Hann's squared sine along both axes, nowhere 0.

    Whole numbers, so that the mean of equal whole predictions is exactly that number.
    """

    def hill(side):
        return 1 + np.rint((_STEPS - 1) * np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2)

    return np.outer(*map(hill, window))


def merge_windows(
    predictions: Iterable[np.ndarray],
    positions: np.ndarray,
    window: tuple[int, int],
    size: int,
    merge: Merge,
) -> Iterator[Rows]:
    """Merges the windows of one chromosome and hands on its rows as they are finished.

    Args:
      predictions: contacts of each window `[H, W]`, 0 or more; what overhangs the end is left out.
      positions: of the windows `[N, 2]`, as `positions.in_order` sorts them.
      window: (H, W) in bins.
      size: bins of the chromosome.
      merge: the rule.

    Yields:
      All rows in order.
    """
    band = Band(positions, window)
    for (row, col), values in zip(positions.tolist(), predictions, strict=True):
        yield from band.finish(min(row, col))
        values = values.astype(np.float64)
        band.add(row, col, values, merge.weights(values))
    yield from band.finish(size)
