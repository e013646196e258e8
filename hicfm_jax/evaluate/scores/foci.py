"""Foci far from the diagonal, as of KEE loci, and their recovery."""

import dataclasses

import numpy as np
import scipy.ndimage
import scipy.sparse

from hicfm_jax.contacts.expected import Expected
from hicfm_jax.evaluate.scores.diagonals import dense, visible_bins

BIN = 30_000
"""bp. Finer maps are coarsened to bins of about this width. KEE foci are 1 to 3 of them wide."""

CORE = 1  # bins to each side: the focus is 3 x 3
GAP = 2  # bins to each side that belong neither to the focus nor to its surroundings
RING = 5  # bins to each side: the surroundings are the 11 x 11 without the inner 5 x 5
NEAREST = 10  # bins between the two loci, so that the ring stays off the diagonal
APART = 3  # bins; of foci nearer than this the strongest counts
REAL_FROM = 2.5  # least enrichment of a focus of the reference
CALLED_FROM = 2.0  # of another map: blurred foci are still called, and noise counts as a false call
UNDECIDED = 1.5  # spots of the reference from here to REAL_FROM are neither true nor false calls
LEAST_OVER_STRIPES = 1.3
ADDED = 100.0  # pseudocount, in contacts of the reference: chance easily multiplies a few contacts


@dataclasses.dataclass(frozen=True)
class Foci:
    """Foci of a map, strongest first: central bins (row < column) and enrichment, `[k]` each."""

    rows: np.ndarray
    columns: np.ndarray
    enrichment: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


@dataclasses.dataclass(frozen=True)
class Enrichment:
    """Enrichment of the 3 x 3 bins around every pixel.

    Attributes:
      over_ring: over the square ring around them, `[n, n]`; 1 where bins have few contacts.
      possible: `[n, n]` bool, upper triangle. True if the loci are `NEAREST` bins apart, the bins have
        contacts, and the 3 x 3 bins are not part of a stripe.
    """

    over_ring: np.ndarray
    possible: np.ndarray


@dataclasses.dataclass(frozen=True)
class FocusRecovery:
    """Scores of one map against the foci of the reference, 0 to 1 each; NaN if it has none.

    Attributes:
      recovery: `strength` times the fraction of true calls, which is 1 without calls.
      strength: mean over the reference's foci of log(enrichment) in the map over that in the reference,
        each clipped to 0…1, so that a focus stronger than in the reference counts 1.
      precision: fraction of the map's calls that are foci of the reference; NaN without calls.
      recall: fraction of the reference's foci that are called.
      f1: harmonic mean of precision and recall, 0 where one of them is 0 or NaN.
    """

    recovery: float
    strength: float
    precision: float
    recall: float
    f1: float


def bin_factor(resolution: int) -> int:
    """Bins of a map in one bin of the foci."""
    return max(1, round(BIN / resolution))


def focus_enrichment(matrix: scipy.sparse.sparray, expected: Expected) -> Enrichment:
    """Compares the 3 x 3 bins around every pixel with their surroundings.

    The observed / expected ratio of the surroundings gives the contacts to expect in the 3 x 3 bins.
    Enrichment is (observed + `ADDED`) / (those + `ADDED`). Bins with few contacts are left out of all sums.

    Args:
      matrix: contacts of a chromosome, upper triangle `[n, n]`, of any scale; it is scaled to `expected`.
      expected: decay and biases of the reference.
    """
    bins = np.arange(matrix.shape[0])
    far = bins - bins[:, None] >= NEAREST
    visible = np.outer(*[visible_bins(expected)] * 2).astype(np.float64)
    observed, model = dense(matrix) * visible, expected.dense() * visible
    total = observed.sum(where=far)
    if total > 0:
        observed *= model.sum(where=far) / total
    found, inside = (_box_sum(values, CORE, CORE) for values in (observed, model))

    def enrichment(half: tuple[int, int], hole: tuple[int, int]) -> np.ndarray:
        around = [_box_sum(values, *half) - _box_sum(values, *hole) for values in (observed, model)]
        # Running sums leave rounding errors where they should be 0.
        filled = around[1] > 1e-9 * model.max(initial=0)
        ratio = np.divide(*around, out=np.zeros_like(model), where=filled)
        return (found + ADDED) / (np.maximum(ratio, 0) * inside + ADDED)

    complete = _box_sum(visible, CORE, CORE) > (2 * CORE + 1) ** 2 - 0.5
    over_stripes = np.minimum(enrichment((CORE, RING), (CORE, GAP)), enrichment((RING, CORE), (GAP, CORE)))
    over_ring = np.where(complete, enrichment((RING, RING), (GAP, GAP)), 1)
    return Enrichment(over_ring, far & complete & (over_stripes >= LEAST_OVER_STRIPES))


def call_foci(enrichment: Enrichment, least: float) -> Foci:
    """The possible foci of at least this enrichment, the highest within `APART` bins each."""
    allowed = np.where(enrichment.possible, enrichment.over_ring, 0)
    highest = scipy.ndimage.maximum_filter(allowed, 2 * APART + 1, mode="constant")
    rows, columns = np.nonzero((allowed == highest) & (allowed >= least))
    order = np.argsort(-allowed[rows, columns], kind="stable")
    rows, columns = rows[order], columns[order]
    return Foci(rows, columns, allowed[rows, columns])


def focus_recovery(test: Enrichment, reference: Enrichment, foci: Foci) -> FocusRecovery:
    """Scores the enrichment of a map against the foci of the reference, up to `APART` bins from a call."""
    if not len(foci):
        return FocusRecovery(*[float("nan")] * 5)
    shape = test.over_ring.shape
    near_real = _near(foci.rows, foci.columns, shape)
    undecided = _widened(reference.possible & (reference.over_ring >= UNDECIDED)) & ~near_real
    calls = call_foci(Enrichment(test.over_ring, test.possible & ~undecided), CALLED_FROM)
    true = near_real[calls.rows, calls.columns]
    precision = float(true.mean()) if true.size else float("nan")
    recall = float(_near(calls.rows, calls.columns, shape)[foci.rows, foci.columns].mean())
    f1 = 2 * precision * recall / (precision + recall) if precision > 0 and recall else 0.0
    in_test = np.maximum(test.over_ring[foci.rows, foci.columns], 1)
    strength = float(np.minimum(np.log(in_test) / np.log(foci.enrichment), 1).mean())
    return FocusRecovery(strength * (precision if true.size else 1.0), strength, precision, recall, f1)


def _box_sum(values: np.ndarray, half_rows: int, half_columns: int) -> np.ndarray:
    size = 2 * half_rows + 1, 2 * half_columns + 1
    return scipy.ndimage.uniform_filter(values, size, mode="constant") * (size[0] * size[1])


def _near(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    places = np.zeros(shape, bool)
    places[rows, columns] = True
    return _widened(places)


def _widened(places: np.ndarray) -> np.ndarray:
    return scipy.ndimage.maximum_filter(places, 2 * APART + 1)
