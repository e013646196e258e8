"""Where the windows of embeddings lie: whole chromosomes, a region, loci."""

from collections.abc import Sequence

import numpy as np

from hicfm_jax.contacts.annotations.regions import Region
from hicfm_jax.errors import InputError
from hicfm_jax.types import PATCH

STRIP = (16, 4000)
"""Rows and columns of a window for one locus, as the original's authors advise."""


def strip_window(longest: int) -> tuple[int, int]:
    """Window for loci in bins: `STRIP`, or narrower where the longest chromosome is shorter."""
    return STRIP[0], min(STRIP[1], -(-longest // PATCH) * PATCH)


def near_diagonal(
    size: int, window: tuple[int, int], stride: int, bound: int, part: tuple[int, int] | None = None
) -> np.ndarray:
    """Windows near the main diagonal, `[N, 2]` (first row, first column), each once, in order of rows.

    They begin at multiples of a patch and cover the chromosome to its end, with as little beyond it as
    that allows. The centers of their columns lie at most `bound` behind those of their rows: windows below
    the diagonal are mirror images and are left out.

    Args:
      size, window, stride, bound: in bins.
      part: first bin and the one after the last of the part to cover; None: all. Where it is narrower than
        a window, one window around its middle.

    Raises:
      InputError: a stride that is not a multiple of a patch, so that the patches of overlapping windows
        would not coincide.
    """
    if stride % PATCH:
        raise InputError(
            f"stride is {stride} but must be a multiple of {PATCH} bins, so that the patches of overlapping "
            "windows coincide; merge=original takes any."
        )
    height, width = window
    first, last = part or (0, size)
    begin, end = _starts(first, last, height, size), _starts(first, last, width, size)
    rows = np.append(np.arange(begin[0], begin[1], stride), begin[1])
    columns = rows[:, None] + (height - width) // 2 + np.arange(0, bound + 1, stride)
    columns = np.clip(columns // PATCH * PATCH, *end)
    pairs = np.stack(np.broadcast_arrays(rows[:, None], columns), axis=-1).reshape(-1, 2)
    return np.unique(pairs, axis=0)


def _starts(first: int, last: int, side: int, size: int) -> tuple[int, int]:
    """The first and the last start of windows along one axis, multiples of a patch."""
    if last - first <= side:
        start = np.clip((first + last - side) // 2, 0, max(size - side, 0))
        return (int(start) // PATCH * PATCH,) * 2
    return first // PATCH * PATCH, -(-(last - side) // PATCH) * PATCH


def original_centers(size: int, window: tuple[int, int], stride: int, bound: int) -> np.ndarray:
    """Windows of the original's embedding task, `[N, 2]`; a first row or column may be negative.

    Their centers (i, j) lie at 0, stride, ... below the number of bins, with |i - j| <= bound. A chromosome
    shorter than the window counts as long as it. All sizes are in bins.
    """
    rows, columns = (np.arange(0, max(size, side), stride) for side in window)
    pairs = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 2)
    pairs = pairs[np.abs(pairs[:, 0] - pairs[:, 1]) <= bound]
    return pairs - np.array(window) // 2


def around_loci(loci: Sequence[Region], resolution: int, window: tuple[int, int]) -> list[np.ndarray]:
    """Windows centered on the diagonal at each locus, `[N, 2]` per locus; they may begin before bin 0.

    A locus longer than a window has several, side by side. Sizes of the window are in bins.
    """
    height, width = window
    places = []
    for locus in loci:
        first, last = locus.bins(resolution)
        number = -(-(last - first) // height)
        rows = (first + last - number * height) // 2 + height * np.arange(number)
        places.append(np.stack([rows, rows + (height - width) // 2], axis=1))
    return places
