"""Simulated Arabidopsis Hi-C maps: counts drawn around `expected_counts.Intensity`."""

import itertools
from collections.abc import Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.simulation import tair10
from hicfm_jax.contacts.simulation.expected_counts import Intensity
from hicfm_jax.errors import InputError

MIN_RESOLUTION = 2_000  # bp
MAX_CONTACTS = 1e12  # far above any experiment, and far below where 64 bits wrap around
CLUSTERS_BELOW = 10.0  # expected counts, see `_draw`


def simulate(
    contacts: float = 100e6,
    resolution: int = 30_000,
    seed: int = 0,
    trans_fraction: float = 0.0,
    chromosomes: Sequence[str] | None = None,
) -> ContactMap:
    """Simulates one assay of *Arabidopsis thaliana*, TAIR10 lengths.

    The genome is the same for all seeds. A seed is an assay, with its own strength of compartments and foci,
    part of the fine structure and of the coverage, and noise. The same arguments give the same map, bit by
    bit.

    Args:
      contacts: expected `total_count` of the map, up to `MAX_CONTACTS`.
      resolution: bin width in bp, 2,000 or more.
      seed: 0 or more.
      trans_fraction: of the contacts, 0 or more, below 1.
      chromosomes: names to simulate; None: all five.

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
    if not names or set(chromosomes or ()) - set(names):
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
    cis, trans = [(chrom, chrom) for chrom in names], list(itertools.combinations(names, 2))
    for pairs, fraction in ((cis, 1 - trans_fraction), (trans if trans_fraction else [], trans_fraction)):
        blocks = (block for pair in pairs for _, _, block in intensity.blocks(*pair))
        expected = sum(float(block.sum(dtype=np.float64)) for block in blocks)
        for pair in pairs:
            indices = [list(tair10.CHROMSIZES).index(chrom) for chrom in pair]
            rng = np.random.default_rng([int(seed), 3, *indices])
            scale, noise = contacts * fraction / expected, contacts * tair10.NOISE_AT_DEPTH
            matrices[pair] = _sample(intensity, pair, scale, noise, rng)
    chromsizes = {chrom: tair10.CHROMSIZES[chrom] for chrom in names}
    return ContactMap(chromsizes, int(resolution), matrices, f"simulated Arabidopsis map (seed {int(seed)})")


def _sample(
    intensity: Intensity, pair: tuple[str, str], scale: float, noise: float, rng: np.random.Generator
) -> scipy.sparse.csr_array:
    """Counts of a pair, drawn around its expected counts times `scale`."""
    rows = []
    for _, first_column, block in intensity.blocks(*pair):
        drawn = scipy.sparse.csr_array(_draw(rng, block.astype(np.float64) * scale, noise))
        # Half the memory, except in very deep maps.
        counts = drawn.data.astype(np.int32 if drawn.max() <= np.iinfo(np.int32).max else np.int64)
        shape = drawn.shape[0], first_column + drawn.shape[1]
        rows.append(scipy.sparse.csr_array((counts, drawn.indices + first_column, drawn.indptr), shape))
    return scipy.sparse.vstack(rows, format="csr")


def _draw(rng: np.random.Generator, mean: np.ndarray, noise: float) -> np.ndarray:
    """Negative binomial counts with variance / mean = 1 + noise.

    Low means are drawn as a Poisson number of clusters of logarithmic size: the same distribution, and one
    cheap draw per pixel where most pixels are empty.
    """
    counts = rng.poisson(np.where(mean < CLUSTERS_BELOW, mean, 0) * (np.log1p(noise) / noise)).ravel()
    some = np.flatnonzero(counts)
    if some.size:
        sizes = rng.logseries(noise / (1 + noise), int(counts[some].sum()))
        ends = np.cumsum(counts[some])
        counts[some] = np.add.reduceat(sizes, np.concatenate([[0], ends[:-1]]))
    counts = counts.reshape(mean.shape)
    high = mean >= CLUSTERS_BELOW
    counts[high] = rng.negative_binomial(mean[high] / noise, 1 / (1 + noise))
    return counts
