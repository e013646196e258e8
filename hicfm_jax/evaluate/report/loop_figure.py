"""Picture of a list of loops: pile-up, and the strongest ones."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.neighborhoods import Neighborhoods
from hicfm_jax.evaluate.report.figures import DPI, fall, png

FLANK = 10  # bins to each side of a loop
CORNER = 5  # bins; the side of the pile-up's corners
SHOWN = 6
_COLUMNS = 3
_NEAR = 4  # bins to each side of a loop, whose counts the colors reach up to


class PileUp(NamedTuple):
    """Aggregate peak analysis (Rao et al. 2014, Cell 159:1665).

    Attributes:
      ratio: observed over expected contacts, summed over loops, `[2 FLANK + 1, 2 FLANK + 1]`; NaN where no
        loop has a pixel.
      loops: number of loops in it: those whose surroundings stay off the diagonal and on the chromosome.
    """

    ratio: np.ndarray
    loops: int

    @property
    def strength(self) -> float:
        """Mean of the 3 x 3 bins in the middle over the mean of the four corners."""
        middle = self.ratio[FLANK - 1 : FLANK + 2, FLANK - 1 : FLANK + 2]
        corners = self.ratio[np.ix_(*[[*range(CORNER), *range(-CORNER, 0)]] * 2)]
        if np.isnan(middle).all() or np.isnan(corners).all():
            return float("nan")
        return float(np.nanmean(middle) / np.nanmean(corners))


def draw(contact_map: ContactMap, loops: pd.DataFrame) -> bytes:
    """A PNG of the pile-up and of the loops with the highest scores.

    Args:
      contact_map: raw counts.
      loops: at least one, with the columns of `infer.loops`; the density may be missing.
    """
    strength = [name for name in ("score", "density") if name in loops]
    order = loops.sort_values(strength, ascending=False, kind="stable").index
    strongest = {index: rank for rank, index in enumerate(order[:SHOWN])}
    total, zooms = _pile_up(contact_map, loops, strongest)
    figure = Figure(figsize=(12.4, 4.9), dpi=DPI, layout="constrained")
    grid = figure.add_gridspec(2, 2 + _COLUMNS)
    axis = figure.add_subplot(grid[:, :2])
    with np.errstate(divide="ignore"):
        image = np.log2(total.ratio)
    limit = np.nanmax(np.abs(image[np.isfinite(image)]), initial=0.5)
    reach = (FLANK + 0.5) * contact_map.resolution / 1000
    shown = axis.imshow(image, cmap="RdBu_r", vmin=-limit, vmax=limit, extent=[-reach, reach, reach, -reach])
    axis.set(xlabel="kb from the loop", ylabel="kb from the loop")
    axis.set_title(
        f"pile-up of {total.loops:,} loops\nmiddle over corners: {total.strength:.2f}", fontsize=11
    )
    figure.colorbar(shown, ax=axis, shrink=0.7, label="log2(observed / expected)")
    for rank, index in enumerate(order[:SHOWN]):
        loop, square = loops.loc[index], zooms[index]
        axis = figure.add_subplot(grid[rank // _COLUMNS, 2 + rank % _COLUMNS])
        ends = [
            (start / contact_map.resolution + offset) * contact_map.resolution / 1e6
            for start in (loop.start2, loop.start1)
            for offset in (-FLANK, FLANK + 1)
        ]
        extent = [ends[0], ends[1], ends[3], ends[2]]
        near = square[FLANK - _NEAR : FLANK + _NEAR + 1, FLANK - _NEAR : FLANK + _NEAR + 1] + 0.5
        norm = LogNorm(min(np.percentile(square, 5) + 0.5, near.max() / 2), near.max())
        axis.imshow(square + 0.5, cmap=fall(), norm=norm, extent=extent)
        axis.locator_params(nbins=3)
        axis.tick_params(labelsize=7, length=2)
        axis.set_title(f"{loop.chrom1}, Mb   score {loop.score:.2f}", fontsize=9)
    return png(figure)


def _pile_up(contact_map, loops, wanted) -> tuple[PileUp, dict[int, np.ndarray]]:
    """The pile-up, and the raw counts around the wanted loops. Each chromosome is read once."""
    side, width = 2 * FLANK + 1, contact_map.resolution
    observed, expected, number, zooms = np.zeros((side, side)), np.zeros((side, side)), 0, {}
    offsets = np.arange(side)
    for chrom, own in loops.groupby("chrom1", sort=False):
        counts = contact_map.matrix(chrom)
        rows, cols = (own[name].to_numpy() // width - FLANK for name in ("start1", "start2"))
        neighborhoods, model = Neighborhoods(counts, side), find_expected(counts)
        for index, row, col in zip(own.index, rows, cols, strict=True):
            if index in wanted:
                upper = neighborhoods.cut(np.array([row]), np.array([col]))[0]
                lower = neighborhoods.cut(np.array([col]), np.array([row]))[0].T
                below = (row + offsets)[:, None] > col + offsets
                zooms[index] = np.where(below, lower, upper)
        whole = (rows >= 0) & (cols + side <= len(model.bias)) & (cols - rows >= side)
        number += int(whole.sum())
        for row, col in zip(rows[whole], cols[whole], strict=True):
            # In loops one by one: a list may have hundreds of thousands.
            observed += neighborhoods.cut(np.array([row]), np.array([col]))[0]
            at = row + offsets, col + offsets
            distance = at[1] - at[0][:, None]
            expected += model.decay[distance] * np.outer(model.bias[at[0]], model.bias[at[1]])
    ratio = np.divide(observed, expected, out=np.full((side, side), np.nan), where=expected > 0)
    return PileUp(ratio, number), zooms
