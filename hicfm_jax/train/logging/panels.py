"""Pictures of predicted contact maps, drawn without matplotlib."""

import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from hicfm_jax.tiles.stream.batches import WindowPlace

# Anchors of a white - yellow - red - black scale in the manner of cooltools' `fall`.
_COLORS = bytes.fromhex("ffffff fff5c0 fdc866 f4813c cf2c28 6e0a28 000000")
_ANCHORS = np.frombuffer(_COLORS, np.uint8).reshape(-1, 3).astype(np.float32)
_HIDDEN = np.array([150, 170, 190], np.float32)
SCALE = 2  # pixels of a bin
GAP = 4  # pixels between panels
LINE, MARGIN = 14, 36  # pixels for a line of text above and below panels, and left of them


def heatmap(values: np.ndarray) -> np.ndarray:
    """Colors of intensities: `[H, W]` in [0, 1] (clipped; NaN: gray-blue) -> `[H, W, 3]` uint8."""
    place = np.clip(np.nan_to_num(values), 0, 1) * (len(_ANCHORS) - 1)
    low = np.minimum(place.astype(int), len(_ANCHORS) - 2)
    fraction = (place - low)[..., None]
    colors = _ANCHORS[low] * (1 - fraction) + _ANCHORS[low + 1] * fraction
    return np.where(np.isnan(values)[..., None], _HIDDEN, colors).round().astype(np.uint8)


def panel_picture(
    panels: np.ndarray, names: tuple[str, ...], places: Sequence[WindowPlace] = ()
) -> np.ndarray:
    """One row of the P named panels per example, `[B, H, P, W]` intensities -> `[Y, X, 3]` uint8.

    With the `places` of the examples, each row has a caption and axes in Mb.
    """
    examples, height, count, width = panels.shape
    line, left = (LINE, MARGIN) if places else (0, 0)
    header, right, down = 16, width * SCALE + GAP, height * SCALE + 2 * line + GAP
    size = left + count * right - GAP, header + examples * down - GAP
    canvas = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(names):
        x = left + column * right
        draw.text((x + 2, 2), name, fill=(0, 0, 0))
        for row in range(examples):
            tile = Image.fromarray(heatmap(panels[row, :, column]))
            tile = tile.resize((width * SCALE, height * SCALE), Image.Resampling.NEAREST)
            y = header + row * down + line
            canvas.paste(tile, (x, y))
            if not places:
                continue
            if not column:
                draw.text((x + 2, y - line), caption(places[row], height, width), fill=(0, 0, 0))
                for position, text in ticks(places[row], 0, height):
                    draw.text((x - 3, y + position * SCALE), f"{text} -", fill=(0, 0, 0), anchor="rm")
            for position, text in ticks(places[row], 1, width):
                at = x + position * SCALE, y + height * SCALE
                draw.line((*at, at[0], at[1] + 3), fill=(0, 0, 0))
                draw.text((at[0], at[1] + 4), text, fill=(0, 0, 0), anchor="mt")
    return np.asarray(canvas)


def caption(place: WindowPlace, height: int, width: int) -> str:
    """`leaf, Chr4:3.0-9.7 x 9.7-16.4 Mb`; bins where their width is unknown, the map alone if all is."""
    rows, columns = place.chromosomes
    if not (rows and columns):
        return place.assay
    unit, name = _unit(place)
    digits = 1 - math.floor(math.log10(_step(width * unit))) if place.resolution else 0
    spans = [
        f"{start * unit:.{max(digits, 0)}f}-{(start + size) * unit:.{max(digits, 0)}f}"
        for start, size in zip(place.starts, (height, width), strict=True)
    ]
    if rows != columns:
        return f"{place.assay}, {rows}:{spans[0]} x {columns}:{spans[1]} {name}"
    return f"{place.assay}, {rows}:{' x '.join(dict.fromkeys(spans))} {name}"


def ticks(place: WindowPlace, axis: int, size: int) -> list[tuple[float, str]]:
    """Positions, in bins from the window's start, and labels of round numbers along its rows or columns."""
    if not place.chromosomes[axis]:
        return []
    unit, _ = _unit(place)
    start = place.starts[axis]
    step = _step(size * unit)
    digits = max(-math.floor(math.log10(step)), 0)
    numbers = np.arange(math.ceil(start * unit / step), (start + size) * unit / step) * step
    return [(value / unit - start, f"{value:.{digits}f}") for value in numbers.tolist()]


def _unit(place: WindowPlace) -> tuple[float, str]:
    return (place.resolution / 1e6, "Mb") if place.resolution else (1.0, "bins")


def _step(span: float) -> float:
    """The least of 1, 2, 5, 10, ... that is at least a quarter of a span."""
    power = 10.0 ** math.floor(math.log10(span / 4))
    return next(step * power for step in (1, 2, 5, 10) if step * power >= span / 4)
