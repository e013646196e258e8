"""Pictures of maps side by side: whole chromosomes, their ratios to the reference, and single foci."""

import io
import textwrap
from collections.abc import Sequence

import numpy as np
import PIL.Image
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hicfm_jax.evaluate.comparison import ChromosomeView, Window
from hicfm_jax.evaluate.report import colors
from hicfm_jax.evaluate.scores.correlation import weighted_mean

COLUMNS = 4
DPI = 110

_AVERAGED = {"interpolation": "antialiased", "interpolation_stage": "data"}
"""Where a picture has fewer dots than the map has bins, no bin is skipped: thin stripes would come and go."""


def draw_maps(view: ChromosomeView) -> Figure:
    """All maps of a chromosome on one logarithmic scale."""
    names = list(view.portraits)
    figure, axes = _grid(names)
    norm = colors.count_scale(view)
    for name, axis in zip(names, axes, strict=True):
        shown = show_map(axis, view, name, norm)
        axis.set_title(title(view, name), fontsize=11)
    figure.colorbar(shown, ax=axes, shrink=0.6, pad=0.01, label="contacts per pixel")
    return figure


def draw_ratios(view: ChromosomeView) -> Figure:
    """log2 of every map over the reference."""
    names = [name for name in view.portraits if name != "reference"]
    figure, axes = _grid(names)
    reference, limit = view.portraits["reference"].image, colors.RATIO_LIMIT
    for name, axis in zip(names, axes, strict=True):
        ratio = colors.log_ratio(view.portraits[name].image, reference)
        scale = {"cmap": "RdBu_r", "vmin": -limit, "vmax": limit}
        shown = axis.imshow(ratio, extent=_extent(view), **scale, **_AVERAGED)
        _mb_ticks(axis)
        axis.set_title(title(view, name), fontsize=11)
    figure.colorbar(shown, ax=axes, shrink=0.6, pad=0.01, extend="both", label="log2(map / reference)")
    return figure


def draw_zooms(view: ChromosomeView) -> Figure:
    """All maps around the strongest foci, a row of panels for each."""
    names = list(view.portraits)
    rows, columns = len(view.windows), len(names)
    figure = Figure(figsize=(1.9 * columns + 0.6, 2.1 * rows + 0.5), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    for row, window in enumerate(view.windows):
        norm = colors.zoom_scale(view.portraits["reference"].zooms[row])
        for column, name in enumerate(names):
            shown = show_zoom(axes[row, column], view, name, row, norm)
            if row == 0:
                axes[row, column].set_title(textwrap.fill(name, 16), fontsize=10)
        axes[row, 0].set_ylabel(window.label.replace(", ", "\n"), fontsize=8)
        beside = axes[row, -1].inset_axes([1.06, 0, 0.06, 1])
        figure.colorbar(shown, cax=beside).ax.tick_params(labelsize=8)
    return figure


def draw_curves(view: ChromosomeView, resolution: int) -> Figure:
    """Decay of contacts with distance, and Spearman's correlation at each distance."""
    figure = Figure(figsize=(11, 3.8), dpi=DPI, layout="constrained")
    decay, spearman = figure.subplots(1, 2)
    lines = dict(zip(view.portraits, [*colors.LINES] * (1 + len(view.portraits) // 9), strict=False))
    for name, portrait in view.portraits.items():
        reference = name == "reference"
        style = {"color": "black" if reference else lines[name], "lw": 2.4 if reference else 1.3}
        bins = len(portrait.decay)
        distance, mean = _log_binned(portrait.decay[1:], bins)
        decay.loglog(
            distance * resolution,
            np.where(mean > 0, mean, np.nan),
            label=name,
            zorder=1 if reference else 2,
            **style,
        )
        if portrait.spearman.size:
            distance, mean = _log_binned(portrait.spearman, bins)
            spearman.semilogx(distance * resolution, mean, label=name, **style)
    decay.set(xlabel="distance, bp", ylabel="mean contacts per pixel", title="P(s)")
    spearman.set(xlabel="distance, bp", ylabel="Spearman correlation", title="agreement by distance")
    spearman.set_ylim(top=1)
    for axis in (decay, spearman):
        axis.grid(alpha=0.25)
        axis.spines[["top", "right"]].set_visible(False)
    figure.legend(*decay.get_legend_handles_labels(), loc="outside right upper", fontsize=9, frameon=False)
    return figure


def title(view: ChromosomeView, name: str) -> str:
    """A map's name, and what its counts were multiplied by if that is visible."""
    scale = view.portraits[name].scale
    return name if 0.9 < scale < 1.1 else f"{name} (shown × {scale:.3g})"


def show_map(axis: Axes, view: ChromosomeView, name: str, norm: object) -> object:
    """Draws one whole map; returns what a colour bar needs."""
    image = view.portraits[name].image
    shown = axis.imshow(image, cmap=colors.fall(), norm=norm, extent=_extent(view), **_AVERAGED)
    _mb_ticks(axis)
    return shown


def show_zoom(axis: Axes, view: ChromosomeView, name: str, number: int, norm: object) -> object:
    """Draws one map in one of the chromosome's windows; returns what a colour bar needs."""
    window: Window = view.windows[number]
    mb = window.bin_size / 1e6
    extent = [
        window.column * mb,
        (window.column + window.side) * mb,
        (window.row + window.side) * mb,
        window.row * mb,
    ]
    shown = axis.imshow(
        view.portraits[name].zooms[number],
        cmap=colors.fall(),
        norm=norm,
        extent=extent,
        interpolation="none",
    )
    axis.tick_params(labelsize=7, length=2)
    axis.locator_params(nbins=3)
    return shown


def png(figure: Figure) -> bytes:
    """The figure as a PNG file in 256 colours: maps are noise, which hardly compresses in more."""
    drawn, file = io.BytesIO(), io.BytesIO()
    figure.savefig(drawn, format="png", bbox_inches="tight", pad_inches=0.1)
    image = PIL.Image.open(drawn).convert("RGB")
    # Other methods spend the colours on what maps are full of, and leave steps in the colour bars.
    method, dither = PIL.Image.Quantize.MAXCOVERAGE, PIL.Image.Dither.NONE
    image.quantize(256, method, dither=dither).save(file, format="png", optimize=True)
    return file.getvalue()


def _grid(names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    rows = -(-len(names) // COLUMNS)
    columns = -(-len(names) // rows)  # as even as can be
    figure = Figure(figsize=(3.3 * columns + 0.8, 3.5 * rows), dpi=DPI, layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for axis in axes[len(names) :]:
        axis.set_axis_off()
    return figure, axes[: len(names)]


def _extent(view: ChromosomeView) -> list[float]:
    return [0, view.length / 1e6, view.length / 1e6, 0]


def _mb_ticks(axis: Axes) -> None:
    axis.tick_params(labelsize=8, length=2)
    axis.locator_params(nbins=5)
    axis.set_xlabel("Mb", fontsize=8, labelpad=1)


def _log_binned(values: np.ndarray, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Ranges of distance that grow by a tenth: their middles in bins, and means weighted by pixels.

    Args:
      values: at distances of 1, 2, … bins; NaN counts nothing.
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
