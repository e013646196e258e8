"""Random order, crops and flips as pure functions of (seed, step).

All sources draw here, so they give the same batches and resume at any step without replaying. The
draws use raw 64-bit words of Philox, not numpy's `permutation` or `integers`: numpy guarantees only
the words to stay the same in later versions.
"""

import dataclasses
import functools
import math
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.types import NO_DIAGONAL, PATCH

_ORDER, _CROPS, _EVALUATION, _GROUPS = range(4)  # independent streams of words under one seed


@dataclasses.dataclass(frozen=True)
class Draw:
    """How to draw windows from tiles, the same in every batch of a stream.

    Attributes:
      window: (H, W) in bins, multiples of 16, not larger than a tile.
      seed: non-negative integer; also of the order of the tiles.
      min_density: fraction of non-zero pixels that a window should have; if no candidate reaches
        it, the densest is taken (the original draws forever).
      max_redraws: further candidate positions in the same tile.
      flips: reverse both axes and (square windows) transpose, each with probability 1/2; in training only.
      transpose: False leaves out the transposing, for targets along the rows.
      keep_diagonal: refuse tiles whose diagonal no window can keep, see `window_starts`.
    """

    window: tuple[int, int]
    seed: int
    min_density: float = 0.05
    max_redraws: int = 8
    flips: bool = False
    keep_diagonal: bool = False
    transpose: bool = True

    @property
    def transposes(self) -> bool:
        return self.flips and self.transpose and self.window[0] == self.window[1]

    @property
    def needed_pixels(self) -> int:
        """Non-zero pixels that a window should have: `min_density` of them and at least one."""
        return max(1, math.ceil(self.min_density * self.window[0] * self.window[1]))


class Crops(NamedTuple):
    """Where to cut B windows from their tiles: K candidates each, in order of preference.

    Attributes:
      starts: (row, column) of the window's corner in its tile, `[B, K, 2]` int32.
      diag: main diagonal in the window after the flips, in patches, `[B, K]` int32.
      flips: (reverse both axes, transpose), `[B, 2]` bool.
    """

    starts: np.ndarray
    diag: np.ndarray
    flips: np.ndarray


def _words(count: int, *entropy: int) -> np.ndarray:
    return np.random.Philox(np.random.SeedSequence(entropy)).random_raw(count)


@functools.lru_cache(maxsize=4)
def epoch_order(seed: int, epoch: int, num_tiles: int) -> np.ndarray:
    """Order in which an epoch visits the tiles, `[num_tiles]`."""
    order = np.argsort(_words(num_tiles, seed, _ORDER, epoch), kind="stable")
    order.flags.writeable = False  # the cache returns the same array again
    return order


def steps_per_epoch(num_tiles: int, batch_size: int) -> int:
    """Batches of an epoch; the last partial one is dropped, as by the original's loader."""
    return max(1, num_tiles // batch_size)


def batch_indices(seed: int, step: int, num_tiles: int, batch_size: int) -> np.ndarray:
    """Tiles of the global batch at `step`, `[batch_size]`; too few are repeated, in a fresh order."""
    epoch, position = divmod(step, steps_per_epoch(num_tiles, batch_size))
    if num_tiles >= batch_size:
        return epoch_order(seed, epoch, num_tiles)[position * batch_size :][:batch_size]
    rounds = -(-batch_size // num_tiles)
    orders = [epoch_order(seed, epoch * rounds + i, num_tiles) for i in range(rounds)]
    return np.concatenate(orders)[:batch_size]


def evaluation_indices(first: int, num_tiles: int, batch_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Tiles `first, first + 1, ...` of a batch `[batch_size]` and its mask; padding repeats tile 0."""
    indices = np.arange(first, first + batch_size)
    real = indices < num_tiles
    return np.where(real, indices, 0), real.astype(np.float32)


def host_slice(batch_size: int, host_index: int, host_count: int) -> slice:
    """The contiguous part of the global batch that one of `host_count` hosts loads."""
    if batch_size % host_count:
        raise InputError(
            f"The batch size {batch_size} must be a multiple of the number of hosts, {host_count}."
        )
    part = batch_size // host_count
    return slice(host_index * part, (host_index + 1) * part)


def permutations(seed: int, count: int, length: int, *entropy: int) -> np.ndarray:
    """Permutations `[count, length]` for the repeated visits of a group of tiles."""
    words = _words(count * length, seed, _GROUPS, *entropy).reshape(count, length)
    return np.argsort(words, axis=1, kind="stable")


def train_crops(
    draw: Draw,
    step: int,
    batch_size: int,
    diag: np.ndarray,
    tile_shape: tuple[int, int],
    rows: slice = slice(None),
) -> Crops:
    """Crops of the global batch at `step`, or of its part `rows`, which does not affect the draws.

    `diag` is the main diagonal in each tile of the part, in pixels, `[b]`; NO_DIAGONAL if unknown.
    """
    candidates = _candidates(draw, tile_shape)
    words = _words(batch_size * (2 * candidates + 1), draw.seed, _CROPS, step).reshape(batch_size, -1)[rows]
    reverse, transpose = (words[:, 0] >> np.uint64(bit) & np.uint64(1) == 1 for bit in (63, 62))
    flips = np.stack([reverse & draw.flips, transpose & draw.transposes], axis=1)
    return _crops(words[:, 1:], diag, tile_shape, draw.window, flips)


def evaluation_crops(draw: Draw, indices: np.ndarray, diag: np.ndarray, tile_shape: tuple[int, int]) -> Crops:
    """Crops of the tiles `indices` `[b]`, independent of the batch they are in; no flips."""
    count = 2 * _candidates(draw, tile_shape)
    words = np.stack([_words(count, draw.seed, _EVALUATION, int(index)) for index in indices])
    return _crops(words, diag, tile_shape, draw.window, np.zeros((len(indices), 2), bool))


def _candidates(draw: Draw, tile_shape: tuple[int, int]) -> int:
    # A tile of the window's size has one position only.
    return 1 if draw.window == tile_shape else 1 + draw.max_redraws


def _crops(words, diag, tile_shape, window, flips) -> Crops:
    # 31 bits are plenty for a position, and signed arithmetic keeps % and // simple.
    draws = (words >> np.uint64(33)).astype(np.int64).reshape(len(words), -1, 2)
    diag = np.asarray(diag, np.int64)[:, None]
    rows, cols, offset = window_starts(draws[..., 0], draws[..., 1], diag, tile_shape, window)
    offset = flip_diag(offset, flips[:, None, 0], flips[:, None, 1], window)
    return Crops(np.stack([rows, cols], -1).astype(np.int32), offset.astype(np.int32), flips)


def aligned_starts(start, shift, limit):
    """Starts along one axis, 16 apart, that put the diagonal on a patch boundary: (first, how many).

    `start` is the window's along the other axis, `shift` the tile's `diag` to find columns for a row and
    `-diag` for the reverse, both in pixels; `limit` is the number of possible starts along this axis.
    """
    first = (start + shift) % PATCH
    return first, np.maximum(0, -(-(limit - first) // PATCH))


def _nearest_alignable(start, shift, limit, others):
    """The start nearest to `start`, below `limit`, that has an aligned one among `others` starts.

    It is `start` itself if there is none, or if the other axis has 16 starts or more.
    """
    first = (start + shift) % PATCH
    down, up = first - others + 1, PATCH - first
    moved = np.where(down <= start, start - down, np.where(start + up < limit, start + up, start))
    return np.where(down > 0, moved, start)


def window_starts(draw_a, draw_b, diag, tile: tuple[int, int], window: tuple[int, int]):
    """Turns two random integers, far larger than the tile, into a window's place, element by element.

    The rule of the original (`Pretrain_Dataset`): the start along one axis is arbitrary, the other
    is one of those that put the diagonal (`diag`, pixels) on a patch boundary. The free axis is the row
    when `diag >= 0`, the column when `diag < 0`, as in the original for square tiles. Without a usable
    `diag` (|diag| >= the tile) both are arbitrary. Unlike the original, the last possible start is
    drawn too, a diagonal that leaves a rectangular tile beside the window does not break the
    alignment, and in a tile that is little larger than the window, a free start without an aligned
    partner moves to the nearest one that has one.

    A tile without any aligned pair of starts (one of the window's own size with its diagonal off the
    patch grid) is cut where the draw falls, and its diagonal is lost (`NO_DIAGONAL`); the original
    shifts it and pads with zeros instead.

    Returns:
      row starts, column starts (pixels) and the diagonal in the window (patches). Of a window that
      is too far from the diagonal to cross it, this is its distance, rounded down.
    """
    n_rows, n_cols = tile[0] - window[0] + 1, tile[1] - window[1] + 1
    usable = np.abs(diag) < max(tile)
    any_row, any_col = draw_a % n_rows, draw_a % n_cols
    any_row = np.where(usable, _nearest_alignable(any_row, diag, n_rows, n_cols), any_row)
    any_col = np.where(usable, _nearest_alignable(any_col, -diag, n_cols, n_rows), any_col)
    first_col, col_choices = aligned_starts(any_row, diag, n_cols)
    first_row, row_choices = aligned_starts(any_col, -diag, n_rows)
    free_row = diag >= 0
    choices = np.where(free_row, col_choices, row_choices)
    chosen = PATCH * (draw_b % np.maximum(choices, 1))
    aligned = usable & (choices > 0)
    rows = np.where(aligned & ~free_row, first_row + chosen, any_row)
    cols = np.where(aligned, np.where(free_row, first_col + chosen, any_col), draw_b % n_cols)
    far = ~usable & (diag != NO_DIAGONAL)
    return rows, cols, np.where(aligned | far, (diag + rows - cols) // PATCH, NO_DIAGONAL)


def crosses(diag, shape: tuple[int, int]):
    """Whether a main diagonal at `diag` (pixels) crosses a tile `(H, W)`."""
    return (-shape[0] < diag) & (diag < shape[1])


def check_diagonal(name: str, offsets: Iterable[int], tile: tuple[int, int], window: tuple[int, int]) -> None:
    """Raises InputError, about `name`, if windows cannot keep diagonals at `offsets` (pixels)."""
    # Column start minus row start has to equal the offset modulo 16, and is between -down and up.
    down, up = tile[0] - window[0], tile[1] - window[1]
    if not all(offset % PATCH <= up or -offset % PATCH <= down for offset in offsets):
        sides = ",".join(str(max(PATCH, (side - PATCH // 2) // PATCH * PATCH)) for side in tile)
        raise InputError(
            f"{name}: in tiles of {tile[0]} x {tile[1]} bins, not every window of {window[0]} x {window[1]} "
            f"can have the diagonal on its patch grid of {PATCH} bins, and data.thin would thin the two "
            f"triangles separately: set model.input_size to {sides} or less, or make the tiles with a "
            f"stride that is a multiple of {PATCH}."
        )


def flip_diag(diag, reverse, transpose, window: tuple[int, int]):
    """Position of the diagonal (patches) after a window is reversed on both axes, then transposed.

    Reversal takes pixel (r, c) to (H-1-r, W-1-c) and the diagonal d to (W-H)/16 - d; transposition of a
    square window takes d to -d.
    """
    flipped = np.where(reverse, (window[1] - window[0]) // PATCH - diag, diag)
    flipped = np.where(transpose, -flipped, flipped)
    return np.where(diag == NO_DIAGONAL, NO_DIAGONAL, flipped)


def check_stream(tile_shape: tuple[int, int], num_tiles: int, draw: Draw, batch_size: int) -> None:
    """Raises InputError if such batches cannot be cut from such tiles."""
    height, width = draw.window
    if height % PATCH or width % PATCH or min(draw.window) < PATCH:
        raise InputError(
            f"The window is {height} x {width} bins but must be a multiple of {PATCH} on both sides."
        )
    if height > tile_shape[0] or width > tile_shape[1]:
        raise InputError(
            f"The window is {height} x {width} bins but the tiles have {tile_shape[0]} x {tile_shape[1]}: "
            "use a smaller model.input_size or make larger tiles."
        )
    if num_tiles < 1:
        raise InputError("There are no tiles to stream: lower min_density or give more maps.")
    if batch_size < 1:
        raise InputError(f"The batch size is {batch_size} but must be at least 1.")
