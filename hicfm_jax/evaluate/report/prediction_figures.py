"""Pictures of predictions: regions, single cells, embeddings and tracks."""

import os
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, LogNorm
from matplotlib.figure import Figure

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.regions import Region
from hicfm_jax.contacts.annotations.tracks import bin_edges
from hicfm_jax.evaluate.report.figures import DPI, LINES, fall, log_scale, png
from hicfm_jax.evaluate.scores.diagonals import coarsen, dense
from hicfm_jax.storage import write_atomically

RED = LinearSegmentedColormap.from_list("red", ["white", "red"]).with_extremes(bad="#b9c0c8")
"""As the original draws its maps; hidden pixels are gray."""


class Panel(NamedTuple):
    """A title, and `log10(1 + contacts)` of the region, `[H, W]`; NaN where it is hidden."""

    title: str
    values: np.ndarray


def draw_panels(panels: Sequence[Panel], rows: Region, columns: Region, resolution: int) -> Figure:
    """The panels side by side on the color scale of the first one, with coordinates in Mb."""
    (top, bottom), (left, right) = (each.bins(resolution) for each in (rows, columns))
    extent = [edge * resolution / 1e6 for edge in (left, right, bottom, top)]
    ratio = (bottom - top) / (right - left)
    figure = Figure(figsize=(3.3 * len(panels) + 0.9, 3.3 * ratio + 0.7), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0].tolist()
    for axis, panel in zip(axes, panels, strict=True):
        scale = {"vmin": 0, "vmax": max(np.nanmax(panels[0].values), 1e-6)}
        shown = axis.imshow(panel.values, cmap=RED, extent=extent, interpolation="none", **scale)
        axis.set_title(panel.title, fontsize=10)
        axis.set_xlabel(f"{columns.chrom}, Mb", fontsize=9)
        axis.tick_params(labelsize=8, length=2)
        axis.locator_params(nbins=5)
    axes[0].set_ylabel(f"{rows.chrom}, Mb", fontsize=9)
    bar = figure.colorbar(shown, ax=axes, shrink=0.8, pad=0.01, label="log10(1 + contacts)")
    bar.ax.tick_params(labelsize=8)
    return figure


MOST_BINS = 300  # of the side of a cell's picture; more are summed
MOST_CELLS = 3
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


MOST_POINTS = 20_000
MOST_COLORS = len(LINES)


def draw_embeddings(values: np.ndarray, colors: np.ndarray, label: str) -> Figure:
    """Points `[N, C]` in two dimensions, by PCA and, if umap-learn is installed, by UMAP.

    Args:
      values: embeddings; of more than `MOST_POINTS` a random part is drawn.
      colors: one number per point, NaN where unknown (gray); or one name, which gets a legend for up to
        `MOST_COLORS` names.
      label: of the colors.
    """
    if len(values) > MOST_POINTS:
        part = np.sort(np.random.default_rng(0).permutation(len(values))[:MOST_POINTS])
        values, colors = values[part], colors[part]
    projected = {"PCA": principal_components(values)}
    if (layout := _umap(values)) is not None:
        projected["UMAP"] = layout, ["UMAP 1", "UMAP 2"]
    figure = Figure(figsize=(5.2 * len(projected) + 0.8, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, len(projected), squeeze=False)[0]
    for axis, (title, (points, names)) in zip(axes, projected.items(), strict=True):
        shown = _scatter(axis, points, colors)
        axis.set(title=title, xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    if shown is not None:
        figure.colorbar(shown, ax=list(axes), label=label, shrink=0.8)
    else:
        figure.legend(*axes[0].get_legend_handles_labels(), title=label, loc="outside right center")
    return figure


def principal_components(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The first two principal components `[N, 2]`, and their names with the variance they explain."""
    centered = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    left, scale, _ = np.linalg.svd(centered, full_matrices=False)
    points = np.zeros((len(values), 2))
    number = min(2, len(scale))
    points[:, :number] = left[:, :number] * scale[:number]
    shares = scale**2 / max((scale**2).sum(), 1e-30)
    return points, [f"PC{i + 1} ({shares[i]:.0%})" if i < number else f"PC{i + 1}" for i in range(2)]


def _umap(values: np.ndarray) -> np.ndarray | None:
    """UMAP's layout `[N, 2]`; None without umap-learn, or for too few points."""
    if len(values) < 20:
        return None
    try:
        import umap
    except ImportError:
        return None
    return umap.UMAP(random_state=0, n_jobs=1).fit_transform(values)


def _scatter(axis, points: np.ndarray, colors: np.ndarray):
    style = {"s": 9, "linewidths": 0}
    if colors.dtype.kind != "U":
        unknown = ~np.isfinite(colors)
        axis.scatter(*points[unknown].T, color="lightgray", **style)
        low, high = np.nanpercentile(colors, [2, 98]) if not unknown.all() else (0, 1)
        return axis.scatter(*points[~unknown].T, c=colors[~unknown], vmin=low, vmax=high, **style)
    names = list(dict.fromkeys(colors.tolist()))
    for index, name in enumerate(names):
        color = LINES[index % MOST_COLORS]
        shown = name if len(names) <= MOST_COLORS else None
        axis.scatter(*points[colors == name].T, color=color, label=shown, **style)
    return None


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
