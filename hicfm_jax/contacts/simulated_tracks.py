"""What a simulated assay sees along each chromosome: compartments, texture, coverage, mappability.

The genome's own part is the same for every seed and resolution (tracks live on a 1 kb grid and are
averaged into bins); a smaller part belongs to the assay.
"""

import dataclasses

import numpy as np

from hicfm_jax.contacts import tair10

GRID = 1_000  # bp
GENOME_SEED = 15  # of what all assays share; chosen of twenty for leaving telomeres and knob as measured
OWN_SHARE = 0.3  # of the variance of texture and coverage that belongs to one assay

# (length scale in bp, standard deviation of the log contact frequency, number of tracks): pixels attract
# where a track has the same sign at both ends. The scales together follow the covariance of the real map's
# observed/expected on arms along the diagonal: its root is 0.2-0.27 one bin of 30 kb away, 0.13-0.19 five,
# 0.1-0.15 twenty.
TEXTURE = ((25_000, 0.15, 2), (120_000, 0.13, 2), (600_000, 0.14, 2))

# (length scale in bp, standard deviation of the log coverage). At 30 kb: 0.2 in all.
COVERAGE = ((2_000, 0.33), (100_000, 0.06))


@dataclasses.dataclass(frozen=True)
class Landscape:
    """Tracks along the `n` bins of a chromosome, float32.

    Attributes:
      heterochromatin: 0 on arms to 1 in pericentromeres and the knob, `[n]`.
      side: heterochromatin left (-1) or right (+1) of the centromere, times its degree, `[n]`.
      texture: tracks whose product is the log contact frequency's fine structure, `[n, tracks]`.
      domain: gene-scale boundaries summed up from the left, `[n]`.
      coverage: visibility of a bin, about 1; 0 where nothing maps, `[n]`.
    """

    heterochromatin: np.ndarray
    side: np.ndarray
    texture: np.ndarray
    domain: np.ndarray
    coverage: np.ndarray


def landscape(chrom: str, resolution: int, seed: int) -> Landscape:
    """The landscape of one Arabidopsis chromosome for one assay.

    Args:
      chrom: a name of `tair10.CHROMSIZES`.
      resolution: bin width in bp.
      seed: the assay.
    """
    size = tair10.CHROMSIZES[chrom]
    index = list(tair10.CHROMSIZES).index(chrom)
    genome = np.random.default_rng([GENOME_SEED, index])
    assay = np.random.default_rng([seed, index, 1])
    n = -(-size // GRID)
    position = (np.arange(n) + 0.5) * GRID

    def track(length: float) -> np.ndarray:
        shared, own = (_smooth_noise(rng, n, length / GRID) for rng in (genome, assay))
        return np.sqrt(1 - OWN_SHARE) * shared + np.sqrt(OWN_SHARE) * own

    regions = [tair10.PERICENTROMERES[chrom]]
    if chrom == tair10.KNOB[0]:
        regions.append(tair10.KNOB[1:])
    edge = 50_000.0
    heterochromatin = np.max([_plateau(position, *region, edge) for region in regions], axis=0)
    centromere = np.mean(regions[0])
    side = heterochromatin * np.tanh((position - centromere) / 100_000)

    texture = [np.sqrt(sd / np.sqrt(k)) * track(length) for length, sd, k in TEXTURE for _ in range(k)]
    boundaries = genome.random(n) < GRID / 90_000
    domain = np.cumsum(boundaries * genome.gamma(1.0, 1.0, n))
    coverage = np.exp(sum(sd * track(length) for length, sd in COVERAGE))
    coverage = coverage * _mappability(genome, position, regions[0])

    def binned(values: np.ndarray) -> np.ndarray:
        return _bin_means(values, size, resolution).astype(np.float32)

    return Landscape(
        heterochromatin=binned(heterochromatin),
        side=binned(side),
        texture=np.stack([binned(values) for values in texture], axis=1),
        domain=binned(domain),
        coverage=binned(coverage),
    )


def _smooth_noise(rng: np.random.Generator, n: int, sigma: float) -> np.ndarray:
    """Gaussian noise of unit variance, smoothed by a Gaussian of `sigma` points, `[n]`."""
    # The Fourier transform joins the ends; beyond four sigma they no longer know of each other.
    longer = n + int(4 * sigma)
    gain = np.exp(-2 * (np.pi * sigma * np.fft.rfftfreq(longer)) ** 2)
    smooth = np.fft.irfft(np.fft.rfft(rng.standard_normal(longer)) * gain, longer)[:n]
    # The filter leaves the variance 1 / (2 sqrt(pi) sigma) of white noise.
    return smooth * np.sqrt(2 * np.sqrt(np.pi) * sigma)


def _plateau(position: np.ndarray, start: float, end: float, edge: float) -> np.ndarray:
    return 0.5 * (np.tanh((position - start) / edge) - np.tanh((position - end) / edge))


def _mappability(
    rng: np.random.Generator, position: np.ndarray, pericentromere: tuple[int, int]
) -> np.ndarray:
    """1 where reads map; about 2.5 % of the genome is 0: centromeric repeats, and single spots elsewhere."""
    start, end = pericentromere
    mappable = np.ones(len(position))
    core = rng.uniform(0.4, 0.55) * 1e6
    spots = [(np.mean(pericentromere) - core / 2, core)]
    spots += [(rng.uniform(start, end), rng.uniform(30e3, 70e3)) for _ in range(3)]
    spots += [(rng.uniform(0, position[-1]), rng.uniform(30e3, 60e3)) for _ in range(2)]
    for first, length in spots:
        mappable[(position >= first) & (position < first + length)] = 0
    return mappable


def _bin_means(values: np.ndarray, size: int, resolution: int) -> np.ndarray:
    edges = np.minimum(np.arange(-(-size // resolution) + 1) * resolution, size) / GRID
    summed = np.interp(edges, np.arange(len(values) + 1), np.concatenate([[0.0], np.cumsum(values)]))
    return np.diff(summed) / np.diff(edges)
