"""Maps made small enough to draw, and the places worth a closer look."""

import numpy as np
import scipy.sparse

from hicfm_jax.evaluate.comparison import Portrait, Window
from hicfm_jax.evaluate.scores.diagonals import coarsen, dense, mean_by_distance
from hicfm_jax.evaluate.scores.foci import Foci

MOST_PIXELS = 700  # of an image's side
MOST_WINDOWS = 3
AROUND = 20  # bins to each side of a focus


def choose_windows(foci: Foci, bins: int, bin_size: int) -> list[Window]:
    """Squares around the strongest foci, or one on the diagonal if there are none.

    Args:
      foci: of the reference.
      bins: of the chromosome, at the width that foci were found at.
      bin_size: that width, bp.
    """
    side = min(2 * AROUND + 1, bins)
    if not len(foci):
        first = (bins - side) // 2
        return [Window(first, first, side, bin_size, f"around {_mb(first + side // 2, bin_size)} Mb")]
    windows: list[Window] = []
    for row, column, enrichment in zip(foci.rows, foci.columns, foci.enrichment, strict=True):
        first = [int(np.clip(place - AROUND, 0, bins - side)) for place in (row, column)]
        near = any(abs(first[0] - w.row) + abs(first[1] - w.column) < AROUND for w in windows)
        if near:
            continue
        label = f"{_mb(row, bin_size)} x {_mb(column, bin_size)} Mb, {enrichment:.1f} times its ring"
        windows.append(Window(*first, side, bin_size, label))
        if len(windows) == MOST_WINDOWS:
            break
    return windows


def make_portrait(
    matrix: scipy.sparse.sparray,
    windows: list[Window],
    resolution: int,
    spearman: np.ndarray,
    scale: float,
) -> Portrait:
    """What pictures need of a chromosome's counts `[n, n]`, upper triangle; see `Portrait`."""
    size = matrix.shape[0]
    factor = -(-size // MOST_PIXELS)
    summed = dense(coarsen(matrix, factor))
    # A square on the diagonal holds each contact of two of its bins once.
    np.fill_diagonal(summed, summed.diagonal() * (2 * factor / (factor + 1)))
    widths = np.minimum(factor, size - factor * np.arange(len(summed)))
    zooms = []
    if windows:
        focus_factor = windows[0].bin_size // resolution
        whole = coarsen(matrix, focus_factor)
        whole = whole + scipy.sparse.triu(whole, 1).T
        for window in windows:
            rows, columns = (slice(first, first + window.side) for first in (window.row, window.column))
            zooms.append(whole.tocsr()[rows, columns].toarray() * scale)
    return Portrait(
        image=(summed / np.outer(widths, widths) * scale).astype(np.float32),
        zooms=zooms,
        decay=mean_by_distance(matrix),
        spearman=spearman,
        scale=scale,
    )


def _mb(place: int, bin_size: int) -> str:
    return f"{(place + 0.5) * bin_size / 1e6:.2f}"
