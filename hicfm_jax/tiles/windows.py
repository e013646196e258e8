"""Where tiles lie on a contact map, and how they are cut from it."""

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError


class Window(NamedTuple):
    """A dense tile of a map: genome bins `start .. start + T` of rows and columns.

    Attributes:
      row_start: first bin of the rows.
      col_start: first bin of the columns.
      counts: raw contacts `[T, T]`, both triangles, zeros beyond the chromosome's end.
    """

    row_start: int
    col_start: int
    counts: np.ndarray

    @property
    def diag(self) -> int:
        """Pixels from the tile's corner to the map's main diagonal, positive along row 0.

        Pixel (r, c) is genome (row_start + r, col_start + c), so the diagonal is where
        c - r = row_start - col_start: it enters at (0, diag), or at (-diag, 0) if negative.
        """
        return self.row_start - self.col_start


def grid_starts(n_bins: int, tile_size: int, stride: int) -> range:
    """First bins of the tiles along one axis: `range(0, n_bins - tile_size // 2, stride)`.

    The last tiles hang over the end by up to half their size; a chromosome of at most half a tile
    has none (rule of the original's tiling).
    """
    return range(0, n_bins - tile_size // 2, stride)


def grid_positions(n_bins: int, tile_size: int, stride: int) -> Iterator[tuple[int, int]]:
    """(row start, column start) of a cis map's tiles, upper triangle only, row by row.

    A cis map is symmetric: the tile at (j, i) is the transpose of the one at (i, j).
    """
    starts = grid_starts(n_bins, tile_size, stride)
    return ((row, col) for row in starts for col in starts if row <= col)


def dense_enough(counts: np.ndarray, min_density: float) -> bool:
    """Whether a tile `[T, T]` has that fraction of non-zero pixels; padding counts as zeros.

    An empty tile never has.
    """
    return np.count_nonzero(counts) >= max(1, min_density * counts.size)


def cut_windows(
    upper: scipy.sparse.csr_array, positions: Iterable[tuple[int, int]], tile_size: int
) -> Iterator[Window]:
    """Cuts dense symmetric tiles from the upper triangle of a cis map.

    Only one row slab of the map is held beside it, and that one sparse.

    Args:
      upper: contacts `[n, n]`, upper triangle and diagonal.
      positions: (row start, column start) with row <= column; equal rows one after another.
      tile_size: bins of a side, T.

    Yields:
      Windows in the order of `positions`, in the map's dtype.
    """
    slab, slab_start = None, None
    for row, col in positions:
        if row != slab_start:
            slab, slab_start = _symmetric_slab(upper, row, tile_size), row
        part = slab[:, col : col + tile_size].toarray()
        counts = np.zeros((tile_size, tile_size), upper.dtype)
        counts[: part.shape[0], : part.shape[1]] = part
        yield Window(row, col, counts)


def _symmetric_slab(upper: scipy.sparse.csr_array, row: int, height: int) -> scipy.sparse.csc_array:
    slab = upper[row : row + height]
    # Right of `row`, whatever lies below the diagonal mirrors an entry of this same slab.
    square = slab[:, row : row + height].tocoo()
    above = square.row < square.col
    mirrored = scipy.sparse.coo_array(
        (square.data[above], (square.col[above], square.row[above] + row)), shape=slab.shape
    )
    return (slab + mirrored.tocsr()).tocsc()


def check_tiling(tile_size: int, stride: int, min_density: float) -> None:
    """Raises InputError unless the three numbers describe a tiling."""
    if tile_size < 16:
        raise InputError(f"tile_size is {tile_size} but a tile has at least one patch, 16 bins: set more.")
    if not 1 <= stride <= tile_size:
        raise InputError(
            f"stride is {stride} but must lie between 1 and the tile size {tile_size}, else bins are lost."
        )
    if not 0 <= min_density <= 1:
        raise InputError(f"min_density is {min_density} but is a fraction of pixels: set it between 0 and 1.")


def find_chromosomes(contact_maps: Mapping[str, ContactMap], names: Sequence[str], what: str) -> list[str]:
    """The maps' own names of what a user called `names`, see `ContactMap.find_chromosome`.

    Raises:
      InputError: a name that no map answers to; lists the names there are.
    """
    known = dict.fromkeys(name for contact_map in contact_maps.values() for name in contact_map.chromsizes)
    found = []
    for name in names:
        own = {}
        for contact_map in contact_maps.values():
            with contextlib.suppress(InputError):  # another map may have it
                own[contact_map.find_chromosome(name)] = True
        if not own:
            raise InputError(
                f"{what} names {name!r} but the maps have {', '.join(list(known)[:30])}: use one of these."
            )
        found += own
    return found


def check_resolution(contact_maps: Mapping[str, ContactMap]) -> int:
    """Returns the resolution (bp) that all maps share; raises InputError if they differ."""
    if not contact_maps:
        raise InputError("No contact map given: tiles need at least one.")
    resolutions = {name: contact_map.resolution for name, contact_map in contact_maps.items()}
    if len(set(resolutions.values())) > 1:
        found = ", ".join(f"{name} {resolution} bp" for name, resolution in resolutions.items())
        raise InputError(f"Tiles of one dataset share one resolution, but the maps have {found}.")
    return next(iter(resolutions.values()))


def count_dtype(contact_maps: Mapping[str, ContactMap], chromosomes: Sequence[str] | None = None) -> np.dtype:
    """The dtype that holds every cis count of the maps: uint16 for integers up to 65535, else float32.

    Args:
      contact_maps: maps by assay name; a count that is no count (NaN, negative) they refuse themselves.
      chromosomes: names to look at; None for all.
    """
    for contact_map in contact_maps.values():
        for name in chromosomes_of(contact_map, chromosomes):
            values = contact_map.matrix(name).data
            if values.size and (values.dtype.kind not in "iu" or values.max() > np.iinfo(np.uint16).max):
                return np.dtype(np.float32)
    return np.dtype(np.uint16)


def chromosomes_of(contact_map: ContactMap, chosen: Sequence[str] | None) -> list[str]:
    """The map's chromosomes, in its order, that are among `chosen` (None: all)."""
    return [name for name in contact_map.chromsizes if chosen is None or name in chosen]
