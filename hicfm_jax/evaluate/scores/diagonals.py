"""The diagonals of a map, whether it is dense or sparse: what most scores are computed on.

Which bins hold enough contacts to say something, and tracks compared over them.
"""

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.expected import Expected
from hicfm_jax.errors import InputError

Matrix = np.ndarray | scipy.sparse.sparray
"""A cis map `[n, n]`: dense and symmetric, or sparse and upper triangular. Dense ones are read above and
on the main diagonal only."""


def check_shapes(one: Matrix, two: Matrix) -> int:
    """The number of bins that both maps have; InputError if they are not of one square shape."""
    if one.shape != two.shape or len(one.shape) != 2 or one.shape[0] != one.shape[1]:
        raise InputError(
            f"Maps of shapes {one.shape} and {two.shape} cannot be compared: give two of one square shape."
        )
    return one.shape[0]


def band(matrix: Matrix, max_diagonal: int) -> np.ndarray:
    """The diagonals 0 to `max_diagonal`, or as many as there are.

    Returns:
      `[min(max_diagonal, n - 1) + 1, n]` float64. Row d holds `matrix[i, i + d]` at i; its last d places
      are no pixels and hold 0.
    """
    size = matrix.shape[0]
    rows = min(max_diagonal, size - 1) + 1
    result = np.zeros((rows, size))
    if scipy.sparse.issparse(matrix):
        pixels = matrix.tocoo()
        distance = pixels.col.astype(np.int64) - pixels.row
        near = (distance >= 0) & (distance < rows)
        result[distance[near], pixels.row[near]] = pixels.data[near]
    else:
        for distance in range(rows):
            result[distance, : size - distance] = matrix.diagonal(distance)
    return result


def band_mask(rows: int, size: int) -> np.ndarray:
    """Which places of `band` are pixels, `[rows, size]` bool."""
    return np.arange(size) < size - np.arange(rows)[:, None]


def dense(matrix: Matrix) -> np.ndarray:
    """Both triangles, `[n, n]` float64."""
    upper = matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)
    upper = np.triu(upper).astype(np.float64)
    return upper + np.triu(upper, 1).T


def upper(matrix: Matrix) -> scipy.sparse.csr_array:
    """The upper triangle with the main diagonal as csr, float64."""
    return scipy.sparse.csr_array(scipy.sparse.triu(scipy.sparse.csr_array(matrix)), dtype=np.float64)


def coarsen(matrix: scipy.sparse.sparray, factor: int) -> scipy.sparse.csr_array:
    """Sums of `factor` x `factor` pixels of an upper triangle; the last bin may hold fewer."""
    if factor == 1:
        return scipy.sparse.csr_array(matrix)
    fine = matrix.tocoo()
    size = -(-matrix.shape[0] // factor)
    where = fine.row // factor, fine.col // factor
    return scipy.sparse.coo_array((fine.data.astype(np.float64), where), (size, size)).tocsr()


def mean_by_distance(matrix: scipy.sparse.sparray) -> np.ndarray:
    """P(s): mean count of the pixels at each distance in bins, `[n]`."""
    pixels = matrix.tocoo()
    size = matrix.shape[0]
    sums = np.bincount(pixels.col - pixels.row, pixels.data.astype(np.float64), size)
    return sums / (size - np.arange(size))


LEAST_BIAS = 0.2
"""Of the median: bins that reads hardly map to are left out."""


def visible_bins(expected: Expected) -> np.ndarray:
    """Bins with at least a fifth of the median visibility, `[n]` bool."""
    held = expected.bias > 0
    if not held.any():
        return held
    return expected.bias >= LEAST_BIAS * np.median(expected.bias[held])


def track_correlation(test: np.ndarray, reference: np.ndarray) -> tuple[float, int]:
    """Pearson correlation of two tracks over the bins where both are known, and their number.

    NaN where fewer than three are known or the reference does not vary; 0 where only the test does not.
    """
    known = np.isfinite(test) & np.isfinite(reference)
    x, y = test[known], reference[known]
    if x.size < 3 or np.ptp(y) == 0:
        return float("nan"), 0
    if np.ptp(x) == 0:
        return 0.0, x.size
    return float(np.corrcoef(x, y)[0, 1]), x.size
