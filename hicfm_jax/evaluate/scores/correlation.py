"""Correlation by distance, and mean squared error of logarithms."""

import numpy as np
import scipy  # imports .stats, which takes long, at its first use

from hicfm_jax.evaluate.scores.diagonals import Matrix, band, band_mask, log_above_diagonal
from hicfm_jax.evaluate.scores.map_tracks import track_correlation

MAX_DIAGONAL = 199
"""Default of the farthest diagonal of the correlations, in bins."""


def stratified_pearson(
    test: Matrix, reference: Matrix, max_diagonal: int = MAX_DIAGONAL, log: bool = False
) -> tuple[float, int]:
    """Distance-stratified Pearson correlation: r on each diagonal, averaged by the number of its pixels.

    Returns the correlation and the number of pixels. A diagonal on which the reference is constant is left
    out; NaN if all are. One on which only the test map is constant counts with r = 0.

    Args:
      test, reference: maps `[n, n]` of counts, of any scale each.
      max_diagonal: diagonals 1 to this one are used; bins.
      log: correlate log10(1 + count) instead of the counts.
    """
    bands = [band(matrix, max_diagonal)[1:] for matrix in (test, reference)]
    if log:
        bands = [np.log10(1 + values) for values in bands]
    return weighted_mean(*row_correlations(*bands))


def spearman_by_distance(
    test: Matrix, reference: Matrix, max_diagonal: int = MAX_DIAGONAL
) -> tuple[np.ndarray, np.ndarray]:
    """Spearman's correlation at 1, 2, … `max_diagonal` bins and the pixels of each diagonal.

    Both `[max_diagonal]`, or shorter for a short chromosome. NaN where the reference is constant.
    """
    return row_correlations(*(ranks(band(matrix, max_diagonal)[1:]) for matrix in (test, reference)))


def log_mse(test: Matrix, reference: Matrix) -> tuple[float, int]:
    """Mean squared error of log10(1 + count) over all pixels off the main diagonal, and their number.

    The maps have to be of the same depth. NaN for a single bin.
    """
    size = reference.shape[0]
    pixels = size * (size - 1) // 2
    one, two = (log_above_diagonal(matrix) for matrix in (test, reference))
    squares = float(((one - two).data ** 2).sum())
    return (squares / pixels if pixels else float("nan")), pixels


def pearson_between(test: np.ndarray, reference: np.ndarray, log: bool = False) -> tuple[float, int]:
    """Pearson correlation of all pixels between two chromosomes, and their number.

    NaN where the reference is constant, 0 where only the test map is.

    Args:
      test, reference: counts `[n, m]`, of any scale each.
      log: correlate log10(1 + count) instead of the counts.
    """
    pixels = [np.log10(1 + counts) if log else counts for counts in (test, reference)]
    return track_correlation(*(values.ravel() for values in pixels))


def log_mse_between(test: np.ndarray, reference: np.ndarray) -> tuple[float, int]:
    """Mean squared error of log10(1 + count) over all pixels between two chromosomes, and their number.

    Counts are `[n, m]`. The maps have to be of the same depth.
    """
    return float(((np.log10(1 + test) - np.log10(1 + reference)) ** 2).mean()), reference.size


def row_correlations(test: np.ndarray, reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pearson's r of each row of two bands without their main diagonals, and its pixels; `[rows]` each.

    NaN where the reference is constant, 0 where only the test map is.
    """
    mask = band_mask(len(reference) + 1, reference.shape[1])[1:]
    count = mask.sum(axis=1)
    # Rounding errors of a constant row are not variance.
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
    """Ranks within each row of a band without its main diagonal; ties share their mean rank."""
    result = np.zeros_like(values, dtype=np.float64)
    for row, line in enumerate(values):
        pixels = len(line) - row - 1
        result[row, :pixels] = scipy.stats.rankdata(line[:pixels])
    return result


def weighted_mean(values: np.ndarray, weights: np.ndarray) -> tuple[float, int]:
    """Weighted mean of the values that are not NaN, NaN if there are none, and the sum of their weights."""
    known = np.isfinite(values)
    total = weights[known].sum()
    if not total:
        return float("nan"), 0
    return float((values[known] * weights[known]).sum() / total), int(total)
