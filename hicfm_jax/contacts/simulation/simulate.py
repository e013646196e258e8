"""Simulated Arabidopsis Hi-C maps: counts drawn around expected counts.

These are decay with distance x coverage of both bins x compartments x fine structure x domains x foci.
"""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.simulation import tair10
from hicfm_jax.contacts.simulation.simulated_tracks import TEXTURE, Tracks, simulate_tracks
from hicfm_jax.errors import InputError

BLOCK_PIXELS = 2_000_000  # computed at once
FOCUS_SIGMA = 30_000  # bp; means of 3 x 3, 5 x 5 and 9 x 9 pixels of 30 kb at the real foci fit this Gaussian
FOCUS_MEAN = 0.245  # of that Gaussian over the 150 kb square around its top
FOCUS_SEED = 11  # for what all assays share
TELOMERE_LENGTH = 270_000  # bp; the real excess over the outer 0.12, 0.3, 0.6 and 1.2 Mb falls like this
DOMAIN_REACH = 300_000  # bp
DOMAIN_STRENGTH = 0.25  # log contact frequency lost across one full boundary
FAR = (2_000_000, 6_000_000), (1.0, 1.8)
"""Distances in bp, and factors of the texture there: the real map's observed/expected varies more between
distant loci of an arm."""


class Intensity:
    """Expected counts of an assay's chromosome pairs, up to one factor.

    Args:
      chromosomes: names of `tair10.CHROMSIZES`.
      resolution: bin width in bp.
      seed: the assay.
    """

    def __init__(self, chromosomes: list[str], resolution: int, seed: int):
        self.resolution = resolution
        self.tracks = {chrom: simulate_tracks(chrom, resolution, seed) for chrom in chromosomes}
        # Logs of observed/expected: heterochromatin with arms, with itself, on one side of the centromere.
        logs = np.log(0.54), np.log(2.0), 0.3
        varied = np.random.default_rng([seed, 2]).uniform(0.9, 1.1, 4) * [*logs, 1.0]
        self._with_arm, self._with_itself, self._one_side, self._foci_strength = varied

    def blocks(self, chrom1: str, chrom2: str) -> Iterator[tuple[int, int, np.ndarray]]:
        """Yields (first row, first column, expected counts), some rows at a time down the whole pair.

        Columns run to the end of chrom2. Cis blocks begin at the diagonal and are 0 below it.
        """
        one, two = self.tracks[chrom1], self.tracks[chrom2]
        cis = chrom1 == chrom2
        n1, n2 = len(one.coverage), len(two.coverage)
        row, col = self._bias(one), self._bias(two)
        left, right = self._compartments(one, cis), self._compartments(two, cis)
        focus_row, focus_col = self._foci(chrom1, chrom2)
        if cis:
            decay, spread = (_by_diagonal(values) for values in self._by_distance(n1))
            reach = min(DOMAIN_REACH // self.resolution, n1 - 1) + 1
            insulation = [_insulation(one.domain[: n1 - d], one.domain[d:]).mean() for d in range(reach)]
        step = max(1, BLOCK_PIXELS // n2)
        for first in range(0, n1, step):
            rows = slice(first, min(first + step, n1))
            cols = slice(first if cis else 0, n2)
            block = left[rows] @ right[cols].T
            if cis:
                texture = one.texture[rows] @ one.texture[cols].T
                texture *= spread[rows, cols]
                block += texture
                block += decay[rows, cols]
                _add_domains(block, rows, one.domain, insulation)
            np.exp(block, out=block)
            block *= row[rows, None]
            block *= col[None, cols]
            if focus_row.shape[1]:
                extra = focus_row[rows] @ focus_col[cols].T
                extra += 1
                block *= extra
            yield rows.start, cols.start, np.triu(block) if cis else block

    def _bias(self, tracks: Tracks) -> np.ndarray:
        return tracks.coverage * np.exp(np.float32(self._with_arm) * tracks.heterochromatin)

    def _compartments(self, tracks: Tracks, cis: bool) -> np.ndarray:
        # Degrees a, b of heterochromatin: log O/E = arm (a + b) + (itself - 2 arm) a b; `_bias` has the
        # first term.
        factors = [np.sqrt(self._with_itself - 2 * self._with_arm) * tracks.heterochromatin]
        if cis:
            factors.append(np.sqrt(self._one_side) * tracks.side)
        return np.stack(factors, axis=1).astype(np.float32)

    def _by_distance(self, n: int) -> tuple[np.ndarray, np.ndarray]:
        """Log contact density averaged over each pixel, and the factor of the texture, `[n]` each."""
        offset = (np.arange(-60, 60) + 0.5) / 60
        weight = (1 - np.abs(offset)) / 60
        distance = np.abs(np.arange(n)[:, None] + offset) * self.resolution
        knots = np.log(list(tair10.DECAY)), np.log(list(tair10.DECAY.values()))
        density = np.exp(np.interp(np.log(distance), *knots)) @ weight
        density[0] /= 2  # a pixel on the diagonal is half a square

        middle = np.maximum(np.arange(n), 0.5) * self.resolution
        spread = np.interp(np.log(middle), np.log(FAR[0]), FAR[1])
        log_density = np.log(density)
        for length, sd, tracks in TEXTURE:
            # E exp(t g h) = ((1 - t r)^2 - t^2)^(-1/2) for unit normals of correlation r: divided out, so
            # that the texture does not change the decay.
            t = sd / np.sqrt(tracks) * spread
            r = np.exp(-((middle / (2 * length)) ** 2))
            log_density += tracks / 2 * np.log((1 - t * r) ** 2 - t**2)
        return log_density.astype(np.float32), spread.astype(np.float32)

    def _foci(self, chrom1: str, chrom2: str) -> tuple[np.ndarray, np.ndarray]:
        """What foci add, relative to the contacts there: `[n1, foci]` and `[n2, foci]` to multiply."""
        n1, n2 = (len(self.tracks[chrom].coverage) for chrom in (chrom1, chrom2))
        rows, cols = [np.zeros(n1)], [np.zeros(n2)]
        for one, two in itertools.combinations(range(len(tair10.KEE)), 2):
            locus1, locus2 = tair10.KEE[one], tair10.KEE[two]
            if (locus1[0], locus2[0]) == (chrom1, chrom2):
                mean = np.random.default_rng([FOCUS_SEED, one, two]).uniform(6.5, 14)
                rows.append((mean * self._foci_strength - 1) / FOCUS_MEAN * self._bump(n1, locus1))
                cols.append(self._bump(n2, locus2))
        if chrom1 == chrom2:
            inwards = np.exp(-(np.arange(n1) + 0.5) * self.resolution / TELOMERE_LENGTH)
            outer = inwards[: max(1, 1_000_000 // self.resolution)].mean()
            rows.append((tair10.TELOMERES[chrom1] - 1) / outer**2 * inwards)
            cols.append(inwards[::-1])
        return np.stack(rows, axis=1).astype(np.float32), np.stack(cols, axis=1).astype(np.float32)

    def _bump(self, n: int, locus: tuple[str, int, int]) -> np.ndarray:
        position = (np.arange(n) + 0.5) * self.resolution
        # The focus is averaged over bins that are wider than it.
        sigma = np.hypot(FOCUS_SIGMA, self.resolution / np.sqrt(12))
        return FOCUS_SIGMA / sigma * np.exp(-0.5 * ((position - (locus[1] + locus[2]) / 2) / sigma) ** 2)


def _by_diagonal(values: np.ndarray) -> np.ndarray:
    """View of `[n]` as the symmetric `[n, n]` with `values[|i - j|]` at (i, j), without copying."""
    mirrored = np.concatenate([values[:0:-1], values])
    return np.lib.stride_tricks.sliding_window_view(mirrored, len(values))[::-1]


def _add_domains(block: np.ndarray, rows: slice, domain: np.ndarray, means: list[float]) -> None:
    """Moves contacts at each distance from across boundaries to within domains; `means` of `_insulation`."""
    for d, mean in enumerate(means):
        i = np.arange(rows.start, min(rows.stop, len(domain) - d))
        excess = mean - _insulation(domain[i], domain[i + d])
        block[i - rows.start, i - rows.start + d] += DOMAIN_STRENGTH * excess


def _insulation(domain1: np.ndarray, domain2: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(domain2 - domain1), 1)


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
