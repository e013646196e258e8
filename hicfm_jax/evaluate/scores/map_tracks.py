"""Insulation and compartment tracks, and the correlation of two tracks."""

import types

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from hicfm_jax.contacts.expected import Expected
from hicfm_jax.evaluate.scores.diagonals import dense, visible_bins

INSULATION_WINDOW = 100_000  # bp, or five bins where that is more
INSULATION_BIN = 10_000  # bp; finer maps are coarsened, as cooltools' time grows with the window squared
IGNORED_DIAGONALS = 2  # as after balancing
LARGEST_RATIO = 10.0  # cap of observed / expected, so that single foci do not dominate the compartments


def insulation_factor(resolution: int) -> int:
    """Bins of a map in one bin of the insulation track."""
    return max(1, round(INSULATION_BIN / resolution))


def diamond_bins(bin_size: int) -> int:
    """Side of the insulation diamond in bins of `bin_size` bp."""
    return max(5, round(INSULATION_WINDOW / bin_size))


def log_insulation(matrix: scipy.sparse.sparray, expected: Expected, window: int) -> np.ndarray:
    """log2 insulation scores of cooltools, `[n]`: the mean of a diamond over the chromosome's median.

    NaN for bins with few contacts and where the diamond is empty.

    Args:
      matrix: counts of a chromosome, upper triangle `[n, n]`.
      expected: fitted to it. Counts are divided by its biases.
      window: side of the diamond, in bins.
    """
    import pandas as pd
    from cooltools.api.insulation import insul_diamond

    pixels = matrix.tocoo()
    near = pixels.col - pixels.row <= 2 * window
    table = {"bin1_id": pixels.row[near], "bin2_id": pixels.col[near], "count": pixels.data[near]}
    visible = visible_bins(expected)
    weight = np.divide(1, expected.bias, out=np.full(len(visible), np.nan), where=visible)
    selector = types.SimpleNamespace(read_chunked=lambda: [table])
    bins = pd.DataFrame({"weight": weight})
    scores = insul_diamond(selector, bins, window, IGNORED_DIAGONALS, clr_weight_name="weight")[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log2(scores)
    return np.where(np.isfinite(logs) & visible, logs, np.nan)


def compartment_track(matrix: scipy.sparse.sparray, expected: Expected) -> np.ndarray:
    """First eigenvector of the correlation matrix of observed / expected, `[n]`; its sign is arbitrary.

    Lieberman-Aiden et al. 2009, Science 326:289. NaN for bins with few contacts; all NaN with fewer than
    three other bins, or where observed / expected is constant. Arguments as for `log_insulation`.
    """
    track = np.full(matrix.shape[0], np.nan)
    visible = visible_bins(expected)
    if visible.sum() < 3:
        return track
    observed, model = (values[np.ix_(visible, visible)] for values in (dense(matrix), expected.dense()))
    ratio = np.divide(observed, model, out=np.ones_like(model), where=model > 0)
    np.fill_diagonal(ratio, 1)
    profile = np.minimum(ratio, LARGEST_RATIO)
    profile -= profile.mean(axis=1, keepdims=True)
    length = np.linalg.norm(profile, axis=1, keepdims=True)
    profile /= np.where(length > 0, length, 1)
    correlation = profile @ profile.T
    if not correlation.any():
        return track  # a chromosome without structure, as one with contacts on the diagonal only
    start = np.random.default_rng(0).standard_normal(len(correlation))  # eigsh's own start is random
    _, vectors = scipy.sparse.linalg.eigsh(correlation, k=1, which="LA", v0=start)
    track[visible] = vectors[:, 0]
    return track


def compartment_correlation(test: np.ndarray, reference: np.ndarray) -> tuple[float, int]:
    """|Pearson correlation| of two compartment tracks and the number of bins it is over."""
    r, bins = track_correlation(test, reference)
    return abs(r), bins


def track_correlation(test: np.ndarray, reference: np.ndarray) -> tuple[float, int]:
    """Pearson correlation of two tracks over the bins that both have, and the number of these bins.

    NaN for fewer than three bins or a constant reference; 0 where only the test track is constant.
    """
    known = np.isfinite(test) & np.isfinite(reference)
    x, y = test[known], reference[known]
    if x.size < 3 or np.ptp(y) == 0:
        return float("nan"), 0
    if np.ptp(x) == 0:
        return 0.0, x.size
    return float(np.corrcoef(x, y)[0, 1]), x.size
