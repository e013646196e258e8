"""Picture of tracks below the contact map of the same region."""

import os
from collections.abc import Mapping

import numpy as np
import scipy.sparse
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.tracks import bin_edges
from hicfm_jax.evaluate.report.figures import DPI, LINES, fall, log_scale, png
from hicfm_jax.storage import write_atomically

MOST_COLUMNS = 900  # bins of the strip
STRIP = 0.2  # farthest distance in the strip, as a fraction of the region
TRUTH = "#7f7f7f"


def draw_tracks(
    contact_map: ContactMap,
    chrom: str,
    tracks: Mapping[str, np.ndarray],
    truth: Mapping[str, np.ndarray] | None = None,
) -> Figure:
    """A strip of the map along its diagonal, and the tracks below it.

    Args:
      contact_map: the map.
      chrom: the chromosome.
      tracks: name -> predicted values `[n_bins]`, NaN where there is none.
      truth: measured values of tracks of the same names, drawn in gray behind.
    """
    starts, ends = bin_edges(contact_map, chrom)
    heights = [2.0, *[0.75] * len(tracks)]
    figure = Figure(figsize=(10, 0.9 + sum(heights)), dpi=DPI, layout="constrained")
    axes = figure.subplots(len(heights), 1, sharex=True, height_ratios=heights)
    extent = 0.0, ends[-1] / 1e6
    _draw_strip(axes[0], contact_map.matrix(chrom), extent)
    axes[0].set_title(f"{contact_map.name}, {chrom}", fontsize=10, loc="left")
    middles = (starts + ends) / 2e6
    for number, (name, values) in enumerate(tracks.items()):
        axis = axes[number + 1]
        if truth and name in truth:
            axis.fill_between(middles, truth[name], color=TRUTH, alpha=0.4, linewidth=0)
        axis.plot(middles, values, color=LINES[number % len(LINES)], linewidth=0.9)
        axis.set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
        axis.tick_params(labelsize=7)
        axis.spines[["top", "right"]].set_visible(False)
        axis.locator_params(axis="y", nbins=2)
    axes[-1].set_xlabel(f"{chrom} (Mb)" + (", measured in gray" if truth else ""), fontsize=9)
    axes[-1].set_xlim(*extent)
    return figure


def save(path: str | os.PathLike, figure: Figure) -> None:
    """Writes a figure as PNG."""
    write_atomically(path, png(figure))


def _draw_strip(axis: Axes, matrix: scipy.sparse.csr_array, extent: tuple[float, float]) -> None:
    """Contacts near the diagonal: position from left to right, distance upwards."""
    size = matrix.shape[0]
    factor = -(-size // MOST_COLUMNS)
    pixels = matrix.tocoo()
    columns = -(-size // factor)
    depth = max(2, int(columns * STRIP))
    row, col = pixels.row // factor, pixels.col // factor
    near = col - row < depth
    # Half bins, since pixels of odd diagonals are centered between two bins.
    image = np.zeros((depth, 2 * columns))
    distance = (col - row)[near]
    for half in (0, 1):
        np.add.at(image, (distance, (row + col)[near] + half), pixels.data[near])
    norm = log_scale(image)
    top = depth * factor * (extent[1] - extent[0]) / size
    box = (*extent, 0, top)
    axis.imshow(
        image, origin="lower", aspect="auto", extent=box, cmap=fall(), norm=norm, interpolation="nearest"
    )
    axis.set_ylabel("distance (Mb)", fontsize=8)
    axis.tick_params(labelsize=7)
