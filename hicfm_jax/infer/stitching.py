"""How the predictions of overlapping windows become one.

Sums of overlapping windows, kept only for the rows that later windows may still touch.

The rows of a map, kept on disk as they are finished.
"""

import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

MERGES = ("average", "original")

_STEPS = 1024


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


ROW_BYTES = 8
"""On disk for each pixel."""


class RowFile:
    """Two temporary files with the pixels of a map's rows, `ROW_BYTES` each together.

    The files have no names and go when nobody holds them. All chromosomes share them, because an
    assembly may have more scaffolds than a process may open files.

    Attributes:
      pixels: appended so far.

    Args:
      folder: where the files lie; None: where `tempfile` puts them (TMPDIR).

    Raises:
      OSError: the disk is full or not writable.
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self.pixels = 0
        self._folder = os.fspath(folder or tempfile.gettempdir())
        self._columns = tempfile.TemporaryFile(dir=self._folder)
        self._values = tempfile.TemporaryFile(dir=self._folder)

    def append(self, columns: np.ndarray, values: np.ndarray) -> None:
        """Adds pixels, rows one after another; values are kept as float32."""
        try:
            self._columns.write(columns.astype(np.int32).tobytes())
            self._values.write(values.astype(np.float32).tobytes())
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error
        self.pixels += len(columns)

    def read(self, first: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Columns, int32 `[count]`, and values, float32 `[count]`, from the pixel `first` on."""
        return tuple(
            self._read(file, dtype, first, count)
            for file, dtype in ((self._columns, np.int32), (self._values, np.float32))
        )

    def _read(self, file, dtype, first: int, count: int) -> np.ndarray:
        try:
            file.seek(first * np.dtype(dtype).itemsize)  # also writes what is still buffered
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error
        values = np.fromfile(file, dtype, count)
        file.seek(0, os.SEEK_END)
        return values
