"""Reproducibility of maps: scores of every pair, chromosome by chromosome."""

import dataclasses
import itertools
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.contact_map import bare_name, counted
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.opening import FEWEST_BINS, MapSource
from hicfm_jax.evaluate.scores import scc
from hicfm_jax.evaluate.scores.correlation import MAX_DIAGONAL
from hicfm_jax.evaluate.scores.diagonals import coarsen
from hicfm_jax.evaluate.scores.scored_pair import WHOLE_BINS
from hicfm_jax.evaluate.scores.whole_map import STEPS, genome_disco
from hicfm_jax.progress import NullProgress

PairScore = Callable[[scipy.sparse.csr_array, scipy.sparse.csr_array, int], float]
"""`(counts, counts, resolution)` of one chromosome in two maps -> score."""

_LEFT_OUT = re.compile(
    r"(y|m|mt|mito|mitochondri\w*|c|pt|pltd|chloroplast|plastid|un|un_.*|.*_(alt|random|fix|hap\d*))$"
)


def in_overall(chrom: str) -> bool:
    """Whether a chromosome counts in the overall score: not Y, organelles and unplaced sequences.

    Whole names are compared, unlike in the original, which leaves out every name with a Y, M, Un or Alt in
    it, such as the accession CM000663.2 of human chromosome 1.
    """
    return not _LEFT_OUT.match(re.sub("^chr", "", chrom.lower()))


@dataclasses.dataclass
class Replicates:
    """Scores of every pair of maps.

    Attributes:
      names: of the maps.
      resolution: bp.
      chromosomes: compared ones, as the first map calls them.
      scores: method -> `[chromosomes, maps, maps]` float64, NaN where undefined.
      notes: sentences on what was matched, left out and counted.
      seconds: time that each method took, reading included.
    """

    names: list[str]
    resolution: int
    chromosomes: list[str]
    scores: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)
    seconds: dict[str, float] = dataclasses.field(default_factory=dict)

    def overall(self, method: str) -> np.ndarray:
        """Mean over the chromosomes of `in_overall`, `[maps, maps]`; over all if there is no other."""
        kept = [in_overall(chrom) for chrom in self.chromosomes]
        chosen = self.scores[method][kept if any(kept) else slice(None)]
        defined = np.isfinite(chosen)
        total = np.where(defined, chosen, 0).sum(axis=0)
        return np.where(defined.any(axis=0), total / np.maximum(defined.sum(axis=0), 1), np.nan)


def open_maps(sources: Mapping[str, MapSource], resolution: int | None) -> dict[str, ContactMap]:
    """The maps by name, at one resolution in bp; None takes the first one's only one.

    Raises:
      InputError: fewer than two maps, or one that cannot be read at the resolution.
    """
    if len(sources) < 2:
        raise InputError(f"Reproducibility compares maps, and {len(sources)} was given: give two or more.")
    maps: dict[str, ContactMap] = {}
    for name, source in sources.items():
        maps[name] = source if isinstance(source, ContactMap) else open_contacts(source, resolution)
        resolution = maps[name].resolution if resolution is None else resolution
        if maps[name].resolution != resolution:
            raise InputError(
                f"{name} has bins of {maps[name].resolution} bp and the first map of {resolution} bp: give "
                "maps of one resolution."
            )
    return maps


def match_chromosomes(
    maps: Mapping[str, ContactMap], chosen: Sequence[str] | None = None
) -> tuple[dict[str, list[str]], list[str]]:
    """The chromosomes that all maps have: name in the first map -> name in each map; and notes.

    `4`, `chr4` and `Chr4` are one chromosome. It needs contacts and as many bins in every map.

    Raises:
      InputError: none is left, or one of those chosen does not fit.
    """
    first = next(iter(maps.values()))
    matched: dict[str, list[str]] = {}
    notes, reason = [], ""
    for chrom in first.find_chromosomes(chosen or first.chromsizes):
        try:
            matched[chrom] = [_counterpart(each, name, first, chrom) for name, each in maps.items()]
        except InputError as error:
            if chosen:
                raise
            reason = reason or str(error)
            notes.append(f"{chrom} is left out. {error}")
    if not matched:
        raise InputError(f"The maps have no chromosome in common to compare. {reason}")
    for index, (name, each) in enumerate(maps.items()):
        renamed = [f"{own[index]} for {chrom}" for chrom, own in matched.items() if own[index] != chrom]
        if renamed:
            notes.append(f"{name} has other names: {', '.join(renamed)}.")
        used = {own[index] for own in matched.values()}
        told = {bare_name(chrom) for chrom in first.chromsizes}  # why they are left out
        more = [chrom for chrom in each.chromsizes if chrom not in used and bare_name(chrom) not in told]
        if more and index and not chosen:
            number = counted(len(more), "more chromosome")
            notes.append(f"{name} has {number}, not compared: {', '.join(more[:5])}.")
    return matched, notes


def _counterpart(contact_map: ContactMap, name: str, first: ContactMap, chrom: str) -> str:
    own, bins = contact_map.find_chromosome(chrom), first.n_bins(chrom)
    if bins < FEWEST_BINS:
        raise InputError(f"{chrom} has {bins} bins, expected at least {FEWEST_BINS}.")
    if contact_map.n_bins(own) != bins:
        raise InputError(
            f"{name} has {contact_map.n_bins(own)} bins in {own}, the first map {bins}: give maps of one "
            "genome assembly."
        )
    if not contact_map.matrix(own).nnz:
        raise InputError(f"{name} has no contacts on {own}.")
    return own


def score_scc(one: scipy.sparse.csr_array, two: scipy.sparse.csr_array, resolution: int) -> float:
    """SCC of two chromosomes at the depth of the shallower."""
    return scc.scc(*equal_depth(one, two), MAX_DIAGONAL, scc.half_width(resolution))[0]


def score_genome_disco(
    one: scipy.sparse.csr_array, two: scipy.sparse.csr_array, resolution: int, steps: int = STEPS
) -> float:
    """GenomeDISCO of two chromosomes at the depth of the shallower; long ones in wider bins."""
    factor = -(-one.shape[0] // WHOLE_BINS)
    return genome_disco(*(coarsen(each, factor) for each in equal_depth(one, two)), steps)[0]


PAIR_SCORES: dict[str, PairScore] = {"SCC": score_scc, "GenomeDISCO": score_genome_disco}
"""Scores that need no network, by the name in tables."""


def equal_depth(one: scipy.sparse.csr_array, two: scipy.sparse.csr_array) -> list[scipy.sparse.csr_array]:
    """Two chromosomes, the deeper downsampled to the contacts of the shallower if its counts are whole.

    As HiCRep and GenomeDISCO advise. The draw is the same for the same chromosomes.
    """
    totals = [float(each.data.sum(dtype=np.float64)) for each in (one, two)]
    pair = []
    for each, total in zip((one, two), totals, strict=True):
        fraction = min(totals) / total
        if fraction < 1 and each.dtype.kind in "iu":
            drawn = np.random.default_rng(each.nnz).binomial(each.data, fraction)
            each = scipy.sparse.csr_array((drawn, each.indices, each.indptr), each.shape)
        pair.append(each)
    return pair


def compare_pairs(
    maps: Mapping[str, ContactMap],
    matched: Mapping[str, Sequence[str]],
    score: PairScore,
    progress: NullProgress | None = None,
) -> np.ndarray:
    """A score of every pair of maps on every chromosome, `[chromosomes, maps, maps]`, symmetric.

    A map has 1 with itself. The matrices of one chromosome of all maps are in memory at a time.
    """
    progress = progress or NullProgress()
    pairs = list(itertools.combinations(range(len(maps)), 2))
    found = np.tile(np.eye(len(maps)), (len(matched), 1, 1))
    progress.start(len(pairs) * len(matched), "pairs")
    try:
        for index, (chrom, names) in enumerate(matched.items()):
            matrices = [each.matrix(own) for each, own in zip(maps.values(), names, strict=True)]
            resolution = next(iter(maps.values())).resolution
            for i, j in pairs:
                found[index, i, j] = found[index, j, i] = score(matrices[i], matrices[j], resolution)
                progress.advance(1, chrom)
    finally:
        progress.close()
    return found
