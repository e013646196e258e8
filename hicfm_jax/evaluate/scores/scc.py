"""Stratum-adjusted correlation coefficient, the score of HiCRep.

Yang et al. 2017, Genome Research 27:1939 (doi:10.1101/gr.220640.117).
"""

import numpy as np

from hicfm_jax.evaluate.scores.diagonals import Matrix, band, band_mask

# bp to each side. HiCRep's choice for human maps is about 200 kb, which removes the detail that
# an enhancement adds: after it the input at a sixteenth of the depth scores 0.996.
SMOOTHED_OVER = 30_000


def half_width(resolution: int) -> int:
    """Half width of the mean filter in bins, 1 to 20."""
    return int(np.clip(round(SMOOTHED_OVER / resolution), 1, 20))


def scc(test: Matrix, reference: Matrix, max_diagonal: int, half_width: int) -> tuple[float, int]:
    """Correlation on each diagonal of the smoothed maps, weighted by its pixels and their ranks' variance.

    Both maps are smoothed with a square mean filter, truncated at the map's borders. On each diagonal the
    pixels that are 0 in both are left out. The Pearson correlation of the others has the weight
    N * sqrt(var(rank_test / N) * var(rank_reference / N)). As in the published programs ties are broken,
    so that the variance is (1 + 1 / N) / 12. Diagonals on which the reference is constant are left out;
    where only the test map is constant, the correlation is 0, as in hicrep.py. NaN if all are left out.

    Args:
      test, reference: maps `[n, n]` of any scale each.
      max_diagonal: diagonals 1 to this one are used; bins.
      half_width: of the filter, in bins; 0 does not smooth.
    """
    size = reference.shape[0]
    one, two = (smooth_band(matrix, max_diagonal, half_width) for matrix in (test, reference))
    total = weights = pixels = 0.0
    for distance in range(1, len(one)):
        x, y = (values[distance, : size - distance] for values in (one, two))
        filled = (x > 0) | (y > 0)
        x, y = x[filled], y[filled]
        number = x.size
        # Rounding errors of a constant diagonal are not variance.
        varies = [number > 1 and np.ptp(values) >= 1e-12 * values.max() > 0 for values in (x, y)]
        if not varies[1]:
            continue
        weight = number * (1 + 1 / number) / 12
        total += weight * np.corrcoef(x, y)[0, 1] if varies[0] else 0.0
        weights += weight
        pixels += number
    return (float(total / weights) if weights else float("nan")), int(pixels)


def smooth_band(matrix: Matrix, max_diagonal: int, half_width: int) -> np.ndarray:
    """`diagonals.band` of the map after a mean filter of 2 `half_width` + 1 bins squared."""
    values = band(matrix, max_diagonal + 2 * half_width)
    rows = min(max_diagonal, matrix.shape[0] - 1) + 1
    mask = band_mask(len(values), values.shape[1])
    summed, counted = (_box_sums(part, rows, half_width) for part in (values, mask.astype(np.float64)))
    return np.where(mask[:rows], summed / np.maximum(counted, 1), 0)


def _box_sums(values: np.ndarray, rows: int, half: int) -> np.ndarray:
    """Sums over squares around each place of a band `[rows + 2 half or fewer, n]`, `[rows, n]`."""
    size = values.shape[1]
    # Row 2 half + d of `both` is diagonal d, down to -2 half, with a margin for shifts by half.
    both = np.zeros((rows + 4 * half, size + 2 * half))
    both[2 * half : 2 * half + len(values), half : half + size] = values[: rows + 2 * half]
    for distance in range(1, min(2 * half, len(values) - 1) + 1):
        both[2 * half - distance, half + distance : half + size] = values[distance, : size - distance]
    # A step along the columns is a step in distance. One along the rows also shifts the start.
    along_columns = sum(both[half + step : half + step + rows + 2 * half] for step in range(-half, half + 1))
    return sum(
        along_columns[half - step : half - step + rows, half + step : half + step + size]
        for step in range(-half, half + 1)
    )
