"""Chooses the baselines' widths on chromosomes that are not evaluated."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.evaluate import filters
from hicfm_jax.evaluate.scores import SCORES
from hicfm_jax.evaluate.scores.correlation import weighted_mean
from hicfm_jax.evaluate.scores.diagonals import Matrix
from hicfm_jax.evaluate.scores.scored_pair import PreparedMap, ScoredPair

SIGMAS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0)
FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
PATIENCE = 3  # worse values in a row after which the search stops

RESCALED = "rescaled input"
NAMES = (RESCALED, "Gaussian", "bicubic", "coverage-aware Gaussian", "coverage-aware blend")


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A baseline with its widths chosen.

    Attributes:
      name: of the resulting map.
      settings: the widths, for people: `sigma 1.5 bins`.
      make: (counts, ratio) -> the map at the reference's depth, `[n, n]`.
    """

    name: str
    settings: str
    make: Callable[[scipy.sparse.sparray, float], Matrix]


def tune_baselines(
    pairs: Sequence[tuple[PreparedMap, PreparedMap]], ratio: float, max_diagonal: int, criterion: str = "r"
) -> list[Tuned]:
    """All built-in baselines, with the widths that score best on the given chromosomes.

    Args:
      pairs: shallow map and reference of every chromosome to tune on. Without any, only the rescaled input
        is made.
      ratio: reference's contacts per contact of the shallow map.
      max_diagonal: of the correlations, in bins.
      criterion: the score to optimize, one of `scores.CRITERIA`.
    """
    score = SCORES[criterion]

    def loss(make: Callable) -> float:
        scored = []
        for shallow, reference in pairs:
            test = PreparedMap(make(shallow.counts, ratio), shallow.resolution)
            scored.append(score.function(ScoredPair(test, reference, max_diagonal)))
        pooled = weighted_mean(*np.array(scored).T)[0]
        return pooled if score.better == "lower" else -pooled

    tuned = [Tuned(RESCALED, f"times {ratio:.4g}", filters.rescaled)]
    if not pairs:
        return tuned
    partial = functools.partial
    sigma = _best(SIGMAS, lambda value: loss(partial(filters.gaussian, sigma=value)))
    factor = _best(FACTORS, lambda value: loss(partial(filters.bicubic, factor=value)))
    aware = _best(SIGMAS, lambda value: loss(partial(filters.coverage_aware, sigma=value)))
    blend, index = filters.coverage_aware_blend, SIGMAS.index(aware)
    far = _best(SIGMAS[index:], lambda value: loss(partial(blend, near_sigma=aware, far_sigma=value)))
    near = _best(SIGMAS[index::-1], lambda value: loss(partial(blend, near_sigma=value, far_sigma=far)))
    settings = (f"sigma {sigma:g} bins", f"blocks of {factor} bins", f"sigma {aware:g} bins")
    settings = (*settings, f"sigma {near:g} bins near, {far:g} bins far")
    makers = (
        partial(filters.gaussian, sigma=sigma),
        partial(filters.bicubic, factor=factor),
        partial(filters.coverage_aware, sigma=aware),
        partial(blend, near_sigma=near, far_sigma=far),
    )
    return tuned + [Tuned(*each) for each in zip(NAMES[1:], settings, makers, strict=True)]


def _best(values: Sequence[float], loss: Callable[[float], float]) -> float:
    """The value of least loss, or the first if every loss is NaN; stops after `PATIENCE` worse values."""
    best, least, worse = values[0], np.inf, 0
    for value in values:
        found = loss(value)
        if found < least:
            best, least, worse = value, found, 0
        else:
            worse += 1
        if worse >= PATIENCE:
            break
    return best
