"""Diagonals, triangles and coarser bins of dense and sparse maps."""

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.expected import Expected

Matrix = np.ndarray | scipy.sparse.sparray
"""A cis map `[n, n]`: sparse and upper triangular, or dense, of which only the upper triangle is read."""


def band(matrix: Matrix, max_diagonal: int) -> np.ndarray:
    """The diagonals 0 to `max_diagonal`, or fewer on a short chromosome.

    Returns:
      `[min(max_diagonal, n - 1) + 1, n]` float64. Row d has `matrix[i, i + d]` at i, and 0 at its last d
      places, which are not pixels.
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
    """True at the places of `band` that are pixels, `[rows, size]`."""
    return np.arange(size) < size - np.arange(rows)[:, None]


def dense(matrix: Matrix) -> np.ndarray:
    """Both triangles, `[n, n]` float64."""
    upper = matrix.toarray() if scipy.sparse.issparse(matrix) else np.asarray(matrix)
    upper = np.triu(upper).astype(np.float64)
    return upper + np.triu(upper, 1).T


def upper(matrix: Matrix) -> scipy.sparse.csr_array:
    """The upper triangle with the main diagonal as csr, float64."""
    return scipy.sparse.csr_array(scipy.sparse.triu(scipy.sparse.csr_array(matrix)), dtype=np.float64)


def log_above_diagonal(matrix: Matrix) -> scipy.sparse.csr_array:
    """log10(1 + count) of the pixels above the main diagonal, `[n, n]` float64."""
    above = scipy.sparse.triu(scipy.sparse.csr_array(matrix), 1)
    logs = scipy.sparse.csr_array(above, dtype=np.float64)
    logs.data = np.log10(1 + logs.data)
    return logs


def coarsen(matrix: scipy.sparse.sparray, factor: int) -> scipy.sparse.csr_array:
    """Sums of `factor` x `factor` pixels of an upper triangle; the last bin may hold fewer."""
    if factor == 1:
        return scipy.sparse.csr_array(matrix)
    fine = matrix.tocoo()
    size = -(-matrix.shape[0] // factor)
    bins = fine.row // factor, fine.col // factor
    return scipy.sparse.coo_array((fine.data.astype(np.float64), bins), (size, size)).tocsr()


def mean_by_distance(matrix: scipy.sparse.sparray) -> np.ndarray:
    """P(s): mean count of the pixels at each distance in bins, `[n]`."""
    pixels = matrix.tocoo()
    size = matrix.shape[0]
    sums = np.bincount(pixels.col - pixels.row, pixels.data.astype(np.float64), size)
    return sums / (size - np.arange(size))


LEAST_BIAS = 0.2  # of the median; bins below have too few mapped reads to be scored


def visible_bins(expected: Expected) -> np.ndarray:
    """True for bins with at least `LEAST_BIAS` of the median bias, `[n]`."""
    positive = expected.bias > 0
    if not positive.any():
        return positive
    return expected.bias >= LEAST_BIAS * np.median(expected.bias[positive])
