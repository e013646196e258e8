"""Pictures of predicted contact maps, drawn without matplotlib."""

import numpy as np
from PIL import Image, ImageDraw

# Anchors of a white - yellow - red - black scale in the manner of cooltools' `fall`.
_ANCHORS = np.array(
    [
        [255, 255, 255],
        [255, 245, 192],
        [253, 200, 102],
        [244, 129, 60],
        [207, 44, 40],
        [110, 10, 40],
        [0, 0, 0],
    ],
    np.float32,
)
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
    """One row of named panels per example.

    Args:
      panels: intensities `[B, H, P, W]`.
      names: of the P panels.
      scale: screen pixels per bin.

    Returns:
      `[Y, X, 3]` uint8.
    """
    examples, height, count, width = panels.shape
    header = 16
    canvas = Image.new(
        "RGB",
        (count * (width * scale + GAP) - GAP, header + examples * (height * scale + GAP) - GAP),
        (255, 255, 255),
    )
    draw = ImageDraw.Draw(canvas)
    for column, name in enumerate(names):
        draw.text((column * (width * scale + GAP) + 2, 2), name, fill=(0, 0, 0))
        for row in range(examples):
            tile = Image.fromarray(heatmap(panels[row, :, column]))
            tile = tile.resize((width * scale, height * scale), Image.Resampling.NEAREST)
            canvas.paste(tile, (column * (width * scale + GAP), header + row * (height * scale + GAP)))
    return np.asarray(canvas)
