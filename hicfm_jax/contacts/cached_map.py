"""A contact map whose counts are computed once and kept in a temporary file."""

import functools
import pathlib
import tempfile

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.blocks import MapBlock, starts
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.storage import check_space


def cached_beside(contact_map: ContactMap, path: pathlib.Path) -> ContactMap:
    """The same map, each block computed once and stored in an unnamed file in the folder of `path`.

    Writers read a map repeatedly. Sets `total_count` of the map. A map in memory is returned as it is.

    Raises:
      OSError: the disk is full or not writable.
    """
    if contact_map.in_memory:
        return contact_map
    file = tempfile.TemporaryFile(dir=path.parent)
    places: dict[tuple, tuple] = {}
    block_of: dict[tuple, MapBlock] = {}
    bins, total = contact_map.bins, 0.0
    for block in contact_map.blocks():
        matrix = contact_map.block(block)
        total += matrix.data.sum(dtype=np.float64).item()
        arrays = [_narrow(matrix.data), matrix.indices, matrix.indptr]
        check_space(path, sum(array.nbytes for array in arrays))
        layout = [(array.dtype, array.size) for array in arrays]
        places[block[:2]] = file.tell(), layout, matrix.dtype, matrix.shape
        block_of.update(dict.fromkeys(block.pairs, block))
        try:
            for array in arrays:
                file.write(array)
            file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, str(path)) from error
    contact_map.know_total(total)

    def read(block: MapBlock) -> scipy.sparse.csr_array:
        start, layout, dtype, shape = places[block[:2]]
        file.seek(start)
        data, indices, indptr = (np.fromfile(file, *array) for array in layout)
        return scipy.sparse.csr_array((data.astype(dtype), indices, indptr), shape)

    read_again = functools.lru_cache(maxsize=1)(read)

    def load(wanted: MapBlock) -> scipy.sparse.csr_array:
        if wanted[:2] in places:
            return read(wanted)
        (chrom1,), (chrom2,) = wanted[:2]
        block = block_of.get((chrom1, chrom2))
        if block is None:
            return scipy.sparse.csr_array((bins[chrom1], bins[chrom2]), dtype=np.int64)
        row = starts(block.rows[: block.rows.index(chrom1)], bins)[-1]
        col = starts(block.cols[: block.cols.index(chrom2)], bins)[-1]
        return read_again(block)[row : row + bins[chrom1], col : col + bins[chrom2]]

    sd = None if contact_map.sd is None else cached_beside(contact_map.sd, path)
    return contact_map.derived(load, total_count=lambda: total, sd=sd)


def _narrow(data: np.ndarray) -> np.ndarray:
    """The same numbers in 32 bits, where these are enough."""
    narrow = data.astype(np.float32 if data.dtype.kind == "f" else np.int32)
    return narrow if np.array_equal(narrow, data) else data
