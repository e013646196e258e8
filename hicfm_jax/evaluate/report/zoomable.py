"""Matrices of a report page that are zoomed and moved together."""

import base64
import html
import io
import math
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import PIL.Image
from matplotlib.colors import Colormap, Normalize, to_hex

LEVELS = 63  # of color; more would only store the noise of counts
MOST_BYTES = 3.5e6  # of all matrices of a page
_BYTES = 0.48  # at most, of a pixel of a symmetric matrix in a page
SCRIPT = pathlib.Path(__file__).with_suffix(".js")
STYLE = """
.linked { outline-offset: .5em; } .row { display: grid; gap: 1em 1.4em;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 17em), 1fr)); }
.large .row { grid-template-columns: repeat(auto-fill, minmax(min(100%, 36em), 1fr)); }
.row figure { margin: 0; display: grid; grid-template-columns: 3.4em 1fr; align-content: end;
  font-size: .8em; color: #555; }
figcaption { grid-column: 2; color: #1c1c1c; font-size: 1.15em; align-self: end; }
.rows, .columns, .bar { display: flex; justify-content: space-between; font-variant-numeric: tabular-nums; }
.rows { flex-direction: column; text-align: right; padding-right: .4em; }
.columns, .bar, .unit { grid-column: 2; }
.unit { text-align: center; }
.bar i { flex: 1; margin: .45em .6em; } .bar { white-space: nowrap; }
.row svg { width: 100%; aspect-ratio: 1; outline: 1px solid #888; cursor: crosshair;
  touch-action: pan-x pan-y; } .zoomed svg { touch-action: none; }
.zoomed image, .fine image { image-rendering: pixelated; }
.cross { stroke: #0072b2; fill: none; vector-effect: non-scaling-stroke; pointer-events: none; }
.tools { position: sticky; top: 0; z-index: 2; background: white; padding: .3em 0; }
.tools button { font: inherit; min-width: 2.2em; margin-right: .3em; } .tools output { color: #555; }
"""


class ZoomPanel(NamedTuple):
    """A symmetric matrix to draw.

    Attributes:
      title: above it.
      values: `[n, n]`; 0 on a logarithmic scale and NaN have the color of the background.
      colors, norm: from values to colors.
      label: of the color bar, with the unit.
      background: a color of CSS.
    """

    title: str
    values: np.ndarray
    colors: Colormap
    norm: Normalize
    label: str
    background: str = "white"


def most_pixels(matrices: float) -> int:
    """Side of each of so many matrices with which a page stays below `MOST_BYTES` for them."""
    return int(math.sqrt(MOST_BYTES / _BYTES / max(matrices, 1)))


def averaged(values: np.ndarray, side: int) -> np.ndarray:
    """A matrix `[n, n]` as means of squares of pixels, with at most `side` rows."""
    first = np.arange(0, len(values), -(-len(values) // side))
    widths = np.diff([*first, len(values)])
    sums = np.add.reduceat(np.add.reduceat(values, first, axis=0), first, axis=1)
    return sums / np.outer(widths, widths)


def draw_zoomable(
    sections: Mapping[str, Sequence[ZoomPanel]], chrom: str, extent: tuple[int, int], resolution: int
) -> str:
    """HTML of matrices of one chromosome that are zoomed together; pictures where JavaScript is off.

    Args:
      sections: panels below each heading.
      chrom: the chromosome.
      extent: start and length of what the matrices cover, bp.
      resolution: of the maps, bp.
    """
    start, length = (value / 1000 for value in extent)
    parts = [
        f'<div class="linked" tabindex="0" role="group" data-chrom="{html.escape(chrom)}" '
        f'data-start="{start}" data-length="{length}" data-bin="{resolution / 1000}" '
        f'aria-label="Maps of {html.escape(chrom)}: + and - zoom, arrow keys move, 0 shows all">',
        '<div class="tools" hidden>',
        *(
            f'<button type="button" data-key="{key}" title="{text}">{shown}</button>'
            for key, shown, text in (
                ("+", "+", "zoom in"),
                ("-", "−", "zoom out"),
                ("0", "all", "the whole chromosome"),
                ("l", "larger", "larger or smaller pictures"),
            )
        ),
        '<output aria-live="off">Click a map; then the wheel zooms, and dragging moves all maps.</output>',
        "</div>",
    ]
    for heading, panels in sections.items():
        figures = "\n".join(_figure(panel, chrom, start, length) for panel in panels)
        parts.append(f'<h3>{html.escape(heading)}</h3>\n<div class="row">\n{figures}\n</div>')
    return "\n".join([*parts, "</div>"])


def _figure(panel: ZoomPanel, chrom: str, start: float, length: float) -> str:
    """A matrix with its title, its axes in Mb and its color bar."""
    title, chrom, label = (html.escape(text) for text in (panel.title, chrom, panel.label))
    first, last = (f"{place / 1000:.2f}" for place in (start, start + length))
    colors = ",".join(to_hex(panel.colors(place)) for place in np.linspace(0, 1, 9))
    limits = (float(panel.norm.inverse(place)) for place in (0, 1))
    low, high = (f"{limit:,.0f}" if abs(limit) >= 1000 else f"{limit:.3g}" for limit in limits)
    picture = _upper_png(panel)
    data, name = base64.b64encode(picture).decode(), f"m{zlib.crc32(picture):08x}"
    fine = ' class="fine"' if len(panel.values) < 350 else ""
    # Half of a symmetric matrix is stored, and drawn twice.
    return (
        f"<figure{fine}><figcaption>{title}</figcaption>"
        f'<div class="rows"><span class="top">{first}</span><span class="bottom">{last}</span></div>'
        f'<svg viewBox="0 0 {length} {length}" role="img" style="background:{panel.background}" '
        f'aria-label="{title}: matrix of {chrom}, {first} to {last} Mb, {label}, {low} to {high}">'
        f'<image id="{name}" width="{length}" height="{length}" href="data:image/png;base64,{data}"/>'
        f'<use href="#{name}" transform="matrix(0 1 1 0 0 0)"/></svg>'
        f'<div class="columns"><span class="left">{first}</span><span>{chrom}, Mb</span>'
        f'<span class="right">{last}</span></div>'
        f'<div class="bar">{low}<i style="background:linear-gradient(90deg,{colors})"></i>{high}</div>'
        f'<div class="unit">{label}</div></figure>'
    )


def _upper_png(panel: ZoomPanel) -> bytes:
    """The upper triangle as a PNG, with everything else transparent."""
    place = np.ma.filled(np.ma.masked_invalid(panel.norm(panel.values)), np.nan)
    levels = 1 + np.round(np.clip(np.nan_to_num(place), 0, 1) * (LEVELS - 1))
    image = PIL.Image.fromarray(np.triu(np.where(np.isnan(place), 0, levels)).astype(np.uint8), "P")
    colors = panel.colors(np.linspace(0, 1, LEVELS), bytes=True)[:, :3]
    image.putpalette([255, 255, 255, *colors.ravel().tolist()])
    file = io.BytesIO()
    image.save(file, format="png", optimize=True, transparency=0)
    return file.getvalue()
