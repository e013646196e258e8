"""One region of a map in windows next to each other."""

from collections.abc import Iterable

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.regions import Region, parse_region
from hicfm_jax.errors import InputError
from hicfm_jax.infer.scan import WindowValues
from hicfm_jax.infer.scan_plan import in_order

MAX_BINS = 4096
"""Longest side of a region: a picture shows no more, and each pixel takes some 100 bytes."""


def parse_regions(contact_map: ContactMap, region: str, region2: str | None) -> tuple[Region, Region]:
    """Rows and columns of a region, from text; without `region2` the columns are the rows.

    Raises:
      InputError: see `regions.parse_region`; two chromosomes; or a side of more than `MAX_BINS`.
    """
    rows = parse_region(region, contact_map)
    columns = rows if region2 is None else parse_region(region2, contact_map)
    if columns.chrom != rows.chrom:
        raise InputError(f"{rows} and {columns} are on two chromosomes: give two regions of one.")
    for each in (rows, columns):
        first, last = each.bins(contact_map.resolution)
        if last - first > MAX_BINS:
            raise InputError(
                f"{each} has {last - first:,} bins of {contact_map.resolution:,} bp, more than {MAX_BINS:,}: "
                "give a shorter region or a coarser --resolution."
            )
    return rows, columns


def window_places(
    contact_map: ContactMap, rows: Region, columns: Region, window: tuple[int, int]
) -> np.ndarray:
    """Windows next to each other, `[N, 2]`, none below the diagonal where it mirrors one above."""
    size = contact_map.n_bins(rows.chrom)
    sides = [each.bins(contact_map.resolution) for each in (rows, columns)]
    starts = [_starts(*bins, side, size) for bins, side in zip(sides, window, strict=True)]
    places = np.stack(np.meshgrid(*starts, indexing="ij"), axis=-1).reshape(-1, 2)
    if _mirrored(rows, columns, window):
        places = places[places[:, 0] <= places[:, 1]]
    return in_order(places)


def _mirrored(rows: Region, columns: Region, window: tuple[int, int]) -> bool:
    return rows == columns and window[0] == window[1]


def _starts(first: int, last: int, side: int, size: int) -> np.ndarray:
    """Starts of windows over the bins from first to last, which are in their middle.

    They stay within the chromosome of `size` bins where they fit.
    """
    count = -(-(last - first) // side)
    start = min(first - (count * side - (last - first)) // 2, size - count * side)
    return max(start, 0) + side * np.arange(count)


def assemble_windows(
    found: Iterable[tuple[str, WindowValues]], rows: Region, columns: Region, resolution: int
) -> np.ndarray:
    """The region's pixels from windows `[H, W, C]` at `window_places`: `[H, W, C]` of the region."""
    (top, bottom), (left, right) = (each.bins(resolution) for each in (rows, columns))
    whole = None
    for _, (row, col, values) in found:
        if whole is None:
            whole = np.zeros((bottom - top, right - left, *values.shape[2:]), values.dtype)
        places = [(row, col, values)]
        if _mirrored(rows, columns, values.shape[:2]) and row != col:
            places.append((col, row, values.transpose(1, 0, 2)))
        for first_row, first_col, part in places:
            height, width = part.shape[:2]
            over = slice(max(first_row, top), min(first_row + height, bottom))
            along = slice(max(first_col, left), min(first_col + width, right))
            whole[over.start - top : over.stop - top, along.start - left : along.stop - left] = part[
                over.start - first_row : over.stop - first_row,
                along.start - first_col : along.stop - first_col,
            ]
    return whole


def region_counts(contact_map: ContactMap, rows: Region, columns: Region) -> np.ndarray:
    """Raw contacts of a region, both triangles, `[H, W]`."""
    (top, bottom), (left, right) = (each.bins(contact_map.resolution) for each in (rows, columns))
    matrix = contact_map.matrix(rows.chrom)
    upper = matrix[top:bottom, left:right].toarray()
    lower = matrix[left:right, top:bottom].toarray().T
    is_upper = np.arange(top, bottom)[:, None] <= np.arange(left, right)
    return np.where(is_upper, upper, lower)
