"""Maps small enough to draw, and the regions to zoom in on."""

import functools

import numpy as np
import scipy.sparse

from hicfm_jax.evaluate.comparison import Thumbnail, ZoomRegion
from hicfm_jax.evaluate.scores.diagonals import coarsen, dense, mean_by_distance
from hicfm_jax.evaluate.scores.foci import Foci

MOST_PIXELS = 700  # of an image's side
MOST_REGIONS = 3
AROUND = 20  # bins to each side of a focus


def choose_regions(foci: Foci, bins: int, bin_size: int, origin: int = 0) -> list[ZoomRegion]:
    """Squares around the strongest foci, or one at the middle of the diagonal without foci.

    `bins` are those in which foci are called, `bin_size` bp each; the first one begins at `origin`.
    """
    side, mb = min(2 * AROUND + 1, bins), functools.partial(_mb, bin_size=bin_size, origin=origin)
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


def _mb(index: int, bin_size: int, origin: int) -> str:
    return f"{(origin + (index + 0.5) * bin_size) / 1e6:.2f}"
