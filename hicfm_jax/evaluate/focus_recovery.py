"""How many of a reference's foci another map shows, how strongly, and how many it makes up."""

import dataclasses

import numpy as np
import scipy.ndimage

from hicfm_jax.evaluate.foci import APART, CALLED_FROM, Enrichment, Foci, call_foci

UNDECIDED = 1.5
"""A spot that the reference enriches this much, but too little for a focus, is neither right nor wrong."""


@dataclasses.dataclass(frozen=True)
class FocusRecovery:
    """Scores of one map against the k foci of the reference, 0 to 1 each.

    Attributes:
      recovery: `strength` times the share of the map's calls that are true, 1 if it has none: the foci
        stand out as much as they should, and nothing else does.
      strength: mean over the reference's foci of log(enrichment) in the map over that in the reference,
        each cut to 0…1: a focus that is stronger than in the reference is recovered, not more than that.
      precision: of the spots enriched at least `foci.CALLED_FROM` times; NaN where there is none.
      recall: share of the reference's foci that have such a spot.
      f1: harmonic mean of precision and recall, 0 where there is none.
      foci: k.
    """

    recovery: float
    strength: float
    precision: float
    recall: float
    f1: float
    foci: int


def focus_recovery(test: Enrichment, reference: Enrichment, foci: Foci) -> FocusRecovery | None:
    """Scores a map's enrichment against the reference's.

    The same caller looks for foci in both. Places may differ by `foci.APART` bins.

    Args:
      test, reference: `foci.focus_enrichment` of both.
      foci: `foci.call_foci` of the reference, from `foci.REAL_FROM` on.

    Returns:
      None where the reference has no foci.
    """
    if not len(foci):
        return None
    shape = test.over_ring.shape
    near_real = _near(foci.rows, foci.columns, shape)
    undecided = _widened(reference.possible & (reference.over_ring >= UNDECIDED)) & ~near_real
    calls = call_foci(Enrichment(test.over_ring, test.possible & ~undecided), CALLED_FROM)
    right = near_real[calls.rows, calls.columns]
    precision = float(right.mean()) if right.size else float("nan")
    recall = float(_near(calls.rows, calls.columns, shape)[foci.rows, foci.columns].mean())
    in_test = np.maximum(test.over_ring[foci.rows, foci.columns], 1)
    strength = float(np.minimum(np.log(in_test) / np.log(foci.enrichment), 1).mean())
    return FocusRecovery(
        recovery=strength * (precision if right.size else 1.0),
        strength=strength,
        precision=precision,
        recall=recall,
        f1=2 * precision * recall / (precision + recall) if precision > 0 and recall else 0.0,
        foci=len(foci),
    )


def _near(rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    places = np.zeros(shape, bool)
    places[rows, columns] = True
    return _widened(places)


def _widened(places: np.ndarray) -> np.ndarray:
    """Also the places up to `APART` bins away."""
    return scipy.ndimage.maximum_filter(places, 2 * APART + 1)
