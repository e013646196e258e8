"""Square neighborhoods of many pixels of a sparse map."""

import numpy as np
import scipy.sparse


class Neighborhoods:
    """Cuts dense squares out of a sparse matrix, all of one size, many at once.

    Args:
      matrix: `[n, m]`; for a cis map the upper triangle, below which the squares are 0.
      side: rows and columns of a square, in bins.
    """

    def __init__(self, matrix: scipy.sparse.sparray, side: int):
        matrix = scipy.sparse.csr_array(matrix)
        matrix.sort_indices()
        self._side = side
        # The margin keeps squares that reach over an edge out of the next row.
        self._width = matrix.shape[1] + side
        rows = np.repeat(np.arange(matrix.shape[0], dtype=np.int64), np.diff(matrix.indptr))
        self._places = np.append(rows * self._width + matrix.indices, np.iinfo(np.int64).max)
        self._values = matrix.data

    def cut(self, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
        """The squares that begin at these pixels.

        Args:
          rows, cols: first bins `[N]`, up to `side` bins before the matrix.

        Returns:
          `[N, side, side]` float64, 0 beyond the matrix.
        """
        side = self._side
        squares = np.zeros((len(rows), side, side))
        firsts = ((rows[:, None] + np.arange(side)) * self._width + cols[:, None]).ravel()
        at = np.searchsorted(self._places, firsts)
        filled = np.flatnonzero(self._places[at] - firsts < side)  # lines of squares with a pixel
        following = at[filled, None] + np.arange(side)
        offsets = self._places.take(following, mode="clip") - firsts[filled, None]
        inside = offsets < side
        lines = np.broadcast_to(filled[:, None], inside.shape)[inside]
        squares.reshape(-1, side)[lines, offsets[inside]] = self._values[following[inside]]
        return squares
