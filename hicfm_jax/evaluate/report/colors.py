"""Colour maps and scales of contact maps, the same for all pictures."""

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Colormap, LinearSegmentedColormap, LogNorm

from hicfm_jax.evaluate.comparison import ChromosomeView

RATIO_LIMIT = 2.0  # log2
LINES = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00", "#8c6d31", "#7f7f7f", "#984ea3")
"""Of the maps' curves (Okabe and Ito's, which colour-blind readers tell apart, and a few more)."""


def fall() -> Colormap:
    """The `fall` map of cooltools: ColorBrewer's YlOrRd between white and black; zeros are white."""
    middle = colormaps["YlOrRd"](np.linspace(0, 1, 9))
    colours = LinearSegmentedColormap.from_list("fall", ["white", *middle, "black"])
    return colours.with_extremes(bad="white", under="white")


def count_scale(view: ChromosomeView) -> LogNorm:
    """Logarithmic scale for all maps of a chromosome, from the reference's counts."""
    image = view.portraits["reference"].image
    return _scale(image[np.triu_indices_from(image, 1)])


def zoom_scale(reference: np.ndarray) -> LogNorm:
    """The same for one window `[side, side]`."""
    return _scale(reference.ravel(), highest=99.9)


def log_ratio(image: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """log2 of a map over the reference, with a tenth of the reference's median added to both."""
    positive = reference[reference > 0]
    added = 0.1 * np.median(positive) if positive.size else 1.0
    return np.log2((image + added) / (reference + added))


def _scale(values: np.ndarray, highest: float = 99.5) -> LogNorm:
    values = values[values > 0]
    if not values.size:
        return LogNorm(0.1, 1)
    low, high = np.percentile(values, [2, highest])
    return LogNorm(low, max(high, low * 1.01))
