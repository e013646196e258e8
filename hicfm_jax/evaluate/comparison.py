"""Result of a comparison: scores, and maps small enough to draw."""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import numpy as np
import scipy.sparse

from hicfm_jax.evaluate.scores import SCORES
from hicfm_jax.evaluate.scores.diagonals import coarsen, dense, mean_by_distance
from hicfm_jax.evaluate.scores.foci import Foci

POOLED = "pooled"  # in place of a chromosome: all evaluated ones together
TRANS = "trans"  # in place of a chromosome: the pixels between all evaluated ones


class ScoredValue(NamedTuple):
    """A score, NaN where it is undefined, and its weight in a mean over chromosomes."""

    value: float
    weight: float


@dataclasses.dataclass(frozen=True)
class Record:
    """All scores of one map on one chromosome.

    Attributes:
      map: its name.
      chromosome: of the reference, `POOLED` or `TRANS`.
      scores: by name, see `scores.SCORES`.
      baseline: whether it is a built-in baseline.
      settings: the widths of a baseline, else empty.
    """

    map: str
    chromosome: str
    scores: Mapping[str, ScoredValue]
    baseline: bool = False
    settings: str = ""


@dataclasses.dataclass(frozen=True)
class ZoomRegion:
    """A square of a chromosome to zoom in on: first bins and side, in bins of `bin_size` bp."""

    row: int
    column: int
    side: int
    bin_size: int
    label: str


@dataclasses.dataclass(frozen=True)
class Thumbnail:
    """One map on one chromosome, small enough to draw.

    Attributes:
      image: mean counts of squares of pixels, both triangles, `[m, m]` float32.
      zooms: counts in the chromosome's regions, `[side, side]` each.
      decay: mean counts at each distance, `[n]`.
      spearman: at diagonals 1, 2, …; empty for the reference.
      scale: factor that brings the counts to the reference's total, for drawing only.
    """

    image: np.ndarray
    zooms: list[np.ndarray]
    decay: np.ndarray
    spearman: np.ndarray
    scale: float


@dataclasses.dataclass(frozen=True)
class ChromosomeView:
    """One evaluated chromosome.

    Attributes:
      name: in the reference.
      origin, length: of the part that is evaluated, bp.
      whole_resolution: bp; bins of the scores that need the whole map at once.
      data_range: of SSIM and PSNR, in log10(1 + count).
      foci: (position 1, position 2, enrichment) of the reference's foci, positions in bp, strongest first.
      regions: of `Thumbnail.zooms`.
      thumbnails: by map name in the order of the maps; `reference` comes last.
    """

    name: str
    origin: int
    length: int
    whole_resolution: int
    data_range: float
    foci: list[tuple[int, int, float]]
    regions: list[ZoomRegion]
    thumbnails: dict[str, Thumbnail]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Scores and pictures of all maps; iterates over its records.

    Attributes:
      reference: name of the reference.
      resolution: bin width of the maps, bp.
      settings: parameters of the scores, name -> value, for people.
      records: by map and chromosome, the pooled ones of all maps first.
      chromosomes: the evaluated ones.
      shallow: name of the map that the baselines are made from; None without them.
      warnings: reasons not to trust a score, one sentence each.
      notes: what was left out or chosen, one sentence each.
      files: URI of the reference and of each map that was read from a file, by name.
    """

    reference: str
    resolution: int
    settings: dict[str, str]
    records: list[Record]
    chromosomes: list[ChromosomeView]
    shallow: str | None
    warnings: list[str]
    notes: list[str]
    files: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def __iter__(self) -> Iterator[Record]:
        return iter(self.records)

    def __len__(self) -> int:
        return len(self.records)

    def score(self, map: str, name: str, chromosome: str = POOLED) -> float:
        """One value, by the names of map, score and chromosome; KeyError if it is missing."""
        for record in self.records:
            if record.map == map and record.chromosome == chromosome:
                return record.scores[name].value
        raise KeyError((map, chromosome))

    def of(self, chromosome: str) -> list[Record]:
        """The records of one chromosome, of `POOLED` or of `TRANS`, in the order of the maps."""
        return [record for record in self.records if record.chromosome == chromosome]


def pool(records: list[Record]) -> Record:
    """One map's records on all chromosomes as one: weighted means of the scores that are not NaN."""
    scores = {}
    for name in SCORES:
        known = [record.scores[name] for record in records if not math.isnan(record.scores[name].value)]
        weight = sum(score.weight for score in known)
        value = sum(score.value * score.weight for score in known) / weight if weight else math.nan
        scores[name] = ScoredValue(value, weight)
    return dataclasses.replace(records[0], chromosome=POOLED, scores=scores)


MOST_PIXELS = 700  # of an image's side
MOST_REGIONS = 3
AROUND = 20  # bins to each side of a focus


def choose_regions(foci: Foci, bins: int, bin_size: int, origin: int = 0) -> list[ZoomRegion]:
    """Squares around the strongest foci, or one at the middle of the diagonal without foci.

    `bins` are those in which foci are called, `bin_size` bp each; the first one begins at `origin`.
    """
    side = min(2 * AROUND + 1, bins)

    def mb(index: int) -> str:
        return f"{(origin + (index + 0.5) * bin_size) / 1e6:.2f}"

    if not len(foci):
        first = (bins - side) // 2
        return [ZoomRegion(first, first, side, bin_size, f"around {mb(first + side // 2)} Mb")]
    regions: list[ZoomRegion] = []
    for row, column, enrichment in zip(foci.rows, foci.columns, foci.enrichment, strict=True):
        first = [int(np.clip(center - AROUND, 0, bins - side)) for center in (row, column)]
        if any(abs(first[0] - other.row) + abs(first[1] - other.column) < AROUND for other in regions):
            continue
        label = f"{mb(row)} x {mb(column)} Mb, {enrichment:.1f} times its ring"
        regions.append(ZoomRegion(*first, side, bin_size, label))
        if len(regions) == MOST_REGIONS:
            break
    return regions


def make_thumbnail(
    matrix: scipy.sparse.sparray,
    regions: list[ZoomRegion],
    resolution: int,
    spearman: np.ndarray,
    scale: float,
) -> Thumbnail:
    """The thumbnail of a chromosome's counts `[n, n]`, upper triangle; see `Thumbnail`."""
    size = matrix.shape[0]
    factor = -(-size // MOST_PIXELS)
    summed = dense(coarsen(matrix, factor))
    # A square on the diagonal has each contact of two different bins once.
    np.fill_diagonal(summed, summed.diagonal() * (2 * factor / (factor + 1)))
    widths = np.minimum(factor, size - factor * np.arange(len(summed)))
    zooms = []
    if regions:
        whole = coarsen(matrix, regions[0].bin_size // resolution)
        whole = (whole + scipy.sparse.triu(whole, 1).T).tocsr()
        for region in regions:
            rows, columns = (slice(first, first + region.side) for first in (region.row, region.column))
            zooms.append(whole[rows, columns].toarray() * scale)
    return Thumbnail(
        image=(summed / np.outer(widths, widths) * scale).astype(np.float32),
        zooms=zooms,
        decay=mean_by_distance(matrix),
        spearman=spearman,
        scale=scale,
    )
