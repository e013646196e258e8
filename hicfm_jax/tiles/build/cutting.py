"""Cuts dense tiles from the sparse rows of a contact map."""

from collections.abc import Iterable, Iterator

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.tiles.build.targets import Targets
from hicfm_jax.tiles.build.windows import Tiling
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, NO_DIAGONAL


class Window:
    """One window of a map, counted; dense on request.

    Attributes:
      row, col: first bin of rows and columns; may be before the chromosome's start.
      nonzero: pixels with contacts.
    """

    def __init__(self, slab: "_Slab", col: int):
        self._slab, self.row, self.col = slab, slab.row, col
        self._below = slab.below(col)
        self.nonzero = slab.count(col) + (0 if self._below is None else self._below.nnz)

    def counts(self) -> np.ndarray:
        """Raw contacts `[H, W]` in the map's dtype, both triangles, zeros beyond the chromosome."""
        return self._slab.dense(self.col, self._below)


class _Slab:
    """The rows of the windows that begin at one row; the only part of the map that is copied."""

    def __init__(self, matrix: scipy.sparse.csr_array, row: int, shape: tuple[int, int], symmetric: bool):
        self.row, self._shape = row, shape
        self._matrix, self._symmetric = matrix, symmetric
        self._first, self._last = max(row, 0), min(row + shape[0], matrix.shape[0])
        self._rows = matrix[self._first : self._last].tocsc()

    def _columns(self, col: int) -> tuple[int, int]:
        return max(col, 0), min(col + self._shape[1], self._matrix.shape[1])

    def count(self, col: int) -> int:
        first, last = self._columns(col)
        return int(self._rows.indptr[last] - self._rows.indptr[first])

    def below(self, col: int) -> scipy.sparse.coo_array | None:
        """Contacts of the window below the main diagonal, transposed, from their stored mirror image."""
        first, last = self._columns(col)
        if not self._symmetric or first >= self._last - 1:
            return None
        stored = self._matrix[first : min(last, self._last), self._first : self._last]
        return scipy.sparse.triu(stored, first - self._first + 1)

    def dense(self, col: int, below: scipy.sparse.coo_array | None) -> np.ndarray:
        first, last = self._columns(col)
        counts = np.zeros(self._shape, self._matrix.dtype)
        inside = counts[self._first - self.row : self._last - self.row, first - col : last - col]
        inside += self._rows[:, first:last].toarray()
        if below is not None:
            inside[:, : below.shape[0]] += below.toarray().T
        return counts


def scan(
    matrix: scipy.sparse.csr_array, positions: Iterable, shape: tuple[int, int], symmetric: bool
) -> Iterator[Window]:
    """The windows `(H, W)` of a matrix at `positions` (row start, column start), in that order.

    A symmetric matrix `[n, n]` has the upper triangle and the diagonal of a cis map. Windows that start
    at the same row are to be consecutive.
    """
    slab = None
    for row, col in positions:
        if slab is None or slab.row != row:
            slab = _Slab(matrix, int(row), shape, symmetric)
        yield Window(slab, int(col))


def cut_tiles(
    contact_map: ContactMap,
    assay: str,
    chromosomes: tuple[str, str],
    tiling: Tiling,
    dtype: np.dtype,
    total_count: float,
    first: int = 0,
    last: int | None = None,
    targets: Targets | None = None,
) -> Iterator[dict | None]:
    """Cuts the windows number `first` to `last - 1` of one chromosome pair (rows, columns).

    Yields records with the fields of `memory.ArrayTiles` and of a dataset, and None for each window that is
    too sparse. `total_count` is that of the whole map; 0 becomes `DEFAULT_TOTAL_COUNT`, as in the original.
    `targets` are stored with the tiles.
    """
    cis = chromosomes[0] == chromosomes[1]
    total_count = np.float32(total_count or DEFAULT_TOTAL_COUNT)
    targets = targets or Targets()
    for window in scan_region(contact_map, assay, chromosomes, tiling, first, last):
        if window.nonzero < tiling.needed:
            yield None
            continue
        counts = window.counts()
        yield {
            "counts": counts.astype(dtype),
            # Pixel (r, c) is genome (row + r, col + c), so the diagonal is where c - r = row - col.
            "diag": np.int32(window.row - window.col if cis else NO_DIAGONAL),
            "total_count": total_count,
            "matrix_count": np.float32(counts.sum(dtype=np.float64)),
            "chromosomes": list(chromosomes),
            "starts": np.array([window.row, window.col], np.int32),
            "assay": assay,
            **targets.cut(assay, chromosomes, window.row, window.col, tiling.tile_shape),
        }


def scan_region(
    contact_map: ContactMap,
    assay: str,
    chromosomes: tuple[str, str],
    tiling: Tiling,
    first: int = 0,
    last: int | None = None,
) -> Iterator[Window]:
    """The windows of one chromosome pair, counted; arguments as for `cut_tiles`."""
    positions = tiling.positions(contact_map, assay, chromosomes)
    last = len(positions) if last is None else last
    if first < last:  # otherwise the map need not be loaded
        matrix, cis = contact_map.matrix(*chromosomes), chromosomes[0] == chromosomes[1]
        yield from scan(matrix, positions.between(first, last), tiling.tile_shape, symmetric=cis)


def fits_uint16(matrix: scipy.sparse.sparray) -> bool:
    """Whether all counts are integers up to 65535; others are stored as float32."""
    values = matrix.data
    return not values.size or bool(values.dtype.kind in "iu" and values.max() <= np.iinfo(np.uint16).max)
