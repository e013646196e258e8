"""Pictures of predicted contact maps, drawn without matplotlib."""

import numpy as np
from PIL import Image, ImageDraw

# Anchors of a white - yellow - red - black scale in the manner of cooltools' `fall`.
_COLORS = bytes.fromhex("ffffff fff5c0 fdc866 f4813c cf2c28 6e0a28 000000")
_ANCHORS = np.frombuffer(_COLORS, np.uint8).reshape(-1, 3).astype(np.float32)
_HIDDEN = np.array([150, 170, 190], np.float32)
GAP = 4  # pixels between panels


def heatmap(values: np.ndarray) -> np.ndarray:
    """Colors of intensities: `[H, W]` in [0, 1] (clipped; NaN: gray-blue) -> `[H, W, 3]` uint8."""
    place = np.clip(np.nan_to_num(values), 0, 1) * (len(_ANCHORS) - 1)
    low = np.minimum(place.astype(int), len(_ANCHORS) - 2)
    fraction = (place - low)[..., None]
    colors = _ANCHORS[low] * (1 - fraction) + _ANCHORS[low + 1] * fraction
    return np.where(np.isnan(values)[..., None], _HIDDEN, colors).round().astype(np.uint8)


def panel_picture(panels: np.ndarray, names: tuple[str, ...], scale: int = 2) -> np.ndarray:
    """One row of the P named panels per example, `[B, H, P, W]` intensities -> `[Y, X, 3]` uint8.

    `scale` is screen pixels per bin.
    """
    examples, height, count, width = panels.shape
    header, right, down = 16, width * scale + GAP, height * scale + GAP
    canvas = Image.new("RGB", (count * right - GAP, header + examples * down - GAP), (255, 255, 255))
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(names):
        draw.text((column * right + 2, 2), name, fill=(0, 0, 0))
        for row in range(examples):
            tile = Image.fromarray(heatmap(panels[row, :, column]))
            tile = tile.resize((width * scale, height * scale), Image.Resampling.NEAREST)
            canvas.paste(tile, (column * right, header + row * down))
    return np.asarray(canvas)
