"""Positions of tiles on a contact map, also from a BED file."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.intervals import interval_lines
from hicfm_jax.errors import InputError
from hicfm_jax.storage import check_text
from hicfm_jax.types import PATCH

MODES = ("grid", "diagonal", "locus")


@dataclasses.dataclass(frozen=True)
class Positions:
    """First bins of the windows of one chromosome pair, sorted by row, then by column.

    Row i has the windows at `cols[skipped[i] : skipped[i] + taken[i]]`. There is no list of single
    windows because a fine map of a large genome has hundreds of millions.
    """

    rows: np.ndarray
    cols: np.ndarray
    skipped: np.ndarray
    taken: np.ndarray

    def __len__(self) -> int:
        return int(self.taken.sum())

    def between(self, first: int, last: int) -> np.ndarray:
        """(row start, column start) of the windows number `first` to `last - 1`, `[last - first, 2]`."""
        ends = np.cumsum(self.taken)
        number = np.arange(first, last)
        row = np.searchsorted(ends, number, side="right")
        col = self.skipped[row] + number - (ends[row] - self.taken[row])
        return np.stack([self.rows[row], self.cols[col]], axis=1)


@dataclasses.dataclass(frozen=True)
class Tiling:
    """Which windows of a map become tiles.

    Attributes:
      tile_shape: (H, W) in bins.
      stride: bins from one window to the next, along both axes.
      min_density: fraction of non-zero pixels that a tile needs; padding counts as zeros.
      mode: `grid` = everywhere on the map; `diagonal` = corners on the main diagonal, as the original's
        tiles for fine-tuning; `locus` = centered on the main diagonal, as the original's epigenome
        windows of 128 x 4000.
      trans: also tile pairs of different chromosomes.
      loci: center bins of the windows of mode `locus`, by assay and chromosome; None = the centers of
        rows that begin every `stride` bins.
    """

    tile_shape: tuple[int, int] = (448, 448)
    stride: int = 224
    min_density: float = 0.01
    mode: str = "grid"
    trans: bool = False
    loci: Mapping[str, Mapping[str, Sequence[int]]] | None = None

    def __post_init__(self):
        """Raises InputError unless the values describe a tiling."""
        height, width = self.tile_shape
        if min(self.tile_shape) < PATCH:
            raise InputError(
                f"tile_size is {shape_text(self.tile_shape)}, but a side has at least one patch, {PATCH} "
                "bins: set more."
            )
        most, side = (height, "height") if self.mode == "locus" else (min(self.tile_shape), "shorter side")
        if self.loci is None and not 1 <= self.stride <= most:
            raise InputError(
                f"stride is {self.stride}, expected 1 to {most}, the tile's {side}: a larger stride would "
                "leave out bins."
            )
        if not 0 <= self.min_density <= 1:
            raise InputError(f"min_density is {self.min_density}, expected a fraction of pixels from 0 to 1.")
        if self.mode not in MODES:
            raise InputError(f"mode is {self.mode!r}: choose from {', '.join(MODES)}.")
        if self.mode == "diagonal" and height != width:
            raise InputError(
                f"tile_size is {height} x {width}, but mode diagonal cuts squares: give one number, "
                "or use mode locus, which centers rectangles on the diagonal."
            )
        if self.trans and self.mode != "grid":
            raise InputError(f"Trans tiles have no diagonal, but mode is {self.mode}: use mode grid.")
        if self.loci is not None and self.mode != "locus":
            raise InputError(f"loci are given, but mode is {self.mode}: use mode locus.")

    @property
    def needed(self) -> int:
        """Non-zero pixels that a tile needs, at least one."""
        height, width = self.tile_shape
        return max(1, int(np.ceil(self.min_density * (height * width))))

    def positions(self, contact_map: ContactMap, assay: str, chromosomes: tuple[str, str]) -> Positions:
        """The windows of a chromosome pair.

        In mode grid the starts along each axis are those of `grid_starts`. A cis map is symmetric, so
        a window is left out if its row start is after its column start: its pixels are those of
        others, mirrored. Only the last column keeps such windows, because rectangles may end earlier
        along the columns than along the rows.
        """
        (height, width), (rows_of, cols_of) = self.tile_shape, chromosomes
        n_rows, n_cols = contact_map.n_bins(rows_of), contact_map.n_bins(cols_of)
        if self.loci is not None:
            centers = np.unique(np.array(self.loci.get(assay, {}).get(rows_of, ()), np.int64))
            return _single(centers - height // 2, centers - width // 2)
        rows = grid_starts(n_rows, height, self.stride)
        if self.mode != "grid":
            return _single(rows, rows if self.mode == "diagonal" else rows + height // 2 - width // 2)
        cols = grid_starts(n_cols, width, self.stride)
        if not len(cols):
            return _single(cols, cols)
        skipped = np.zeros(len(rows), np.int64)
        if rows_of == cols_of:
            skipped = np.minimum(np.searchsorted(cols, rows), len(cols) - 1)
        return Positions(rows, cols, skipped, len(cols) - skipped)


def as_shape(tile_size: int | Sequence[int]) -> tuple[int, int]:
    """(H, W) of a tile from one side or both."""
    height, width = (tile_size, tile_size) if isinstance(tile_size, int) else tile_size
    return int(height), int(width)


def parse_shape(text: str, what: str = "tile_size") -> tuple[int, int]:
    """Reads `448` or `128,4000`; raises InputError for anything else."""
    try:
        return as_shape([int(side) for side in text.split(",")] if "," in text else int(text))
    except ValueError:
        raise InputError(
            f"{what} is {text!r}: give one side in bins, or height and width as in 128,4000."
        ) from None


def shape_text(shape: tuple[int, int]) -> str:
    """`448` or `128 x 4000`."""
    return f"{shape[0]}" if shape[0] == shape[1] else f"{shape[0]} x {shape[1]}"


def grid_starts(n_bins: int, size: int, stride: int) -> np.ndarray:
    """First bins of the windows along one axis: 0, stride, ... below `n_bins - size // 2`.

    The last windows extend over the end by up to half their size; a chromosome of at most half a
    window has none (rule of the original's tiling).
    """
    return np.arange(0, n_bins - size // 2, stride)


def _single(rows: np.ndarray, cols: np.ndarray) -> Positions:
    return Positions(rows, cols, np.arange(len(rows)), np.ones(len(rows), np.int64))


def read_loci(
    path: str | os.PathLike, contact_maps: Mapping[str, ContactMap]
) -> dict[str, dict[str, list[int]]]:
    """Center bins of the loci in a BED file, by assay and the map's own name of the chromosome.

    A locus applies to every map that has its chromosome; the file may call it `1`, `chr1` or `Chr1`.
    Further columns, comments, `track` and `browser` lines are ignored. Raises InputError for no such file,
    an invalid line, an unknown chromosome, or a locus beyond its end.
    """
    check_text(path)
    loci = {assay: {} for assay in contact_maps}
    for where, (chrom, *_), start, end in interval_lines(pathlib.Path(path), "give a BED file of loci"):
        middle = (start + end) // 2
        own = {}
        for assay, contact_map in contact_maps.items():
            with contextlib.suppress(InputError):  # another map may have it
                own[assay] = contact_map.find_chromosome(chrom)
        if not own:
            raise InputError(f"{where} names chromosome {chrom!r}, which no map has: use the maps' names.")
        for assay, name in own.items():
            end = contact_maps[assay].chromsizes[name]
            if middle >= end:
                raise InputError(
                    f"{where} is centered at {middle:,} bp, but {name} of {assay} ends at {end:,} bp: "
                    "use loci of this assembly."
                )
            loci[assay].setdefault(name, []).append(middle // contact_maps[assay].resolution)
    if not any(loci.values()):
        raise InputError(f"{path} has no locus: give a BED file with at least one.")
    return loci
