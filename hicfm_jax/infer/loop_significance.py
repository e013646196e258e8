"""Significance of loops: raw contacts against distance decay and surroundings."""

import numpy as np
import scipy.sparse
import scipy.stats

from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.neighborhoods import Neighborhoods
from hicfm_jax.evaluate.scores.foci import CORE, GAP, RING

NEAREST = 2  # bins; pixels nearer to the diagonal are left out of all sums


def loop_p_values(counts: scipy.sparse.csr_array, rows: np.ndarray, cols: np.ndarray) -> np.ndarray:
    """Probability of as many contacts as in the 3 x 3 bins around each loop, or more, without a loop.

    Contacts are taken as Poisson. Their mean is that of the distance decay and the biases of the bins
    (`contacts.expected`), times observed / expected of the ring around them where that is above 1. The ring
    is that of `evaluate.scores.foci`.

    Args:
      counts: raw contacts of a chromosome, upper triangle `[n, n]`.
      rows, cols: bins of the loops, `[K]`.

    Returns:
      `[K]` float64.
    """
    if not len(rows):
        return np.zeros(0)
    expected, side = find_expected(counts), 2 * RING + 1
    offsets = np.arange(side) - RING
    ring = np.maximum(np.abs(offsets)[:, None], np.abs(offsets))
    observed = Neighborhoods(counts, side).cut(rows - RING, cols - RING)
    at = [np.asarray(bins)[:, None] + offsets for bins in (rows, cols)]
    # Bins beyond the chromosome have a bias of 0.
    bias = np.pad(expected.bias, side)
    row_bias, col_bias = (bias[np.clip(bins + side, 0, len(bias) - 1)] for bins in at)
    distance = at[1][:, None, :] - at[0][:, :, None]
    model = expected.decay[np.clip(distance, 0, len(expected.decay) - 1)]
    model = model * row_bias[:, :, None] * col_bias[:, None, :]
    counted = distance >= NEAREST
    core, around = (
        [np.where(counted & inside, values, 0).sum(axis=(1, 2)) for values in (observed, model)]
        for inside in (ring <= CORE, ring > GAP)
    )
    enriched = np.divide(*around, out=np.ones(len(core[0])), where=around[1] > 0)
    return scipy.stats.poisson.sf(core[0] - 1, core[1] * np.maximum(enriched, 1))


def q_values(p_values: np.ndarray) -> np.ndarray:
    """False discovery rates of Benjamini and Hochberg (1995), over all loops of a list, `[K]`."""
    return scipy.stats.false_discovery_control(p_values) if len(p_values) else np.zeros(0)
