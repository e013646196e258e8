"""Picture of single cells beside their predicted maps."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hicfm_jax.contacts import ContactMap
from hicfm_jax.evaluate.report.figures import DPI, fall, png
from hicfm_jax.evaluate.scores.diagonals import coarsen, dense

MOST_BINS = 300  # of a panel's side; more are summed
SHOWN = 3
"""Cells in a picture."""


class CellView(NamedTuple):
    """One chromosome of a cell and of its prediction: titles, images `[n, n]`, and its length in Mb."""

    titles: tuple[str, str]
    images: tuple[np.ndarray, np.ndarray]
    length: float


def view_cell(name: str, cell: ContactMap, predicted: ContactMap) -> CellView:
    """The chromosome of the prediction on which the cell has most contacts."""
    counts = {chrom: cell.matrix(chrom).data.sum() for chrom in predicted.chromsizes}
    chrom = max(counts, key=counts.get)
    matrices = cell.matrix(chrom), predicted.matrix(chrom)
    factor = -(-cell.n_bins(chrom) // MOST_BINS)
    images = tuple(dense(coarsen(matrix, factor)) for matrix in matrices)
    totals = [f"{matrix.data.sum():,.0f} contacts" for matrix in matrices]
    titles = f"{name}, {chrom}: {totals[0]}", f"prediction: {totals[1]}"
    return CellView(titles, images, cell.chromsizes[chrom] / 1e6)


def draw_cells(views: Sequence[CellView]) -> bytes:
    """A PNG with a row per cell: its contacts and the predicted map, each on its own logarithmic scale."""
    figure = Figure(figsize=(8.4, 3.9 * len(views)), dpi=DPI, layout="constrained")
    for axes, view in zip(figure.subplots(len(views), 2, squeeze=False), views, strict=True):
        for axis, title, image in zip(axes, view.titles, view.images, strict=True):
            off = image[np.triu_indices_from(image, 1)]
            low, high = np.percentile(off[off > 0], [2, 99.5]) if (off > 0).any() else (0.5, 1.0)
            norm, extent = LogNorm(low / 2, max(high, low * 2)), [0, view.length, view.length, 0]
            shown = axis.imshow(image, cmap=fall(), norm=norm, extent=extent, interpolation="nearest")
            axis.set_title(title, fontsize=9)
            axis.set_xlabel("Mb", fontsize=8)
            axis.tick_params(labelsize=7, length=2)
            bar = figure.colorbar(shown, ax=axis, shrink=0.75, pad=0.02, label="contacts per pixel")
            bar.ax.tick_params(labelsize=7)
    return png(figure)
