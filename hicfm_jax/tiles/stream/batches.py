"""From tiles to a batch: a window is cut from each, turned, and put beside the others.

The streams of batches, whatever the tiles lie in: a batch is a function of (seed, step).

Reading tiles and running ahead is the business of `arrays`, `pipeline` and `joined`.
"""

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream import mixing, sampling
from hicfm_jax.tiles.stream.context import no_context, place_context
from hicfm_jax.tiles.stream.sampling import Crops, Draw
from hicfm_jax.tiles.stream.split import Tile, Tiles
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


_FOREVER = 1 << 62


class Source:
    """Tiles by split, and the streams made of them.

    Attributes:
      name: what a message calls them.
      splits: names of the splits.
      mix: weights of a mixture for training, by assay name or pattern; may be empty.
    """

    name: str
    splits: Sequence[str]
    mix: Mapping[str, float]

    def tiles(self, split: str) -> Tiles:
        """The tiles of a split that there is."""
        raise NotImplementedError

    def run(self, batches: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
        """Makes the batches of these steps, in order."""
        return map(batches, steps)

    @property
    def tile_shape(self) -> tuple[int, int]:
        return self.tiles(self.splits[0]).tile_shape

    def num_tiles(self, split: str = "train") -> int:
        """Tiles of a split, 0 if there is no such split."""
        return len(self.tiles(split)) if split in self.splits else 0

    def chromosomes(self, split: str = "train") -> dict[str, list[str]]:
        """The chromosomes whose tiles are in a split, by assay; {} if there is no such split.

        An assay is left out if its tiles do not say so, as those of the original's folders.
        """
        return self.tiles(split).chromosomes_by_assay() if split in self.splits else {}

    def total_counts(self, split: str = "train") -> dict[str, float]:
        """Contacts of each whole map with tiles in a split; a map of unknown depth is left out."""
        return self.tiles(split).total_count_by_assay() if split in self.splits else {}

    def train_stream(
        self,
        split: str = "train",
        *,
        batch_size: int,
        start_step: int = 0,
        mix: Mapping[str, float] | None = None,
        host_index: int = 0,
        host_count: int = 1,
        **draw,
    ) -> Iterator[Batch]:
        """Endless training batches; batch `k` depends on (seed, k) alone.

        Args:
          split: which tiles.
          batch_size: examples of the global batch.
          start_step: the first batch to yield; any step costs the same.
          mix: weights by assay name or pattern (`mixing`); None for that of the tiles, and an empty
            one, as most tiles have, shows every tile once an epoch.
          host_index, host_count: which contiguous part of the global batch to yield.
          **draw: fields of `sampling.Draw`; `window` and `seed` are needed.

        Raises:
          InputError: a window, batch or mix that does not fit the tiles.
        """
        tiles, draw = self._check(split, batch_size, draw)
        if draw.transposes and "track" in tiles.target_shapes:
            raise InputError(
                f"{self.name} has a track along the rows of its tiles, which transposing would take away: "
                "set data.flips to False."
            )
        mix = self.mix if mix is None else mix
        groups = mixing.make_groups(mix, tiles.assays, tiles.assay_numbers()) if mix else ()
        rows = sampling.host_slice(batch_size, host_index, host_count)
        batches = TrainBatches(tiles, draw, batch_size, rows.start, rows.stop, groups)
        batches.indices(start_step)  # what does not fit is told now
        return self.run(batches, range(start_step, _FOREVER))

    def evaluation_stream(
        self,
        split: str = "val",
        *,
        batch_size: int,
        host_index: int = 0,
        host_count: int = 1,
        **draw,
    ) -> Iterator[Batch]:
        """Every tile once, in order, cut at a place fixed by (seed, tile); no flips.

        The last batch is filled up with repeats of the first tile, whose `mask` is 0. Arguments as
        for `train_stream`.
        """
        tiles, draw = self._check(split, batch_size, draw)
        rows = sampling.host_slice(batch_size, host_index, host_count)
        batches = EvaluationBatches(tiles, draw, batch_size, rows.start, rows.stop)
        return self.run(batches, range(-(-len(tiles) // batch_size)))

    def _check(self, split: str, batch_size: int, draw: dict) -> tuple[Tiles, Draw]:
        if split not in self.splits:
            raise InputError(f"{self.name} has no split {split!r}: choose from {', '.join(self.splits)}.")
        tiles, draw = self.tiles(split), Draw(**draw)
        sampling.check_stream(tiles.tile_shape, len(tiles), draw, batch_size)
        if "embedding" in tiles.target_shapes and draw.window != tiles.tile_shape:
            raise InputError(
                f"{self.name} has embeddings of whole tiles, {tiles.tile_shape[0]} x {tiles.tile_shape[1]} "
                f"bins, and the window is {draw.window[0]} x {draw.window[1]}: set model.input_size so."
            )
        tiles.open()
        return tiles, draw


@dataclasses.dataclass(frozen=True)
class Batches:
    """Makes the batch of a step, or one host's part of it.

    Attributes:
      tiles: what to cut from.
      draw: how.
      batch_size: examples of the global batch.
      first, last: the part, from example `first` to the one before `last`.
    """

    tiles: Tiles
    draw: Draw
    batch_size: int
    first: int
    last: int

    def __call__(self, step: int) -> Batch:
        raise NotImplementedError

    def no_example(self) -> Batch:
        """The structure and the dtypes of the batches; it holds nothing."""
        return assemble(self.tiles, [], None, self.draw, np.ones(0, np.float32))

    @property
    def num_bytes(self) -> int:
        """Memory of the counts of a batch."""
        return (self.last - self.first) * math.prod(self.draw.window) * self.tiles.dtype.itemsize


@dataclasses.dataclass(frozen=True)
class TrainBatches(Batches):
    """The training stream; see `mixing` for `groups`."""

    groups: tuple[mixing.Group, ...] = ()

    def indices(self, step: int) -> np.ndarray:
        """Positions of the batch's tiles."""
        chosen = mixing.batch_indices(self.draw.seed, step, len(self.tiles), self.batch_size, self.groups)
        return chosen[self.first : self.last]

    def __call__(self, step: int) -> Batch:
        tiles = self.tiles.read(self.indices(step))
        diag, part = [tile.diag for tile in tiles], slice(self.first, self.last)
        crops = sampling.train_crops(self.draw, step, self.batch_size, diag, self.tiles.tile_shape, part)
        return assemble(self.tiles, tiles, crops, self.draw, np.ones(len(tiles), np.float32))


class EvaluationBatches(Batches):
    """The tiles in order."""

    def __call__(self, step: int) -> Batch:
        indices, mask = sampling.evaluation_indices(step * self.batch_size, len(self.tiles), self.batch_size)
        indices, mask = indices[self.first : self.last], mask[self.first : self.last]
        tiles = self.tiles.read(indices)
        diag = [tile.diag for tile in tiles]
        crops = sampling.evaluation_crops(self.draw, indices, diag, self.tiles.tile_shape)
        return assemble(self.tiles, tiles, crops, self.draw, mask)
