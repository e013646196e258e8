"""The first scores to look at: correlation at each distance, and the error of logarithms."""

import numpy as np
import scipy.sparse
import scipy.stats

from hicfm_jax.evaluate.scores.diagonals import Matrix, band, band_mask, check_shapes

MAX_DIAGONAL = 199
"""Farthest diagonal of the correlations, in bins."""


def stratified_pearson(
    test: Matrix, reference: Matrix, max_diagonal: int = MAX_DIAGONAL, log: bool = False
) -> tuple[float, int]:
    """Distance-stratified Pearson correlation: r on each diagonal, averaged by the number of its pixels.

    A diagonal on which the reference does not vary says nothing and is left out. One on which only the
    test map does not vary counts with r = 0: there is something to find, and it was not found.

    Args:
      test, reference: maps `[n, n]` of counts, of any scale each.
      max_diagonal: diagonals 1 to this one are used; bins.
      log: correlate log10(1 + count) instead of the counts.

    Returns:
      The correlation, NaN where no diagonal of the reference varies, and the number of pixels it is over.

    Raises:
      InputError: maps of different shapes.
    """
    check_shapes(test, reference)
    bands = [band(matrix, max_diagonal)[1:] for matrix in (test, reference)]
    if log:
        bands = [np.log10(1 + values) for values in bands]
    return weighted_mean(*row_correlations(*bands))


def spearman_by_distance(
    test: Matrix, reference: Matrix, max_diagonal: int = MAX_DIAGONAL
) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's correlation on each diagonal.

    Returns:
      Correlations at 1, 2, … `max_diagonal` bins, NaN where the reference does not vary, and the number
      of pixels of each diagonal; both `[max_diagonal]`, or shorter for a short chromosome.

    Raises:
      InputError: maps of different shapes.
    """
    check_shapes(test, reference)
    one, two = (ranks(band(matrix, max_diagonal)[1:]) for matrix in (test, reference))
    return row_correlations(one, two)


def log_mse(test: Matrix, reference: Matrix) -> tuple[float, int]:
    """Mean squared error of log10(1 + count) over all pixels of the chromosome off the main diagonal.

    Args:
      test, reference: maps `[n, n]` of counts at the same depth.

    Returns:
      The error and the number of pixels, n (n - 1) / 2. NaN for a single bin.

    Raises:
      InputError: maps of different shapes.
    """
    size = check_shapes(test, reference)
    pixels = size * (size - 1) // 2
    squares = 0.0
    if scipy.sparse.issparse(test) and scipy.sparse.issparse(reference):
        one, two = (_log_off_diagonal(matrix) for matrix in (test, reference))
        squares = float(((one - two).data ** 2).sum())
    else:
        one, two = (
            matrix.tocsr() if scipy.sparse.issparse(matrix) else np.asarray(matrix)
            for matrix in (test, reference)
        )
        for row in range(size - 1):
            difference = np.log10(1 + _right_of(one, row)) - np.log10(1 + _right_of(two, row))
            squares += float(difference @ difference)
    return (squares / pixels if pixels else float("nan")), pixels


def row_correlations(test: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's r of each row of two bands without their main diagonals, `[rows]`, and its pixels, `[rows]`.

    NaN where the reference does not vary, 0 where only the test map does not.
    """
    mask = band_mask(len(reference) + 1, reference.shape[1])[1:]
    count = mask.sum(axis=1)
    # What rounding leaves of a constant row is no variance.
    limits = [1e-12 * np.abs(values).max(axis=1, initial=0) for values in (test, reference)]
    test, reference = (
        np.where(mask, values - values.sum(axis=1, keepdims=True, where=mask) / count[:, None], 0)
        for values in (test, reference)
    )
    spread = [np.sqrt((values**2).mean(axis=1)) for values in (test, reference)]
    varies = [value > limit for value, limit in zip(spread, limits, strict=True)]
    product = (test * reference).mean(axis=1)
    both = varies[0] & varies[1]
    r = np.divide(product, spread[0] * spread[1], out=np.zeros(len(count)), where=both)
    return np.where(varies[1], np.clip(r, -1, 1), np.nan), count


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks within each row of a band without its main diagonal, ties sharing their mean rank."""
    result = np.zeros_like(values, dtype=np.float64)
    for row, held in enumerate(values):
        pixels = len(held) - row - 1
        result[row, :pixels] = scipy.stats.rankdata(held[:pixels])
    return result


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, int]:
    """Mean of the values that are no NaN, weighted, and the sum of their weights; NaN if there is none."""
    known = np.isfinite(values)
    total = weights[known].sum()
    if not total:
        return float("nan"), 0
    return float((values[known] * weights[known]).sum() / total), int(total)


def _log_off_diagonal(matrix: scipy.sparse.sparray) -> scipy.sparse.csr_array:
    logs = scipy.sparse.triu(matrix, 1).tocsr().astype(np.float64)
    logs.data = np.log10(1 + logs.data)
    return logs


def _right_of(matrix: Matrix, row: int) -> np.ndarray:
    values = matrix[[row]].toarray()[0] if scipy.sparse.issparse(matrix) else matrix[row]
    return values[row + 1 :].astype(np.float64)
