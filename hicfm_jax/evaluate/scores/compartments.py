"""Compartments: the pattern of which bins are alike in whom they meet."""

import numpy as np
import scipy.sparse
import scipy.sparse.linalg

from hicfm_jax.contacts.expected import Expected
from hicfm_jax.evaluate.scores.diagonals import dense, track_correlation, visible_bins

LARGEST_RATIO = 10.0  # of observed to expected: single foci are no compartments


def compartment_track(matrix: scipy.sparse.sparray, expected: Expected) -> np.ndarray:
    """First eigenvector of the correlation matrix of observed / expected.

    Lieberman-Aiden et al. 2009, Science 326:289. Its sign means nothing.

    Args:
      matrix: counts of a chromosome, upper triangle `[n, n]`.
      expected: fitted to it.

    Returns:
      `[n]`, NaN for bins with few contacts; all NaN where fewer than three have enough.
    """
    track = np.full(matrix.shape[0], np.nan)
    seen = visible_bins(expected)
    if seen.sum() < 3:
        return track
    observed, model = dense(matrix)[np.ix_(seen, seen)], expected.dense()[np.ix_(seen, seen)]
    ratio = np.divide(observed, model, out=np.ones_like(model), where=model > 0)
    np.fill_diagonal(ratio, 1)
    profile = np.minimum(ratio, LARGEST_RATIO)
    profile -= profile.mean(axis=1, keepdims=True)
    length = np.linalg.norm(profile, axis=1, keepdims=True)
    profile /= np.where(length > 0, length, 1)
    correlation = profile @ profile.T
    start = np.random.default_rng(0).standard_normal(len(correlation))  # eigsh would draw anew each time
    _, vectors = scipy.sparse.linalg.eigsh(correlation, k=1, which="LA", v0=start)
    track[seen] = vectors[:, 0]
    return track


def compartment_correlation(test: np.ndarray, reference: np.ndarray) -> tuple[float, int]:
    """|Pearson correlation| of two such tracks, whose signs are arbitrary, and the number of bins."""
    r, bins = track_correlation(test, reference)
    return abs(r), bins
