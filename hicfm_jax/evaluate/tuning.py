"""Choosing the baselines' widths on chromosomes that are not evaluated."""

import dataclasses
import functools
from collections.abc import Callable, Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.evaluate import filters
from hicfm_jax.evaluate.scores.correlation import log_mse, stratified_pearson, weighted_mean
from hicfm_jax.evaluate.scores.diagonals import Matrix

SIGMAS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0)
FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
PATIENCE = 3  # worse values in a row after which no further ones are tried

RESCALED = "rescaled input"
NAMES = (RESCALED, "Gaussian", "bicubic", "coverage-aware Gaussian", "coverage-aware blend")

CRITERIA = ("r", "log_r", "mse")

Pair = tuple[scipy.sparse.sparray, scipy.sparse.sparray]
"""Shallow counts and reference of one chromosome, upper triangles `[n, n]`."""


@dataclasses.dataclass(frozen=True)
class Tuned:
    """A baseline with its numbers chosen.

    Attributes:
      name: what the result is called.
      settings: the numbers, for people: `sigma 1.5 bins`; may be empty.
      make: (counts, ratio) -> the map at the reference's depth, `[n, n]`.
    """

    name: str
    settings: str
    make: Callable[[scipy.sparse.sparray, float], Matrix]


def tune_baselines(
    pairs: Sequence[Pair], ratio: float, max_diagonal: int, criterion: str = "r"
) -> list[Tuned]:
    """All built-in baselines, their numbers being the best on the given chromosomes.

    Args:
      pairs: shallow counts and reference of every chromosome to tune on; without any, only the rescaled
        input is made.
      ratio: reference's contacts per contact of the shallow map.
      max_diagonal: of the correlations, in bins.
      criterion: which score of `metrics.py` is to be best: `r`, `log_r` or `mse`.
    """

    def loss(baseline: filters.Baseline, **numbers: float) -> float:
        scores = [
            _score(baseline(counts, ratio, **numbers), reference, max_diagonal, criterion)
            for counts, reference in pairs
        ]
        pooled = weighted_mean(*(np.array(column) for column in zip(*scores, strict=True)))[0]
        return pooled if criterion == "mse" else -pooled

    if not pairs:
        return [Tuned(RESCALED, f"times {ratio:.4g}", filters.rescaled)]
    sigma = _best(SIGMAS, lambda value: loss(filters.gaussian, sigma=value))
    factor = _best(FACTORS, lambda value: loss(filters.bicubic, factor=value))
    aware = _best(SIGMAS, lambda value: loss(filters.coverage_aware, sigma=value))
    blend, place = filters.coverage_aware_blend, SIGMAS.index(aware)
    far = _best(SIGMAS[place:], lambda value: loss(blend, near_sigma=aware, far_sigma=value))
    near = _best(SIGMAS[place::-1], lambda value: loss(blend, near_sigma=value, far_sigma=far))

    def tuned(name: str, settings: str, baseline: filters.Baseline, **numbers: float) -> Tuned:
        return Tuned(name, settings, functools.partial(baseline, **numbers))

    return [
        tuned(RESCALED, f"times {ratio:.4g}", filters.rescaled),
        tuned(NAMES[1], f"sigma {sigma:g} bins", filters.gaussian, sigma=sigma),
        tuned(NAMES[2], f"blocks of {factor} bins", filters.bicubic, factor=factor),
        tuned(NAMES[3], f"sigma {aware:g} bins", filters.coverage_aware, sigma=aware),
        tuned(
            NAMES[4],
            f"sigma {near:g} bins near, {far:g} bins far",
            blend,
            near_sigma=near,
            far_sigma=far,
        ),
    ]


def _score(
    test: Matrix, reference: scipy.sparse.sparray, max_diagonal: int, criterion: str
) -> tuple[float, int]:
    if criterion == "mse":
        return log_mse(test, reference)
    return stratified_pearson(test, reference, max_diagonal, log=criterion == "log_r")


def _best(values: Sequence[float], loss: Callable[[float], float]) -> float:
    """The value of least loss; stops trying once the loss keeps growing. The first one where none has any."""
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
