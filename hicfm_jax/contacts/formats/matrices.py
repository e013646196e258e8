"""Contact maps from the matrices of a numpy file or pickle."""

import os
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.chromsizes import MAX_BINS, check_bins, check_name
from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.contacts.formats.reading_process import ReadingProcess, assemble
from hicfm_jax.errors import InputError

Matrix = np.ndarray | scipy.sparse.sparray
Description = tuple[str, tuple[int, ...], str]

ROWS_AT_ONCE = 256


class MatrixReader:
    """Base of readers of matrices. The generator methods are called in a `ReadingProcess`.

    Args:
      matrices: `{key: matrix}`, dense or sparse, or any other objects of a file.
    """

    MEMORY_PER_BYTE = 8

    def __init__(self, matrices: Mapping[object, Matrix]):
        self.matrices = matrices

    def describe(self) -> Iterator[dict[object, Description]]:
        """Type, shape and dtype of each matrix by its key."""
        yield {
            key: (type(matrix).__name__, getattr(matrix, "shape", ()), str(getattr(matrix, "dtype", "")))
            for key, matrix in self.matrices.items()
        }

    def pixels(self, key: object, where: str, cis: bool) -> Iterator[tuple[np.ndarray, ...]]:
        """Rows, columns (int32) and counts of a matrix, of a cis one the upper triangle, in parts."""
        for first, block in upper_triangle(self.matrices[key], where) if cis else _blocks(self.matrices[key]):
            part = scipy.sparse.coo_array(block)
            yield (part.row + first).astype(np.int32), part.col.astype(np.int32), part.data


def single_name(path: str, chromsizes: Mapping[str, int] | None) -> str:
    """Name of the only chromosome: the only one in `chromsizes`, or else the file without its suffix."""
    if chromsizes and len(chromsizes) == 1:
        return next(iter(chromsizes))
    return os.path.splitext(os.path.basename(path))[0]


def map_of_matrices(
    reader: ReadingProcess,
    keys: Mapping[Pair, object],
    resolution: int,
    chromsizes: Mapping[str, int] | None,
) -> ContactMap:
    """A map of the matrices of a `MatrixReader`, of cis ones the upper triangles.

    Args:
      reader: of a `MatrixReader`.
      keys: `{(chrom1, chrom2): key}` of its matrices, which may be smaller than their chromosomes.
      resolution: bin width in bp.
      chromsizes: lengths in bp; without them a chromosome is as long as the bins of its largest matrix.

    Raises:
      InputError: a value that is not a matrix, does not fit its chromosome, or is repeated; a chromosome
        without a length; when it is loaded, a cis matrix that is neither symmetric nor upper triangular.
    """
    path, described = reader.path, reader.ask("describe")
    bins: dict[str, int] = {}
    for (chrom1, chrom2), key in keys.items():
        check_name(chrom1, path)
        check_name(chrom2, path)
        where = _where(path, chrom1, chrom2)
        shape = _checked_shape(described[key], where)
        if chrom1 == chrom2 and shape[0] != shape[1]:
            raise InputError(f"{where} has shape {shape}, expected as many rows as columns.")
        if chrom1 != chrom2 and (chrom2, chrom1) in keys:
            raise InputError(f"{where} is stored in both orders: keep one.")
        for chrom, size in zip((chrom1, chrom2), shape, strict=True):
            bins[chrom] = max(bins.get(chrom, 0), size)
    if not bins:
        raise InputError(f"{path} holds no matrix: expected counts of one chromosome at least.")
    sizes = dict(chromsizes or {chrom: size * resolution for chrom, size in bins.items()})
    for chrom, size in bins.items():
        if chrom not in sizes:
            listed = ", ".join(list(sizes)[:10])[:200]
            raise InputError(f"{path}: chromsizes has no length of {chrom[:40]!r}, but of {listed}: add it.")
        expected = -(-sizes[chrom] // resolution)
        if size > expected:
            raise InputError(
                f"{_where(path, chrom, chrom)} has {size} bins, expected {expected} for {sizes[chrom]} bp at "
                f"{resolution} bp: check the resolution and the length of the chromosome."
            )
    check_bins(sizes, resolution, path)

    def load(chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        stored = (chrom1, chrom2) if (chrom1, chrom2) in keys else (chrom2, chrom1)
        parts = reader.stream("pixels", keys[stored], _where(path, *stored), chrom1 == chrom2)
        counts = assemble(parts, tuple(map(contact_map.n_bins, stored)))
        return counts if stored == (chrom1, chrom2) else counts.T

    order = list(sizes).index
    pairs = [tuple(sorted(pair, key=order)) for pair in keys]
    contact_map = ContactMap(sizes, resolution, load, path, pairs=lambda: pairs)
    return contact_map


def _where(path: str, chrom1: str, chrom2: str) -> str:
    return f"{path}, chromosome {chrom1[:40]}" + ("" if chrom1 == chrom2 else f" x {chrom2[:40]}")


def _checked_shape(described: Description, where: str) -> tuple[int, int]:
    name, shape, dtype = described
    if not dtype:
        raise InputError(
            f"{where} is of type {name}, expected a matrix of counts: give a numpy array or a scipy.sparse "
            "matrix."
        )
    if len(shape) != 2 or 0 in shape or max(shape) > MAX_BINS:
        raise InputError(f"{where} has shape {shape}, expected a matrix of 1 to {MAX_BINS} rows and columns.")
    if np.dtype(dtype).kind not in "biuf":
        raise InputError(f"{where} holds values of type {dtype}, expected numbers of contacts.")
    return shape


def upper_triangle(matrix: Matrix, where: str) -> Iterator[tuple[int, Matrix]]:
    """Yields the upper triangle with the diagonal of a cis matrix `[n, n]`, in blocks (first row, rows).

    A symmetric matrix has each contact between two bins twice; it is counted once. (The original adds the
    triangles of dense symmetric matrices, which doubles all counts off the diagonal.)

    Raises:
      InputError: a matrix that is neither symmetric nor upper triangular.
    """
    symmetric = upper = True
    for first, rows in _blocks(matrix):
        last = first + rows.shape[0]
        if scipy.sparse.issparse(rows):
            below, mirrored = _entries(scipy.sparse.tril(rows, -1)), _entries(scipy.sparse.triu(rows, 1).T)
            block = scipy.sparse.triu(rows)
        else:
            below = [np.tril(rows[:, :last], first - 1)]
            mirrored = [np.tril(_native(matrix[:last, first:last]).T, first - 1)]
            block = np.triu(rows, first)
        symmetric = symmetric and all(map(_equal, below, mirrored))
        upper = upper and not below[0].any()
        if not (symmetric or upper):
            raise InputError(
                f"{where} is neither symmetric nor upper triangular: give one of the two, so that each "
                "contact is counted once."
            )
        yield first, block


def _entries(matrix: scipy.sparse.sparray) -> tuple[np.ndarray, ...]:
    matrix = matrix.tocsr()
    matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix.data, matrix.indices, matrix.indptr


def _equal(one: np.ndarray, two: np.ndarray) -> bool:
    # Symmetric maps that were computed in single precision differ in the last digits.
    if one.dtype.kind == "f" and one.shape == two.shape:
        return np.allclose(one, two, rtol=1e-6, atol=0, equal_nan=True)
    return np.array_equal(one, two)


def _blocks(matrix: Matrix) -> Iterator[tuple[int, Matrix]]:
    """Yields (first row, rows), all rows of a sparse matrix at once."""
    if scipy.sparse.issparse(matrix):
        matrix = scipy.sparse.coo_array(matrix)
        yield 0, scipy.sparse.coo_array((_native(matrix.data), matrix.coords), matrix.shape).tocsr()
        return
    for first in range(0, matrix.shape[0], ROWS_AT_ONCE):
        yield first, _native(matrix[first : first + ROWS_AT_ONCE])


def _native(array: np.ndarray) -> np.ndarray:
    """The same numbers in a type that scipy.sparse computes with."""
    kind, width = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.int8)
    if kind == "f" and width not in (4, 8):
        return array.astype(np.float64)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))
