"""From tiles to a batch: a window is cut from each, turned, and put beside the others."""

import math
from collections.abc import Sequence

import numpy as np

from hicfm_jax.tiles.context import no_context, place_context
from hicfm_jax.tiles.sampling import Crops, Draw
from hicfm_jax.tiles.tile import Tile, Tiles
from hicfm_jax.types import Batch


def assemble(split: Tiles, tiles: Sequence[Tile], crops: Crops | None, draw: Draw, mask: np.ndarray) -> Batch:
    """Cuts a window from each of the tiles and stacks them to a batch.

    Args:
      split: where the tiles are from.
      tiles: B of them.
      crops: where to cut; None if there are no tiles.
      draw: the window's size, and how dense it should be.
      mask: as in `Batch`, `[B]`.
    """
    counts = _aligned((len(tiles), *draw.window), split.dtype)
    diag = np.empty(len(tiles), np.int32)
    shapes = dict(split.target_shapes) | {"map": draw.window, "track": draw.window[:1]}
    targets = {name: np.empty((len(tiles), *shapes[name]), np.float32) for name in split.target_shapes}
    context = no_context(len(tiles), draw.window) if split.has_context else {}
    for i, tile in enumerate(tiles):
        whole = tile.array("counts")
        best = densest(whole, crops.starts[i], draw)
        diag[i] = crops.diag[i, best]
        start, flips = crops.starts[i, best], crops.flips[i]
        place(counts[i], whole, start, flips)
        for name, target in targets.items():
            if name == "embedding":
                target[i] = tile.array(name)
            else:
                place(target[i], tile.array(name), start, flips)
        if context:
            bins = int(tile.starts[0] + start[0]), int(tile.starts[1] + start[1])
            place_context(context, i, tile.expected, bins, draw.window, flips)
    return Batch(
        counts=counts,
        total_count=np.array([tile.total_count for tile in tiles], np.float32),
        diag=diag,
        matrix_count=np.array([tile.matrix_count for tile in tiles], np.float32),
        mask=mask,
        targets=targets,
        context=context,
    )


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    # tf.data takes over an array that begins at a multiple of 64 bytes, and copies any other.
    memory = np.empty(math.prod(shape) * dtype.itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : memory.size - 64 + start].view(dtype).reshape(shape)


def densest(counts: np.ndarray, starts: np.ndarray, draw: Draw) -> int:
    """Which of the candidate `starts` `[K, 2]` to use: the first dense enough, else the densest."""
    needed, best, most = draw.needed_pixels, 0, -1
    for k, (row, col) in enumerate(starts if len(starts) > 1 else ()):
        filled = np.count_nonzero(counts[row : row + draw.window[0], col : col + draw.window[1]])
        if filled >= needed:
            return k
        if filled > most:
            best, most = k, filled
    return best


def place(out: np.ndarray, whole: np.ndarray, start: np.ndarray, flips: np.ndarray) -> None:
    """Copies the window of a tile at `start` into `out` `[H, W]`, or of a track into `[H]`.

    Flips are (reverse, transpose) as in `sampling.Crops`.
    """
    cut = whole[tuple(slice(first, first + size) for first, size in zip(start, out.shape, strict=False))]
    cut = np.flip(cut) if flips[0] else cut
    out[...] = cut.T if flips[1] else cut
