"""Certificate of an enhanced map: how well it and filters predict contacts that were set aside.

The contacts of a map are split at random before anything is fitted. Given the true intensity, those set aside
are independent of the others, so they judge a map that was enhanced from the others without a deeper map.
"""

import dataclasses
import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy  # imports .stats, which takes long, at its first use
import scipy.optimize
import scipy.special

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import ENHANCEMENT, KEPT_READS
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import baselines
from hicfm_jax.evaluate.baselines import AWARE, BLEND, GAUSSIAN
from hicfm_jax.evaluate.opening import leakage_warnings
from hicfm_jax.storage import write_atomically

FILE = "certificate.json"
MOST_BINS = 2000  # of a longer chromosome, the first so many: filters need dense matrices
LEVELS = (0.5, 0.9)  # of the intervals
REGIONS = {"near": (0, 10), "middle": (10, 100), "far": (100, 1 << 30)}  # bins from the diagonal
SURE = 2.0  # standard errors from which a difference counts
NETWORK = "network"
CIS = "Contacts within chromosomes are judged; those between chromosomes are not."
SEEN = "If these maps have reads of this one, the network has seen some that were set aside."
FILTERS = {
    GAUSSIAN: baselines.gaussian,
    AWARE: baselines.coverage_aware,
    BLEND: baselines.coverage_aware_blend,
}
MOST_DRAWN = 100_000  # pixels whose intervals are measured
LOG_SHAPES = (-3.0, 12.0)  # in which the filter's overdispersion is sought
LEAST_EXPECTED = 0.05
"""Fraction of the expected contacts in every filter's estimate: one of 0 would exclude any contact."""


@dataclasses.dataclass(frozen=True)
class _Pixels:
    """The upper triangle of a chromosome, bins without a contact in the input left out, `[N]` each."""

    distance: np.ndarray  # bins
    held: np.ndarray  # contacts set aside
    mean: np.ndarray  # predicted of these
    sd: np.ndarray | None  # of their intensity
    filtered: Callable[..., np.ndarray]  # (name of the filter, its widths) -> its estimate


def certify(enhanced: ContactMap, fitted: ContactMap, held_out: ContactMap) -> dict[str, object]:
    """Judges an enhanced map by contacts that nothing was fitted to.

    Args:
      enhanced: made from `fitted`, with standard deviations (`ContactMap.sd`) for intervals.
      fitted: the contacts that training and enhancement saw.
      held_out: the others of the same map.

    Returns:
      A JSON object: `verdict`, a sentence; `notes`, what it does not cover, and the maps of this genome,
      `fitted` apart, that the network was trained on; `strata` by distance with the Poisson deviance per
      pixel of the network and of filters, whose widths are the best for the held-out contacts themselves,
      which favors filters, and with `decay_ratio`, the network's contacts over those set aside;
      `intervals`, the fraction of pixels whose held-out count is in the central 50 and 90 % interval of the
      negative binomial of its mean and standard deviation (randomized, as counts are whole), overall and by
      `REGIONS`; `pit`, that distribution's values in ten equal classes, 0.1 each if it is right;
      `interval_widths`, mean contacts from end to end of the 90 % interval, of the network and of the
      coverage-aware Gaussian with the one overdispersion that suits the held-out contacts best.

    Raises:
      InputError: maps of other bins or chromosomes, held-out contacts that include `fitted`,
        or an enhanced map that does not state its depth, or keeps the reads of its input.
    """
    about = enhanced.metadata.get(ENHANCEMENT, {})
    target = about.get("target_contacts")
    if about.get(KEPT_READS):
        raise InputError(
            f"{enhanced.name} was enhanced with keep_reads, so its counts are not the estimate to judge: "
            "enhance the map without it."
        )
    if not target:
        raise InputError(
            f"{enhanced.name} does not state the depth it was enhanced to: give a cooler of hicfm enhance."
        )
    for other in (fitted, held_out):
        if (other.resolution, other.chromsizes) != (enhanced.resolution, fitted.chromsizes):
            raise InputError(
                f"{other.name} has other bins or chromosomes than {enhanced.name}: give its input."
            )
    scale, ratio = held_out.total_count / target, held_out.total_count / fitted.total_count
    chromosomes = [chrom for chrom in enhanced.chromsizes if fitted.matrix(chrom).nnz]
    pixels = [_pixels(enhanced, fitted, held_out, chrom, scale, ratio) for chrom in chromosomes]
    pixels = [each for each in pixels if each.distance.size]
    if not pixels:
        raise InputError(
            f"{fitted.name} has no contacts in the first {MOST_BINS} bins of any chromosome, which are "
            "judged: choose wider bins."
        )
    fewer = ((fitted.matrix(chrom) > held_out.matrix(chrom)).nnz for chrom in chromosomes)
    if not any(fewer):  # a deeper map, perhaps, from which `fitted` was downsampled
        raise InputError(
            f"{held_out.name} has at least the contacts of {fitted.name} in every pixel: give contacts that "
            "were set aside, or compare with a deeper map by hicfm evaluate."
        )
    widths = _best_widths(pixels)
    edges = _edges(max(int(each.distance.max()) for each in pixels) + 1)
    sums = _Sums(edges, list(FILTERS))
    for each in pixels:
        sums.add(each, {name: each.filtered(name, *sigmas) for name, sigmas in widths.items()})
    strata = sums.strata(enhanced.resolution)
    found = {
        "verdict": verdict(strata, list(FILTERS)),
        "notes": [CIS, *_seen(enhanced, fitted, chromosomes)],
        "map": fitted.name,
        "resolution": enhanced.resolution,
        "held_out_contacts": held_out.total_count,
        "fitted_contacts": fitted.total_count,
        "filters": {
            name: f"sigma {' near, '.join(f'{sigma:g}' for sigma in sigmas)} bins{' far' * (name == BLEND)}"
            for name, sigmas in widths.items()
        },
        "strata": strata,
    }
    if enhanced.sd is None:
        return found
    return found | _intervals(pixels) | {"interval_widths": _interval_widths(pixels, widths[AWARE])}


def _seen(enhanced: ContactMap, fitted: ContactMap, chromosomes: Sequence[str]) -> list[str]:
    about = enhanced.metadata[ENHANCEMENT]
    trained = about.get("trained_on")
    depths, known = about.get("depths") or {}, about.get("longest") or {}
    if isinstance(trained, Mapping):
        # A chromosome's name alone, without lengths, may be of another species.
        others = {
            assay: trained[assay]
            for assay in trained
            if assay in known and depths.get(assay) != fitted.total_count
        }
        about = {**about, "trained_on": others, "validated_on": {}}
    metadata = {**enhanced.metadata, ENHANCEMENT: about}
    found = leakage_warnings("The map", metadata, chromosomes, fitted.chromsizes.values())
    return [*found, SEEN] if found else []


def total_deviance(certificate: Mapping) -> float:
    """Poisson deviance of all held-out pixels from the network's prediction."""
    return sum(each["pixels"] * each["deviance"][NETWORK] for each in certificate["strata"])


def write_certificate(certificate: Mapping[str, object], folder: str | os.PathLike) -> pathlib.Path:
    """Writes `FILE` whole or not at all; an older one is replaced."""
    path = pathlib.Path(folder) / FILE
    write_atomically(path, (json.dumps(certificate, indent=1) + "\n").encode())
    return path


def _pixels(
    enhanced: ContactMap, fitted: ContactMap, held_out: ContactMap, chrom: str, scale: float, ratio: float
) -> _Pixels:
    counts = fitted.matrix(chrom)[:MOST_BINS, :MOST_BINS]
    expected = find_expected(counts).dense() * ratio
    covered = expected.diagonal() > 0
    rows, columns = np.nonzero(np.triu(covered[:, None] & covered))
    expected = expected[rows, columns]
    # At distances without any contact, that of the rarest ones: with 0 a contact would be impossible.
    expected = np.maximum(expected, expected[expected > 0].min(initial=np.inf))

    def cut(contact_map: ContactMap) -> np.ndarray:
        return contact_map.matrix(chrom)[:MOST_BINS, :MOST_BINS].toarray()[rows, columns].astype(np.float64)

    def filtered(name: str, *widths: float) -> np.ndarray:
        smooth = FILTERS[name](counts, ratio, *widths)[rows, columns]
        return (1 - LEAST_EXPECTED) * smooth + LEAST_EXPECTED * expected

    sd = None if enhanced.sd is None else cut(enhanced.sd) * scale
    # Enhanced counts are multiples of a small step, which may round to 0.
    mean = np.maximum(cut(enhanced) * scale, 1e-3 * expected)
    return _Pixels(columns - rows, cut(held_out), mean, sd, filtered)


def deviance(counts: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Poisson deviance of each count, in units of twice a nat."""
    return 2 * (scipy.special.xlogy(counts, np.where(counts > 0, counts, 1.0) / mean) - counts + mean)


def _best_widths(pixels: Sequence[_Pixels]) -> dict[str, tuple[float, ...]]:
    """The widths of every filter with the least deviance."""

    def loss(name: str) -> Callable[..., float]:
        return lambda *widths: sum(deviance(each.held, each.filtered(name, *widths)).sum() for each in pixels)

    found = {name: (baselines.best_width(baselines.SIGMAS, loss(name)),) for name in (GAUSSIAN, AWARE)}
    return found | {BLEND: baselines.best_blend(*found[AWARE], loss(BLEND))}


def _edges(size: int) -> list[int]:
    """Distances at which strata begin, doubling, and the end."""
    edges = [0, 1]
    while edges[-1] * 2 < size:
        edges.append(edges[-1] * 2)
    return [edge for edge in edges if edge < size] + [size]


class _Sums:
    """Sums over pixels by stratum of distance."""

    def __init__(self, edges: Sequence[int], filters: Sequence[str]):
        self._edges, self._filters, count = edges, filters, len(edges) - 1
        names = ["pixels", "held", "mean", NETWORK, *filters]
        names += [f"{name} {part}" for name in filters for part in ("difference", "square")]
        self._sums = {name: np.zeros(count) for name in names}

    def add(self, pixels: _Pixels, filtered: Mapping[str, np.ndarray]) -> None:
        stratum = np.searchsorted(self._edges, pixels.distance, side="right") - 1
        network = deviance(pixels.held, pixels.mean)
        values = {"pixels": np.ones(len(stratum)), "held": pixels.held, "mean": pixels.mean, NETWORK: network}
        for name, estimate in filtered.items():
            values[name] = deviance(pixels.held, estimate)
            difference = network - values[name]
            values |= {f"{name} difference": difference, f"{name} square": difference**2}
        for name, each in values.items():
            self._sums[name] += np.bincount(stratum, each, len(self._edges) - 1)

    def strata(self, resolution: int) -> list[dict[str, object]]:
        """Means of each stratum with pixels; `z` are differences from each filter in standard errors."""
        found = []
        for index, (first, end) in enumerate(zip(self._edges, self._edges[1:], strict=False)):
            part = {name: float(values[index]) for name, values in self._sums.items()}
            if not part["pixels"]:
                continue
            errors = {name: max(part[f"{name} square"], 1e-12) ** 0.5 for name in self._filters}
            found.append(
                {
                    "from_bp": first * resolution,
                    "to_bp": end * resolution,
                    "pixels": int(part["pixels"]),
                    "contacts": part["held"],
                    "deviance": {name: part[name] / part["pixels"] for name in (NETWORK, *self._filters)},
                    "z": {name: part[f"{name} difference"] / errors[name] for name in self._filters},
                    "decay_ratio": part["mean"] / part["held"] if part["held"] else None,
                    "decay_error": part["held"] ** -0.5 if part["held"] else None,
                }
            )
        return found


def verdict(strata: Sequence[Mapping], filters: Sequence[str]) -> str:
    """One sentence on where the network predicts the held-out contacts better than every filter."""
    better = [max(each["z"][name] for name in filters) < -SURE for each in strata]
    worse = [max(each["z"][name] for name in filters) > SURE for each in strata]
    begins = [each["from_bp"] / 1000 for each in strata]
    predicts = "predicts contacts that were set aside"
    if not any(better):
        return f"The network {predicts} no better than the filters at any distance: use a filter."
    if all(better):
        return f"The network {predicts} better than every filter at all distances."
    spans, start = [], None
    for index, is_better in enumerate([*better, False]):
        if is_better and start is None:
            start = index
        elif not is_better and start is not None:
            ends = f" to {begins[index]:g} kb" if index < len(begins) else ""
            spans.append(f"{'from' if ends else 'beyond'} {begins[start]:g} kb{ends}")
            start = None
    where = " and ".join(spans)
    elsewhere = "worse than one" if any(worse) else "no better"
    return f"The network {predicts} better than every filter {where}, and {elsewhere} elsewhere."


def _intervals(pixels: Sequence[_Pixels]) -> dict[str, object]:
    values, distances = np.concatenate([_pit(each) for each in pixels]), [each.distance for each in pixels]
    distance = np.concatenate(distances)

    def covered(inside: np.ndarray) -> dict[str, float | int]:
        found = {"pixels": int(inside.sum())}
        for level in LEVELS:
            within = np.abs(values[inside] - 0.5) <= level / 2
            found[f"{100 * level:g}"] = float(within.mean()) if inside.any() else None
        return found

    regions = {name: covered((low <= distance) & (distance < high)) for name, (low, high) in REGIONS.items()}
    histogram = np.histogram(values, 10, (0, 1))[0] / len(values)
    return {"intervals": {"overall": covered(distance >= 0), **regions}, "pit": histogram.tolist()}


def _interval_widths(pixels: Sequence[_Pixels], widths: Sequence[float]) -> dict[str, float]:
    held = np.concatenate([each.held for each in pixels])
    drawn = np.random.default_rng(0).permutation(len(held))[:MOST_DRAWN]
    network = np.concatenate([each.mean for each in pixels])[drawn]
    smooth = np.concatenate([each.filtered(AWARE, *widths) for each in pixels])[drawn]

    def loss(log_shape: float) -> float:
        shape = np.exp(log_shape)
        return -scipy.stats.nbinom.logpmf(held[drawn], shape, shape / (shape + smooth)).mean()

    constant = np.exp(scipy.optimize.minimize_scalar(loss, bounds=LOG_SHAPES, method="bounded").x)
    shapes = np.concatenate([_shape(each) for each in pixels])[drawn]
    found = {}
    for name, mean, shape in ((NETWORK, network, shapes), (AWARE, smooth, constant)):
        low, high = (scipy.stats.nbinom.ppf(q, shape, shape / (shape + mean)) for q in (0.05, 0.95))
        found[name] = float((high - low).mean())
    return found


def _shape(pixels: _Pixels) -> np.ndarray:
    """Of the gamma distributions of the intensities."""
    return (pixels.mean / np.maximum(pixels.sd, 1e-3 * pixels.mean)) ** 2


def _pit(pixels: _Pixels) -> np.ndarray:
    """Randomized probability integral transform of held-out counts (Czado et al. 2009), uniform if right."""
    shape = _shape(pixels)
    chance = shape / (shape + pixels.mean)
    below = scipy.stats.nbinom.cdf(pixels.held - 1, shape, chance)
    at = scipy.stats.nbinom.pmf(pixels.held, shape, chance)
    return below + np.random.default_rng(0).random(len(at)) * at
