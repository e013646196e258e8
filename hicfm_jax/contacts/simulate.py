"""A simulated Arabidopsis Hi-C map, for when there is no real one: any depth, bins of 2 kb and up.

The facts and their sources are in `tair10.py`, what varies along a chromosome in `landscape.py`,
what is expected of a pixel in `intensity.py`; here the counts are drawn.
"""

import itertools
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import tair10
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.expected_counts import Intensity
from hicfm_jax.errors import InputError

MIN_RESOLUTION = 2_000  # bp
MAX_CONTACTS = 1e12  # far above any experiment, and far below where 64 bits wrap around
DIRECTLY_FROM = 10.0  # expected counts; fewer are drawn as clusters


def simulate(
    contacts: float = 100e6,
    resolution: int = 30_000,
    seed: int = 0,
    trans_fraction: float = 0.0,
    chromosomes: Sequence[str] | None = None,
) -> ContactMap:
    """Simulates one assay of *Arabidopsis thaliana*, TAIR10 lengths.

    The genome is the same for all seeds. A seed is an assay: depth of compartments, strength of foci,
    a part of the fine structure and of the coverage, and the noise are its own. The same arguments give
    the same map, bit by bit.

    Args:
      contacts: expected contacts of the map, up to `MAX_CONTACTS`; its `total_count` scatters around
        them as counts do.
      resolution: bin width in bp, 2,000 or more.
      seed: the assay, 0 or more.
      trans_fraction: share of the contacts that lie between chromosomes, 0 or more, below 1.
      chromosomes: names to keep; None keeps all five.

    Raises:
      InputError: an argument out of its range.
    """
    if not 0 < contacts <= MAX_CONTACTS:
        raise InputError(
            f"contacts={contacts} cannot be simulated: give a number above 0, at most {MAX_CONTACTS:g}."
        )
    if resolution != int(resolution) or not MIN_RESOLUTION <= resolution <= min(tair10.CHROMSIZES.values()):
        raise InputError(
            f"resolution={resolution} cannot be simulated: give whole bp from {MIN_RESOLUTION} "
            "up to a chromosome."
        )
    if seed != int(seed) or seed < 0:
        raise InputError(f"seed={seed} is no seed: give a whole number of 0 or more.")
    names = [chrom for chrom in tair10.CHROMSIZES if chromosomes is None or chrom in chromosomes]
    if not names or (chromosomes is not None and set(chromosomes) - set(names)):
        raise InputError(
            f"chromosomes={chromosomes} cannot be simulated: choose from {', '.join(tair10.CHROMSIZES)}."
        )
    if not 0 <= trans_fraction < 1 or (trans_fraction and len(names) == 1):
        raise InputError(
            f"trans_fraction={trans_fraction} of {len(names)} chromosomes is out of range: "
            "give 0 or more, below 1, and 0 for a single chromosome."
        )

    intensity = Intensity(names, int(resolution), int(seed))
    matrices = {}
    for pairs, share in (
        ([(chrom, chrom) for chrom in names], 1 - trans_fraction),
        (list(itertools.combinations(names, 2)) if trans_fraction else [], trans_fraction),
    ):
        blocks = (block for pair in pairs for _, _, block in intensity.blocks(*pair))
        expected = sum(float(block.sum(dtype=np.float64)) for block in blocks)
        for pair in pairs:
            indices = [list(tair10.CHROMSIZES).index(chrom) for chrom in pair]
            matrices[pair] = _sample(
                intensity,
                pair,
                contacts * share / expected,
                contacts * tair10.NOISE_AT_DEPTH,
                np.random.default_rng([int(seed), 3, *indices]),
            )
    chromsizes = {chrom: tair10.CHROMSIZES[chrom] for chrom in names}
    return ContactMap(chromsizes, int(resolution), matrices, f"simulated Arabidopsis map (seed {int(seed)})")


def _sample(
    intensity: Intensity, pair: tuple[str, str], scale: float, noise: float, rng: np.random.Generator
) -> scipy.sparse.csr_array:
    counts, columns, row_sizes = [], [], []
    width = 0
    for _, first_column, block in intensity.blocks(*pair):
        drawn = _draw(rng, block.astype(np.float64) * scale, noise)
        rows, cols = np.nonzero(drawn)
        fits = drawn.max() <= np.iinfo(np.int32).max  # half the memory, but for very deep maps
        counts.append(drawn[rows, cols].astype(np.int32 if fits else np.int64))
        columns.append((cols + first_column).astype(np.int32))
        row_sizes.append(np.bincount(rows, minlength=len(block)))
        width = first_column + block.shape[1]
    starts = np.concatenate([[0], np.cumsum(np.concatenate(row_sizes))])
    shape = len(starts) - 1, width
    return scipy.sparse.csr_array((np.concatenate(counts), np.concatenate(columns), starts), shape)


def _draw(rng: np.random.Generator, mean: np.ndarray, noise: float) -> np.ndarray:
    """Negative binomial counts with variance / mean = 1 + noise.

    Low means are drawn as a Poisson number of clusters of logarithmic size, which is the same law and
    takes one cheap draw a pixel where most pixels stay empty.
    """
    counts = rng.poisson(np.where(mean < DIRECTLY_FROM, mean, 0) * (np.log1p(noise) / noise)).ravel()
    some = np.flatnonzero(counts)
    if some.size:
        sizes = rng.logseries(noise / (1 + noise), int(counts[some].sum()))
        ends = np.cumsum(counts[some])
        counts[some] = np.add.reduceat(sizes, np.concatenate([[0], ends[:-1]]))
    counts = counts.reshape(mean.shape)
    high = mean >= DIRECTLY_FROM
    counts[high] = rng.negative_binomial(mean[high] / noise, 1 / (1 + noise))
    return counts
