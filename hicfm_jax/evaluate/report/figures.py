"""Figures of a comparison: maps, ratios, zooms, curves, `report.png`."""

import io
import math
import textwrap

import numpy as np
import PIL.Image
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage

from hicfm_jax.evaluate.baselines import RESCALED
from hicfm_jax.evaluate.comparison import ChromosomeView, Comparison
from hicfm_jax.evaluate.report.zoomable import ZoomPanel, averaged
from hicfm_jax.evaluate.scores import CAPTIONS, SCORES
from hicfm_jax.evaluate.scores.correlation import weighted_mean

MOST_MAPS = 5  # of `report.png`, without the reference
DPI = 110
RATIO_LIMIT = 2.0  # log2
PIXELS = "contacts per pixel"
LINES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#7f7f7f", "#984ea3")
"""Colors of the maps' curves: those of Okabe and Ito, which are safe for color blindness, and a few more."""


def fall() -> Colormap:
    """The `fall` color map of cooltools: ColorBrewer's YlOrRd between white and black; zeros are white."""
    middle = colormaps["YlOrRd"](np.linspace(0, 1, 9))
    colors = LinearSegmentedColormap.from_list("fall", ["white", *middle, "black"])
    return colors.with_extremes(bad="white", under="white")


def count_scale(view: ChromosomeView, zoom: int | None = None) -> LogNorm:
    """Logarithmic color scale of all maps of a chromosome or a zoom, from the reference's counts."""
    reference = view.thumbnails["reference"]
    return log_scale(np.triu(reference.image, 1)) if zoom is None else log_scale(reference.zooms[zoom], 99.9)


def log_scale(counts: np.ndarray, highest: float = 99.5) -> LogNorm:
    """Logarithmic color scale from the 2nd to the `highest` percentile of the counts above 0."""
    positive = counts[counts > 0]
    if not positive.size:
        return LogNorm(0.1, 1)
    low, high = np.percentile(positive, [2, highest])
    return LogNorm(low, max(high, low * 1.01))


def log_ratio(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """log2 of a map over the reference, with a tenth of the reference's median added to both."""
    positive = reference[reference > 0]
    added = 0.1 * np.median(positive) if positive.size else 1.0
    return np.log2((image + added) / (reference + added))


def map_panels(view: ChromosomeView, side: int) -> list[ZoomPanel]:
    """All maps of a chromosome on one logarithmic scale, with at most `side` rows."""
    norm = count_scale(view)
    return [
        ZoomPanel(_title(view, name), averaged(thumbnail.image, side), fall(), norm, PIXELS)
        for name, thumbnail in view.thumbnails.items()
    ]


def ratio_panels(view: ChromosomeView, side: int) -> list[ZoomPanel]:
    """log2 of every map over the reference, with at most `side` rows."""
    colors, norm = colormaps["RdBu_r"], Normalize(-RATIO_LIMIT, RATIO_LIMIT)
    images = {name: averaged(thumbnail.image, side) for name, thumbnail in view.thumbnails.items()}
    reference = images.pop("reference")
    return [
        ZoomPanel(_title(view, name), log_ratio(image, reference), colors, norm, "log2(map / reference)")
        for name, image in images.items()
    ]


def draw_zooms(view: ChromosomeView) -> Figure:
    """All maps around the strongest foci, a row of panels for each."""
    names = list(view.thumbnails)
    rows, columns = len(view.regions), len(names)
    figure = Figure(figsize=(1.9 * columns + 0.6, 2.1 * rows + 0.5), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, region in enumerate(view.regions):
        norm = count_scale(view, row)
        for column, name in enumerate(names):
            shown = _show_zoom(axes[row, column], view, name, row, norm)
            if row == 0:
                axes[row, column].set_title(textwrap.fill(name, 16), fontsize=10)
        axes[row, 0].set_ylabel(region.label.replace(", ", "\n"), fontsize=8)
        beside = axes[row, -1].inset_axes([1.06, 0, 0.06, 1])
        bar = figure.colorbar(shown, cax=beside)
        bar.ax.tick_params(labelsize=8)
        bar.set_label(PIXELS, fontsize=8)
    for axis in axes[-1]:
        axis.set_xlabel(f"{view.name}, Mb", fontsize=8)
    return figure


def draw_curves(view: ChromosomeView, resolution: int) -> Figure:
    """Decay of contacts with distance, and Spearman's correlation at each distance."""
    figure = Figure(figsize=(11, 3.8), dpi=DPI, layout="constrained")
    decay, spearman = figure.subplots(1, 2)
    lines = dict(zip(view.thumbnails, [*LINES] * (1 + len(view.thumbnails) // 9), strict=False))
    for name, thumbnail in view.thumbnails.items():
        reference = name == "reference"
        style = {"color": "black" if reference else lines[name], "lw": 2.4 if reference else 1.3}
        bins = len(thumbnail.decay)
        distance, mean = _log_binned(thumbnail.decay[1:] * thumbnail.scale, bins)
        mean = np.where(mean > 0, mean, np.nan)
        decay.loglog(
            distance * resolution, mean, label=_title(view, name), zorder=1 if reference else 2, **style
        )
        if thumbnail.spearman.size:
            distance, mean = _log_binned(thumbnail.spearman, bins)
            spearman.semilogx(distance * resolution, mean, **style)
    decay.set(xlabel="distance, bp", ylabel="mean contacts per pixel", title="P(s)")
    spearman.set(xlabel="distance, bp", ylabel="Spearman correlation", title="agreement by distance")
    spearman.set_ylim(top=1)
    for axis in (decay, spearman):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*decay.get_legend_handles_labels(), loc="outside right upper", fontsize=9, frameon=False)
    return figure


def draw_for_talk(comparison: Comparison) -> Figure:
    """`report.png`: maps, scores, and the strongest focus on the chromosome that has it.

    From left to right: the shallow map, the best baseline, the other maps, the reference.
    """
    view = max(comparison.chromosomes, key=lambda each: each.foci[0][2] if each.foci else 0)
    names = [*_for_talk(comparison, view), "reference"]
    records = {record.map: record for record in comparison.of(view.name)}
    figure = Figure(figsize=(3.4 * len(names) + 0.9, 7.6), dpi=200, layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False, height_ratios=[1, 1])
    style, zoom_norm = {"cmap": fall(), "norm": count_scale(view)}, count_scale(view, 0)
    for column, name in enumerate(names):
        above, below = axes[:, column]
        shown = _show_map(above, view, view.thumbnails[name].image, style)
        above.set_title(textwrap.fill(_title(view, name), 24), fontsize=13)
        text = f"{comparison.resolution / 1000:g} kb bins, Mb\n"
        # A shallow map is drawn at the reference's depth, and so its scores are those at that depth.
        record = records.get(RESCALED if name == comparison.shallow else name)
        if record is not None:
            scores = {SCORES[key].title: record.scores[key].value for key in CAPTIONS}
            parts = [f"{label} {value:.3f}" for label, value in scores.items() if not math.isnan(value)]
            text = "   ".join(parts[:2]) + "\n" + "   ".join(parts[2:])
        above.set_xlabel(text, fontsize=11)
        zoomed = _show_zoom(below, view, name, 0, zoom_norm)
        below.tick_params(labelsize=8)
    axes[0, 0].set_ylabel(f"{view.name}, Mb", fontsize=11)
    axes[1, 0].set_ylabel(view.regions[0].label.replace(", ", "\n"), fontsize=10)
    for image, row in ((shown, axes[0]), (zoomed, axes[1])):
        figure.colorbar(image, ax=list(row), shrink=0.8, pad=0.01, label=PIXELS)
    return figure


def png(figure: Figure) -> bytes:
    """The figure as a PNG file in 256 colors: maps are noisy, and compress poorly in more."""
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.1)
    image = PIL.Image.open(drawn).convert("RGB")
    # Other methods favor the most frequent colors, and leave steps in the color bars.
    method, dither = PIL.Image.Quantize.MAXCOVERAGE, PIL.Image.Dither.NONE
    image.quantize(256, method, dither=dither).save(file, format="png", optimize=True)
    return file.getvalue()


def _show_map(axis: Axes, view: ChromosomeView, image: np.ndarray, style: dict) -> AxesImage:
    """Draws a whole chromosome; bins are averaged, so that thin stripes stay in a small picture."""
    start, end = view.origin / 1e6, (view.origin + view.length) / 1e6
    averaged = {"interpolation": "antialiased", "interpolation_stage": "data"}
    shown = axis.imshow(image, extent=[start, end, end, start], **style, **averaged)
    axis.tick_params(labelsize=8, length=2)
    axis.locator_params(nbins=5)
    axis.set_xlabel("Mb", fontsize=8, labelpad=1)
    return shown


def _show_zoom(axis: Axes, view: ChromosomeView, name: str, number: int, norm: LogNorm) -> AxesImage:
    region, zoom = view.regions[number], view.thumbnails[name].zooms[number]
    edges = (region.column, region.column + region.side, region.row + region.side, region.row)
    extent = [(view.origin + edge * region.bin_size) / 1e6 for edge in edges]
    shown = axis.imshow(zoom, cmap=fall(), norm=norm, extent=extent, interpolation="none")
    axis.tick_params(labelsize=7, length=2)
    axis.locator_params(nbins=3)
    return shown


def _title(view: ChromosomeView, name: str) -> str:
    """A map's name, and the factor of its counts if that is visible."""
    scale = view.thumbnails[name].scale
    return name if 0.9 < scale < 1.1 else f"{name} (shown × {scale:.3g})"


def _for_talk(comparison: Comparison, view: ChromosomeView) -> list[str]:
    records = comparison.of(view.name)
    names = [record.map for record in records if not record.baseline]
    if comparison.shallow is not None:
        others = [record for record in records if record.baseline and record.map != RESCALED]
        best = max(others, key=lambda record: record.scores["r"].value, default=None)
        names.remove(comparison.shallow)
        names = [comparison.shallow, *([best.map] if best else []), *names]
    return names[:MOST_MAPS]


def _log_binned(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Means over ranges of distance that grow by a tenth, weighted by pixels, and their centers in bins.

    Args:
      values: at distances of 1, 2, … bins; NaN is left out.
      bins: of the chromosome.
    """
    end = len(values) + 1
    edges = np.unique(np.round(1.1 ** np.arange(np.log(end) / np.log(1.1))).astype(int))
    edges = np.append(edges[edges < end], end)
    weights = bins - np.arange(1, end)
    means = [
        weighted_mean(values[first - 1 : last - 1], weights[first - 1 : last - 1])[0]
        for first, last in zip(edges[:-1], edges[1:], strict=True)
    ]
    return np.sqrt(edges[:-1] * (edges[1:] - 1)), np.array(means)
