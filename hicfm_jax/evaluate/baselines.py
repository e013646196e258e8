"""Baselines: filters of a shallow map, and the choice of their widths.

A filter takes the shallow counts of a chromosome, an upper triangle `[n, n]`, and the ratio of the depths,
which is the reference's contacts per contact of the shallow map. It returns a map `[n, n]` at the reference's
depth. Widths are standard deviations in bins.
"""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.ndimage
import scipy.sparse

from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.scores import SCORES
from hicfm_jax.evaluate.scores.correlation import weighted_mean
from hicfm_jax.evaluate.scores.diagonals import Matrix, dense, upper
from hicfm_jax.evaluate.scores.scored_pair import PreparedMap, ScoredPair

SIGMAS = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0, 12.0, 16.0)
FACTORS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16)
PATIENCE = 3  # worse values in a row after which the search stops

RESCALED, GAUSSIAN, BICUBIC = "rescaled input", "Gaussian", "bicubic"
AWARE, BLEND = "coverage-aware Gaussian", "coverage-aware blend"
NAMES = (RESCALED, GAUSSIAN, BICUBIC, AWARE, BLEND)
HALFWAY = 30  # bins; the distance at which both widths of the blend have equal weight


def rescaled(counts: scipy.sparse.sparray, ratio: float) -> scipy.sparse.csr_array:
    """The counts times the ratio of the depths, upper triangle."""
    return upper(counts) * ratio


def gaussian(counts: scipy.sparse.sparray, ratio: float, sigma: float) -> np.ndarray:
    """The rescaled counts after a Gaussian filter, mirrored at the borders."""
    return scipy.ndimage.gaussian_filter(dense(counts) * ratio, sigma, mode="reflect")


def bicubic(counts: scipy.sparse.sparray, ratio: float, factor: int) -> np.ndarray:
    """The rescaled counts averaged over blocks and resized by bicubic interpolation, clipped at 0.

    Blocks have `factor` bins a side; at the end they are padded with copies of the last bin. The
    interpolation is the cubic convolution of Keys 1981 (a = -0.5) around the blocks' centers, mirrored at
    the borders.
    """
    image = dense(counts) * ratio
    size = len(image)
    image = np.pad(image, (0, -size % factor), mode="edge")
    blocks = len(image) // factor
    pooled = image.reshape(blocks, factor, blocks, factor).mean(axis=(1, 3))
    spread = _cubic_weights(blocks, factor)[:size]
    return np.maximum(spread @ pooled @ spread.T, 0)


def coverage_aware(counts: scipy.sparse.sparray, ratio: float, sigma: float) -> np.ndarray:
    """Smooths the ratio of observed contacts to those expected from decay and biases."""
    return smoothed_ratio(dense(counts), find_expected(counts).dense(), ratio, sigma)


def smoothed_ratio(counts: np.ndarray, expected: np.ndarray, ratio: float, sigma: float) -> np.ndarray:
    """Smooths the ratio of observed to expected contacts `[n, m]`.

    The counts and their expected contacts are each smoothed. The ratio of the two, times the expected
    contacts, keeps decay and stripes sharp while it averages the rest.
    """
    observed, model = (
        scipy.ndimage.gaussian_filter(values, sigma, mode="constant") for values in (counts, expected)
    )
    return np.divide(observed, model, out=np.zeros_like(model), where=model > 0) * expected * ratio


def coverage_aware_blend(
    counts: scipy.sparse.sparray, ratio: float, near_sigma: float, far_sigma: float
) -> np.ndarray:
    """Blends two coverage-aware filters by distance: a narrow one near the diagonal and a wide one far off.

    At d bins the wide one has the weight d / (d + `HALFWAY`).
    """
    near, far = (coverage_aware(counts, ratio, sigma) for sigma in (near_sigma, far_sigma))
    bins = np.arange(len(near))
    distance = np.abs(bins[:, None] - bins)
    weight = distance / (distance + HALFWAY)
    return (1 - weight) * near + weight * far


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

    def loss(make: Callable[..., Matrix], *widths: float) -> float:
        scored = []
        for shallow, reference in pairs:
            test = PreparedMap(make(shallow.counts, ratio, *widths), shallow.resolution)
            scored.append(score.function(ScoredPair(test, reference, max_diagonal)))
        pooled = weighted_mean(*np.array(scored).T)[0]
        return pooled if score.better == "lower" else -pooled

    def tuned(name: str, settings: str, make: Callable[..., Matrix], *widths: float) -> Tuned:
        return Tuned(name, settings, lambda counts, ratio: make(counts, ratio, *widths))

    unchanged = tuned(RESCALED, f"times {ratio:.4g}", rescaled)
    if not pairs:
        return [unchanged]
    sigma = best_width(SIGMAS, lambda width: loss(gaussian, width))
    factor = best_width(FACTORS, lambda width: loss(bicubic, width))
    aware = best_width(SIGMAS, lambda width: loss(coverage_aware, width))
    near, far = best_blend(aware, lambda *widths: loss(coverage_aware_blend, *widths))
    both = f"sigma {near:g} bins near, {far:g} bins far"
    return [
        unchanged,
        tuned(GAUSSIAN, f"sigma {sigma:g} bins", gaussian, sigma),
        tuned(BICUBIC, f"blocks of {factor} bins", bicubic, factor),
        tuned(AWARE, f"sigma {aware:g} bins", coverage_aware, aware),
        tuned(BLEND, both, coverage_aware_blend, near, far),
    ]


def best_width(values: Sequence[float], loss: Callable[[float], float]) -> float:
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


def best_blend(aware: float, loss: Callable[[float, float], float]) -> tuple[float, float]:
    """The widths near and far of least loss, from the best one of the coverage-aware Gaussian on."""
    index = SIGMAS.index(aware)
    far = best_width(SIGMAS[index:], lambda width: loss(aware, width))
    return best_width(SIGMAS[index::-1], lambda width: loss(width, far)), far


def _cubic_weights(blocks: int, factor: int) -> np.ndarray:
    """Weight of each block in every bin, `[blocks * factor, blocks]`; rows sum to 1."""
    where = (np.arange(blocks * factor) + 0.5) / factor - 0.5
    first = np.floor(where).astype(int) - 1
    weights = np.zeros((len(where), blocks))
    for step in range(4):
        distance = np.abs(where - (first + step))
        value = np.where(
            distance <= 1,
            (1.5 * distance - 2.5) * distance**2 + 1,
            ((-0.5 * distance + 2.5) * distance - 4) * distance + 2,
        )
        mirrored = np.clip(first + step, -first - step - 1, 2 * blocks - 1 - first - step)
        np.add.at(weights, (np.arange(len(where)), np.clip(mirrored, 0, blocks - 1)), value)
    return weights
