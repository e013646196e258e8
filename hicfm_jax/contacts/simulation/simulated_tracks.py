"""Simulated tracks along a chromosome: compartments, texture, domains and coverage.

Tracks are made at 1 kb and averaged into bins. Most of each is the same for every seed and resolution; the
rest belongs to the assay.
"""

import dataclasses

import numpy as np

from hicfm_jax.contacts.simulation import tair10

GRID = 1_000  # bp
EDGE = 50_000.0  # bp; half the width of a border between arm and heterochromatin
GENOME_SEED = 15  # for what all assays share; of twenty, one with telomeres and knob as measured
ASSAY_FRACTION = 0.3  # of the variance of texture and coverage that belongs to one assay

# (length scale in bp, standard deviation of the log contact frequency, number of tracks): pixels attract
# where a track has the same sign at both ends. The scales together follow the covariance of the real map's
# observed/expected on arms along the diagonal: its root is 0.2-0.27 one bin of 30 kb away, 0.13-0.19 five,
# 0.1-0.15 twenty.
TEXTURE = ((25_000, 0.15, 2), (120_000, 0.13, 2), (600_000, 0.14, 2))

# (length scale in bp, standard deviation of the log coverage). At 30 kb: 0.2 in all.
COVERAGE = ((2_000, 0.33), (100_000, 0.06))


@dataclasses.dataclass(frozen=True)
class Tracks:
    """Tracks of a chromosome, float32.

    Attributes:
      heterochromatin: 0 on arms to 1 in pericentromeres and the knob, `[n]`.
      side: heterochromatin, negative left of the centromere, `[n]`.
      texture: tracks whose product is the fine structure of the log contact frequency, `[n, tracks]`.
      domain: gene-scale boundaries summed up from the left, `[n]`.
      coverage: relative coverage, about 1; 0 where nothing maps, `[n]`.
    """

    heterochromatin: np.ndarray
    side: np.ndarray
    texture: np.ndarray
    domain: np.ndarray
    coverage: np.ndarray


def simulate_tracks(chrom: str, resolution: int, seed: int) -> Tracks:
    """The tracks of a chromosome of `tair10.CHROMSIZES` for one assay (`seed`), resolution in bp."""
    size = tair10.CHROMSIZES[chrom]
    index = list(tair10.CHROMSIZES).index(chrom)
    genome = np.random.default_rng([GENOME_SEED, index])
    assay = np.random.default_rng([seed, index, 1])
    n = -(-size // GRID)
    position = (np.arange(n) + 0.5) * GRID

    def track(length: float) -> np.ndarray:
        shared, own = (_smooth_noise(rng, n, length / GRID) for rng in (genome, assay))
        return np.sqrt(1 - ASSAY_FRACTION) * shared + np.sqrt(ASSAY_FRACTION) * own

    regions = [tair10.PERICENTROMERES[chrom]]
    if chrom == tair10.KNOB[0]:
        regions.append(tair10.KNOB[1:])
    starts, ends = np.array(regions).T[..., None]
    plateaus = np.tanh((position - starts) / EDGE) - np.tanh((position - ends) / EDGE)  # [regions, n]
    heterochromatin = 0.5 * plateaus.max(axis=0)
    side = heterochromatin * np.tanh((position - np.mean(regions[0])) / 100_000)

    texture = [np.sqrt(sd / np.sqrt(k)) * track(length) for length, sd, k in TEXTURE for _ in range(k)]
    boundaries = genome.random(n) < GRID / 90_000
    domain = np.cumsum(boundaries * genome.gamma(1.0, 1.0, n))
    coverage = np.exp(sum(sd * track(length) for length, sd in COVERAGE))
    coverage = coverage * _mappability(genome, position, regions[0])

    def binned(values: np.ndarray) -> np.ndarray:
        return _bin_means(values, size, resolution).astype(np.float32)

    texture = np.stack([binned(values) for values in texture], axis=1)
    return Tracks(binned(heterochromatin), binned(side), texture, binned(domain), binned(coverage))


def _smooth_noise(rng: np.random.Generator, n: int, sigma: float) -> np.ndarray:
    """Gaussian noise of unit variance, smoothed by a Gaussian of `sigma` points, `[n]`."""
    # The Fourier transform joins the ends, so four sigma are added and cut off.
    longer = n + int(4 * sigma)
    gain = np.exp(-2 * (np.pi * sigma * np.fft.rfftfreq(longer)) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(rng.standard_normal(longer)) * gain, longer)[:n]
    # The filter leaves the variance 1 / (2 sqrt(pi) sigma) of white noise.
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def _mappability(
    rng: np.random.Generator, position: np.ndarray, pericentromere: tuple[int, int]
) -> np.ndarray:
    """1 where reads map; 0 in centromeric repeats and a few other regions, about 2.5 % of the genome."""
    start, end = pericentromere
    mappable = np.ones(len(position))
    core = rng.uniform(0.4, 0.55) * 1e6
    regions = [(np.mean(pericentromere) - core / 2, core)]
    regions += [(rng.uniform(start, end), rng.uniform(30e3, 70e3)) for _ in range(3)]
    regions += [(rng.uniform(0, position[-1]), rng.uniform(30e3, 60e3)) for _ in range(2)]
    for first, length in regions:
        mappable[(position >= first) & (position < first + length)] = 0
    return mappable


def _bin_means(values: np.ndarray, size: int, resolution: int) -> np.ndarray:
    edges = np.minimum(np.arange(-(-size // resolution) + 1) * resolution, size) / GRID
    summed = np.interp(edges, np.arange(len(values) + 1), np.concatenate([[0.0], np.cumsum(values)]))
    return np.diff(summed) / np.diff(edges)
