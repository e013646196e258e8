"""Scores of contacts between different chromosomes."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import Pair
from hicfm_jax.contacts.expected import TransSums
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.baselines import AWARE, RESCALED, SIGMAS, best_width, smoothed_ratio
from hicfm_jax.evaluate.comparison import TRANS, Record, ScoredValue, pool
from hicfm_jax.evaluate.opening import ComparedMaps
from hicfm_jax.evaluate.scores import SCORES, scored_pair


def compare_trans(
    opened: ComparedMaps,
    chromosomes: Sequence[str],
    shallow: str | None = None,
    tune_chromosomes: Sequence[str] = (),
    tune_by: str = "r",
) -> list[Record]:
    """Scores all pixels between chromosomes, of each map that has contacts there.

    The scores are those with a function `Score.trans`, on each pair of chromosomes and averaged by their
    weights. The others are NaN.

    Args:
      opened: the maps.
      chromosomes: whose pairs are scored.
      shallow: map that baselines are made from: the rescaled input, and the coverage-aware Gaussian if there
        are pairs to choose its width on; None: no baselines.
      tune_chromosomes: whose pairs these are.
      tune_by: the score to optimize there, one of `scores.CRITERIA`.

    Raises:
      InputError: fewer than two chromosomes, one that is too long, or a reference without contacts there.
    """
    reference, of = opened.reference, opened.maps.get(shallow, opened.reference)
    pairs, tuning = (_pairs(of, reference, names) for names in (chromosomes, tune_chromosomes))
    if not any(_counts(reference, pair).any() for pair in pairs):
        raise InputError(
            f"{reference.name} has no contacts between {', '.join(chromosomes[:5])}: leave trans out, or "
            "choose two chromosomes or more that have contacts with each other."
        )

    def scored(name: str, make: Callable[[Pair], np.ndarray], among: Sequence[Pair], *about) -> Record:
        rows = [Record(name, TRANS, _scores(make(pair), _counts(reference, pair)), *about) for pair in among]
        return dataclasses.replace(pool(rows), chromosome=TRANS)

    records = []
    for name, each in opened.maps.items():
        if any(_counts(each, pair).any() for pair in pairs):
            records.append(scored(name, lambda pair, each=each: _counts(each, pair), pairs))
    if shallow is None:
        return records
    ratio = reference.total_count / of.total_count
    rescaled = scored(RESCALED, lambda pair: ratio * _counts(of, pair), pairs, True, f"times {ratio:.4g}")
    if not tuning:
        return [*records, rescaled]
    own = {pair: tuple(map(of.find_chromosome, pair)) for pair in (*pairs, *tuning)}
    fits = TransSums(of).expected(own.values())

    def smoothed(sigma: float) -> Callable[[Pair], np.ndarray]:
        return lambda pair: smoothed_ratio(_counts(of, pair), fits[own[pair]].dense(), ratio, sigma)

    def loss(sigma: float) -> float:
        value = scored(AWARE, smoothed(sigma), tuning).scores[tune_by].value
        return value if SCORES[tune_by].better == "lower" else -value

    sigma = best_width(SIGMAS, loss)
    return [*records, rescaled, scored(AWARE, smoothed(sigma), pairs, True, f"sigma {sigma:g} bins")]


def _pairs(of: ContactMap, reference: ContactMap, chromosomes: Sequence[str]) -> list[Pair]:
    """Pairs of chromosomes, as the reference names them, in the order of the map `of`."""
    order = list(of.chromsizes)
    names = sorted(chromosomes, key=lambda name: order.index(of.find_chromosome(name)))
    for name in names:
        bins, most = reference.n_bins(name), scored_pair.WHOLE_BINS
        if bins > most:
            raise InputError(
                f"{name} has {bins} bins, and trans needs at most {most}: choose a coarser resolution or "
                "leave trans out."
            )
    return list(itertools.combinations(names, 2))


def _counts(contact_map: ContactMap, pair: Pair) -> np.ndarray:
    """Contacts of a pair `[n, m]` float64, whatever the order of the map's chromosomes."""
    names = map(contact_map.find_chromosome, pair)
    return contact_map.matrix(*names).toarray().astype(np.float64)


def _scores(test: np.ndarray, reference: np.ndarray) -> Mapping[str, ScoredValue]:
    return {
        name: ScoredValue(*(score.trans(test, reference) if score.trans else (math.nan, 0)))
        for name, score in SCORES.items()
    }
