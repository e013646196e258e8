"""Sums of overlapping windows, kept only for the rows that later windows may still touch."""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np


class Rows(NamedTuple):
    """Finished rows of a chromosome.

    Attributes:
      first: number of the first of them.
      mean: weighted means of the predictions, `[k, width]` float64; column 0 is bin `first`.
      covered: where there was a prediction, same shape.
    """

    first: int
    mean: np.ndarray
    covered: np.ndarray


class Band:
    """The upper triangle of a map that windows are added to, row by row, the lower one folded onto it.

    Memory is that of two float64 arrays as tall as a window and as wide as the farthest window lies
    from the diagonal, however long the chromosome.

    Args:
      positions: of all windows that will be added, as `positions.in_order` sorts them, `[N, 2]`.
      window: (H, W) in bins.
    """

    def __init__(self, positions: np.ndarray, window: tuple[int, int]):
        first, ends = positions.min(axis=1), positions + window
        rows, width = (int((end - first).max(initial=1)) for end in (ends.min(axis=1), ends.max(axis=1)))
        self._first = 0
        self._total = np.zeros((rows, width))
        self._weight = np.zeros((rows, width))

    def add(self, row: int, col: int, values: np.ndarray, weights: np.ndarray) -> None:
        """Adds a window and its mirror image.

        Args:
          row, col: its first bins; not above the rows that are finished.
          values, weights: `[H, W]`.
        """
        weighted = values * weights
        self._add(row, col, weighted, weights)
        self._add(col, row, weighted.T, weights.T)

    def _add(self, row: int, col: int, weighted: np.ndarray, weights: np.ndarray) -> None:
        height = min(weighted.shape[0], col + weighted.shape[1] - row)  # below, all is lower triangle
        if height <= 0:
            return
        weighted, weights = weighted[:height], weights[:height]
        if col < row + height - 1:
            weighted, weights = (np.triu(part, row - col) for part in (weighted, weights))
        top, left = row - self._first, col - self._first
        place = slice(top, top + height), slice(left, left + weighted.shape[1])
        self._total[place] += weighted
        self._weight[place] += weights

    def finish(self, before: int) -> Iterator[Rows]:
        """Gives up the rows before number `before`; no later window may touch them."""
        while self._first < before:
            count = min(before - self._first, len(self._total))
            total, weight = self._total[:count], self._weight[:count]
            mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
            yield Rows(self._first, mean, weight > 0)
            self._first += count
            for sums in (self._total, self._weight):
                sums[:-count, :-count] = sums[count:, count:]
                sums[-count:] = 0
                sums[:, -count:] = 0
