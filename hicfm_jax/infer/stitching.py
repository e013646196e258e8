"""Merging the predictions of overlapping windows, row by row."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

MERGES = {"average": 0.0, "original": 0.01}
"""Rules of merging, and the largest mean that still counts as no contact.

`average`: every prediction counts, less towards a window's edge, where it sees little of a pixel's
surroundings. `original`: the plain mean of the predictions that are not 0 (original: inference for loops
and resolution).
"""

_STEPS = 1024


class Rows(NamedTuple):
    """Finished rows of a chromosome: weighted means `[k, width]` float64, and where there was a prediction.

    `first` is the number of the first row, `left` the bin of column 0: the same in a cis map, 0 for a pair of
    chromosomes. `sd` are standard deviations, if the windows had variances.
    """

    first: int
    mean: np.ndarray
    covered: np.ndarray
    sd: np.ndarray | None = None
    left: int = 0


def smooth_weights(window: tuple[int, int]) -> np.ndarray:
    """Hann's squared sine along both axes of a window, `[H, W]`, nowhere 0.

    Whole numbers, so that the mean of equal whole predictions is exactly that number.
    """

    def hill(side):
        return 1 + np.rint((_STEPS - 1) * np.sin(np.pi * (np.arange(side) + 0.5) / side) ** 2)

    return np.outer(*map(hill, window))


def merge_windows(
    predictions: Iterable[np.ndarray],
    positions: np.ndarray,
    size: int,
    window: tuple[int, int],
    rule: str = "average",
    symmetric: bool = True,
) -> Iterator[Rows]:
    """Merges the windows of one chromosome, and yields its rows in order as they are finished.

    Windows with variances are merged as a mixture of distributions, whose variance is the mean of
    (variance + mean squared) minus the squared mean. Windows see the same contacts: more of them do not make
    a pixel surer, and windows that disagree make it less sure.

    Args:
      predictions: contacts of each window `[H, W]`, 0 or more, or these and their variances `[2, H, W]`; what
        overhangs the end is left out.
      positions: of the windows `[N, 2]`, as `scan_plan.in_order` sorts them, or by row if not symmetric.
      size: bins of the chromosome, or of that of the rows.
      window: (H, W) in bins.
      rule: a key of `MERGES`.
      symmetric: False for a pair of different chromosomes, whose rows are whole.
    """
    kind = Band if symmetric else Rectangle
    band, squares, smooth = kind(positions, window), kind(positions, window), smooth_weights(window)
    spread = False

    def finish(before: int) -> Iterator[Rows]:
        if not spread:
            yield from band.finish(before)
            return
        for rows, square in zip(band.finish(before), squares.finish(before), strict=True):
            yield rows._replace(sd=np.sqrt(np.maximum(square.mean - rows.mean**2, 0.0)))

    for (row, col), values in zip(positions.tolist(), predictions, strict=True):
        spread = values.ndim == 3  # from the first rows on
        yield from finish(min(row, col) if symmetric else row)
        values, *variance = values.astype(np.float64) if spread else (values.astype(np.float64),)
        weights = (values != 0).astype(np.float64) if rule == "original" else smooth
        band.add(row, col, values, weights)
        if variance:
            squares.add(row, col, variance[0] + values**2, weights)
    yield from finish(size)


class Band:
    """Sums of windows over the upper triangle, onto which the lower one is folded.

    Memory is two float64 arrays as tall as a window and as wide as the farthest window lies from the
    diagonal, however long the chromosome.

    Args:
      positions: of all windows that will be added, as `scan_plan.in_order` sorts them, `[N, 2]`.
      window: (H, W) in bins.
    """

    def __init__(self, positions: np.ndarray, window: tuple[int, int]):
        first, ends = positions.min(axis=1), positions + window
        rows, width = (int((end - first).max(initial=1)) for end in (ends.min(axis=1), ends.max(axis=1)))
        self._first = 0
        self._total = np.zeros((rows, width))
        self._weight = np.zeros((rows, width))

    def add(self, row: int, col: int, values: np.ndarray, weights: np.ndarray) -> None:
        """Adds a window `[H, W]` and its mirror image; row and col are not above the finished rows."""
        weighted = values * weights
        self._add(row, col, weighted, weights)
        self._add(col, row, weighted.T, weights.T)

    def _add(self, row: int, col: int, weighted: np.ndarray, weights: np.ndarray) -> None:
        height = min(weighted.shape[0], col + weighted.shape[1] - row)  # below is only lower triangle
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
        """Yields the rows before number `before` and forgets them; no later window may touch them."""
        while self._first < before:
            count = min(before - self._first, len(self._total))
            total, weight = self._total[:count], self._weight[:count]
            mean = np.divide(total, weight, out=np.zeros_like(total), where=weight > 0)
            yield Rows(self._first, mean, weight > 0, left=self._left)
            self._first += count
            for sums in (self._total, self._weight):
                self._forget(sums, count)

    @property
    def _left(self) -> int:
        return self._first

    def _forget(self, sums: np.ndarray, count: int) -> None:
        sums[:-count, :-count] = sums[count:, count:]
        sums[-count:] = 0
        sums[:, -count:] = 0


class Rectangle(Band):
    """Sums of windows over a pair of different chromosomes.

    Memory is as for `Band`, as wide as the chromosome of the columns. Positions are sorted by row.
    """

    _left = 0

    def __init__(self, positions: np.ndarray, window: tuple[int, int]):
        self._first = 0
        self._total, self._weight = np.zeros((2, window[0], int(positions[:, 1].max()) + window[1]))

    def add(self, row: int, col: int, values: np.ndarray, weights: np.ndarray) -> None:
        """Adds a window `[H, W]`; row is not above the finished rows."""
        place = slice(row - self._first, row - self._first + len(values)), slice(col, col + values.shape[1])
        self._total[place] += values * weights
        self._weight[place] += weights

    def _forget(self, sums: np.ndarray, count: int) -> None:
        sums[:-count] = sums[count:]
        sums[-count:] = 0
