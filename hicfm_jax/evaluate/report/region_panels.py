"""Figure of one region of a map as several panels, white to red."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from hicfm_jax.contacts.annotations.regions import Region
from hicfm_jax.evaluate.report.figures import DPI

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
