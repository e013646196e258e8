"""Matrices that come without a genome: checked before scipy sees them, each contact once.

A ContactMap over matrices that only have a chromosome's name.
"""

from collections.abc import Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.chromsizes import MAX_BINS, check_bins, check_name
from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.errors import InputError

Matrix = np.ndarray | scipy.sparse.sparray

ROWS_AT_ONCE = 256
MAX_TOTAL = 2**53


def sparse_from_arrays(
    layout: str, shape: object, arrays: Mapping[str, np.ndarray], where: str
) -> scipy.sparse.sparray:
    """A sparse array from what files keep of one; scipy itself would trust indices outside the shape.

    Args:
      layout: `coo` (needs `row`, `col`, `data`), `csr` or `csc` (need `indptr`, `indices`, `data`).
      shape: rows and columns.
      arrays: name -> array, as scipy calls them.
      where: file and place, for messages.

    Raises:
      InputError: an array that is missing, has another length or kind, or points outside the shape.
    """

    def fault(text: str) -> InputError:
        return InputError(f"{where} is no valid sparse matrix ({text}): write it again.")

    sizes = tuple(int(size) for size in shape) if _is_shape(shape) else None
    if sizes is None:
        raise fault(f"its shape is not two sizes of at most {MAX_BINS}")
    names = {"coo": ("row", "col"), "csr": ("indptr", "indices"), "csc": ("indptr", "indices")}.get(layout)
    if names is None:
        raise fault(f"its layout is {layout[:20]!r}, expected coo, csr or csc")
    for name in (*names, "data"):
        array = arrays.get(name)
        kinds = "biuf" if name == "data" else "iu"
        if not (isinstance(array, np.ndarray) and array.ndim == 1 and array.dtype.kind in kinds):
            raise fault(f"{name} is missing or not a list of numbers")
    data, first, second = arrays["data"], *(arrays[name] for name in names)
    if second.size != data.size:
        raise fault(f"{second.size} indices for {data.size} values")
    if layout == "coo":
        if first.size != data.size:
            raise fault(f"{first.size} rows for {data.size} values")
        limits = (first, sizes[0]), (second, sizes[1])
    else:
        major, minor = sizes if layout == "csr" else sizes[::-1]
        steps = first.astype(np.int64)
        if steps.size != major + 1 or steps[0] != 0 or steps[-1] != data.size or (np.diff(steps) < 0).any():
            raise fault(f"indptr does not divide {data.size} values into {major} parts")
        limits = ((second, minor),)
    for indices, size in limits:
        if indices.size and not (indices.min() >= 0 and indices.max() < size):
            raise fault(f"an index is outside its {size} rows or columns")
    if layout == "coo":
        return scipy.sparse.coo_array((_native(data), (first, second)), shape=sizes)
    build = scipy.sparse.csr_array if layout == "csr" else scipy.sparse.csc_array
    return build((_native(data), second, first), shape=sizes)


def check_matrix(matrix: object, where: str) -> None:
    """Raises InputError unless `matrix` is a table of numbers, dense or sparse, of a size that can be."""
    if not (isinstance(matrix, np.ndarray) or scipy.sparse.issparse(matrix)):
        raise InputError(
            f"{where} is of type {type(matrix).__name__}, expected a matrix of counts: give a numpy array "
            "or a scipy.sparse matrix."
        )
    if matrix.ndim != 2 or 0 in matrix.shape or max(matrix.shape) > MAX_BINS:
        raise InputError(
            f"{where} has shape {matrix.shape}, expected a matrix of 1 to {MAX_BINS} rows and columns."
        )
    if matrix.dtype.kind not in "biuf":
        raise InputError(f"{where} holds values of type {matrix.dtype}, expected numbers of contacts.")


def rectangle(matrix: Matrix) -> scipy.sparse.csr_array:
    """A checked matrix as csr, whatever it was."""
    if not scipy.sparse.issparse(matrix):
        blocks = range(0, matrix.shape[0], ROWS_AT_ONCE)
        parts = [scipy.sparse.csr_array(_native(matrix[start : start + ROWS_AT_ONCE])) for start in blocks]
        return scipy.sparse.csr_array(scipy.sparse.vstack(parts))
    matrix = scipy.sparse.coo_array(matrix)
    data = _native(matrix.data)
    return scipy.sparse.coo_array((data, (matrix.row, matrix.col)), matrix.shape).tocsr()


def check_total(matrix: scipy.sparse.sparray, where: str) -> None:
    """Raises InputError for counts that add up to more than whole numbers are exact to, as if damaged."""
    total = matrix.data.sum(dtype=np.float64)
    if total > MAX_TOTAL:
        raise InputError(
            f"{where} adds up to {total:.3g} contacts, expected at most {MAX_TOTAL}: write it again."
        )


def upper_triangle(matrix: Matrix, where: str) -> scipy.sparse.csr_array:
    """The upper triangle with the diagonal of a checked cis matrix `[n, n]`, each contact once.

    A symmetric matrix holds the contacts between two bins in both triangles: they are taken once. (The
    original adds the triangles of dense symmetric matrices, which doubles all but the diagonal.)

    Raises:
      InputError: a matrix that is neither symmetric nor upper triangular.
    """
    if scipy.sparse.issparse(matrix):
        upper = _sparse_upper(rectangle(matrix))
    else:
        upper = _dense_upper(matrix)
    if upper is None:
        raise InputError(
            f"{where} is neither symmetric nor upper triangular: give one of the two, so that it is clear "
            "how often a contact is counted."
        )
    return upper


def _sparse_upper(matrix: scipy.sparse.csr_array) -> scipy.sparse.csr_array | None:
    below, above = scipy.sparse.tril(matrix, -1).tocsr(), scipy.sparse.triu(matrix, 1).T.tocsr()
    for part in (below, above):
        part.eliminate_zeros()
        part.sort_indices()
    same_place = np.array_equal(below.indptr, above.indptr) and np.array_equal(below.indices, above.indices)
    if below.nnz and not (same_place and _equal(below.data, above.data)):
        return None
    return scipy.sparse.triu(matrix).tocsr()


def _dense_upper(matrix: np.ndarray) -> scipy.sparse.csr_array | None:
    symmetric = upper = True
    parts = []
    for start in range(0, matrix.shape[0], ROWS_AT_ONCE):
        rows, columns = slice(start, start + ROWS_AT_ONCE), slice(0, start + ROWS_AT_ONCE)
        below = np.tril(_native(matrix[rows, columns]), start - 1)
        upper = upper and not below.any()
        symmetric = symmetric and _equal(below, np.tril(_native(matrix[columns, rows]).T, start - 1))
        if not (symmetric or upper):
            return None
        parts.append(scipy.sparse.csr_array(np.triu(_native(matrix[rows]), start)))
    return scipy.sparse.csr_array(scipy.sparse.vstack(parts))


def _equal(one: np.ndarray, two: np.ndarray) -> bool:
    # Symmetric maps of floats, made in single precision, differ in the last digits.
    if one.dtype.kind == "f":
        return np.allclose(one, two, rtol=1e-6, atol=0, equal_nan=True)
    return np.array_equal(one, two)


def _native(array: np.ndarray) -> np.ndarray:
    """The same numbers in a type that scipy.sparse computes with."""
    kind, width = array.dtype.kind, array.dtype.itemsize
    if kind == "b":
        return array.astype(np.int8)
    if kind == "f" and width not in (4, 8):
        return array.astype(np.float64)
    return np.asarray(array, dtype=array.dtype.newbyteorder("="))


def _is_shape(shape: object) -> bool:
    try:
        return len(shape) == 2 and all(size == int(size) and 0 <= size <= MAX_BINS for size in shape)
    except (TypeError, ValueError, OverflowError):
        return False


def map_of_matrices(
    path: str, matrices: Mapping[Pair, Matrix], resolution: int, chromsizes: Mapping[str, int] | None
) -> ContactMap:
    """Gives matrices a genome; each is folded to its upper triangle when asked for.

    Args:
      path: where they come from, for messages.
      matrices: `{(chrom1, chrom2): counts}`; cis ones symmetric or upper triangular. They may end with
        their last contact, before the chromosome does.
      resolution: bin width in bp.
      chromsizes: lengths in bp; without them a chromosome is as long as the bins of its largest matrix.

    Raises:
      InputError: what is no matrix, does not fit its chromosome, or is there twice; a chromosome without
        a length; when counts are asked for, a cis matrix that is neither symmetric nor upper triangular.
    """
    bins: dict[str, int] = {}
    for (chrom1, chrom2), matrix in matrices.items():
        check_name(chrom1, path)
        check_name(chrom2, path)
        where = _where(path, chrom1, chrom2)
        check_matrix(matrix, where)
        if chrom1 == chrom2 and matrix.shape[0] != matrix.shape[1]:
            raise InputError(f"{where} has shape {matrix.shape}, expected as many rows as columns.")
        if chrom1 != chrom2 and (chrom2, chrom1) in matrices:
            raise InputError(f"{where} is there in both orders: keep one.")
        for chrom, size in zip((chrom1, chrom2), matrix.shape, strict=True):
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
                f"{resolution} bp: check the resolution and the chromosome's length."
            )
    check_bins(sizes, resolution, path)

    def load(chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        if (chrom1, chrom2) in matrices:
            matrix = matrices[chrom1, chrom2]
        else:
            matrix = matrices[chrom2, chrom1].T
        where = _where(path, chrom1, chrom2)
        counts = upper_triangle(matrix, where) if chrom1 == chrom2 else rectangle(matrix)
        check_total(counts, where)
        counts.resize(contact_map.n_bins(chrom1), contact_map.n_bins(chrom2))
        return counts

    order = {chrom: number for number, chrom in enumerate(sizes)}
    pairs = [tuple(sorted(pair, key=order.get)) for pair in matrices]
    contact_map = ContactMap(sizes, resolution, load, path, pairs=lambda: pairs)
    return contact_map


def _where(path: str, chrom1: str, chrom2: str) -> str:
    return f"{path}, chromosome {chrom1[:40]}" + ("" if chrom1 == chrom2 else f" x {chrom2[:40]}")
