"""Interface between tile storage and batch streams, and the batch of a step."""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from hicfm_jax.batch import Batch
from hicfm_jax.contacts.expected import Expected, TransExpected
from hicfm_jax.tiles.stream import mixing, sampling
from hicfm_jax.tiles.stream.context import no_context, place_context
from hicfm_jax.tiles.stream.sampling import Crops, Draw
from hicfm_jax.types import NO_DIAGONAL


class Tile(NamedTuple):
    """A stored tile; its arrays are decoded on access.

    Attributes:
      diag: where the main diagonal enters, in pixels.
      total_count: contacts of the whole map.
      matrix_count: contacts in the tile.
      array: array by name: "counts" `[H, W]`, and the targets of the dataset: "map" `[H, W]`,
        "track" `[H]` or `[K, H]`, "embedding" `[D]`.
      starts: first bin of rows and of columns; 0 if unknown.
      chromosomes: of rows and of columns; empty if unknown.
      expected: expected contacts of the tile's chromosome, or pair of chromosomes; None if unknown.
    """

    diag: int
    total_count: float
    matrix_count: float
    array: Callable[[str], np.ndarray]
    starts: Sequence[int] = (0, 0)
    chromosomes: Sequence[str] = ("", "")
    expected: Expected | TransExpected | None = None


class WindowPlace(NamedTuple):
    """Where a window is in its map.

    Attributes:
      assay: name of the map.
      chromosomes: of rows and of columns; empty if unknown.
      starts: first bin of rows and of columns.
      resolution: bin width in bp; None if unknown.
    """

    assay: str
    chromosomes: tuple[str, str]
    starts: tuple[int, int]
    resolution: int | None


class AssayInfo(NamedTuple):
    """What is known of a map.

    Attributes:
      chromosomes: of its tiles; empty if unknown.
      total_count: contacts of the whole map; None if unknown.
      resolution: bin width in bp; None if unknown.
      longest: lengths of its three longest chromosomes in bp; empty if unknown.
      bins: of the whole genome; None if unknown.
      trans: whether there are tiles of different chromosomes.
      simulated: whether it is no measured map.
    """

    chromosomes: Sequence[str]
    total_count: float | None
    resolution: int | None = None
    longest: Sequence[int] = ()
    bins: int | None = None
    trans: bool = False
    simulated: bool = False


class Tiles(Protocol):
    """The tiles of one split.

    Attributes:
      tile_shape: (H, W) in bins.
      dtype: of the counts.
      target_shapes: shape of each target that every tile has, by name.
      assays: the maps by name.
      stride: bins between neighboring tiles; None if unknown.
      diagonal_offsets: remainders modulo 16 of the position of the main diagonal in the tiles that it
        crosses; {0} if it meets all of them on a patch boundary.
      has_context: whether every tile has an `expected`, so that batches carry a context.
    """

    tile_shape: tuple[int, int]
    dtype: np.dtype
    target_shapes: Mapping[str, tuple[int, ...]]
    assays: Mapping[str, AssayInfo]
    stride: int | None
    diagonal_offsets: frozenset[int]
    has_context: bool

    def __len__(self) -> int: ...

    def open(self) -> None:
        """Prepares for reading; raises InputError if that fails."""

    def assay_numbers(self) -> np.ndarray:
        """Position in `assays` of each tile's assay, `[N]`."""

    def read(self, indices: np.ndarray) -> Sequence[Tile]:
        """Tiles at these positions, in that order; raises InputError for damaged ones."""


@dataclasses.dataclass(frozen=True)
class Batches:
    """Makes the batch of a step, or one host's part of it: example `first` to the one before `last`."""

    tiles: Tiles
    draw: Draw
    batch_size: int
    first: int
    last: int

    def __call__(self, step: int) -> Batch:
        raise NotImplementedError

    def no_example(self) -> Batch:
        """A batch of zero examples, for its structure and dtypes."""
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
        return assemble(self.tiles, tiles, self._crops(indices, tiles), self.draw, mask)

    def _crops(self, indices: np.ndarray, tiles: Sequence[Tile]) -> Crops:
        diag = [tile.diag for tile in tiles]
        return sampling.evaluation_crops(self.draw, indices, diag, self.tiles.tile_shape)

    def places(self, indices: np.ndarray) -> list[WindowPlace]:
        """Where the windows of the tiles `indices` are."""
        tiles, numbers, assays = self.tiles.read(indices), self.tiles.assay_numbers(), self.tiles.assays
        found = []
        for index, tile, starts in zip(indices, tiles, self._crops(indices, tiles).starts, strict=True):
            corner = starts[densest(tile.array("counts"), starts, self.draw)]
            bins = tuple(int(first) + int(more) for first, more in zip(tile.starts, corner, strict=True))
            assay = list(assays)[numbers[index]]
            chromosomes = tuple(map(str, tile.chromosomes))
            found.append(WindowPlace(assay, chromosomes, bins, assays[assay].resolution))
        return found


def assemble(split: Tiles, tiles: Sequence[Tile], crops: Crops | None, draw: Draw, mask: np.ndarray) -> Batch:
    """Cuts a window from each of B tiles of a split and stacks them; `mask` as in `Batch`, `[B]`.

    Raises:
      InputError: a tile whose diagonal no window can keep, if `draw.keep_diagonal`.
    """
    counts = _aligned((len(tiles), *draw.window), split.dtype)
    diag = np.empty(len(tiles), np.int32)
    shapes = {name: window_shape(name, shape, draw.window) for name, shape in split.target_shapes.items()}
    targets = {name: np.empty((len(tiles), *shape), np.float32) for name, shape in shapes.items()}
    context = no_context(len(tiles), draw.window) if split.has_context else {}
    for i, tile in enumerate(tiles):
        whole = tile.array("counts")
        best = densest(whole, crops.starts[i], draw)
        diag[i] = crops.diag[i, best]
        if draw.keep_diagonal and diag[i] == NO_DIAGONAL and sampling.crosses(tile.diag, whole.shape):
            sampling.check_diagonal("Imported tiles", [tile.diag], whole.shape, draw.window)
        start, flips = crops.starts[i, best], crops.flips[i]
        place(counts[i], whole, start, flips)
        for name, target in targets.items():
            if name == "embedding":
                target[i] = tile.array(name)
            elif name == "track":
                place_rows(target[i], tile.array(name), start[0], flips)
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


def window_shape(name: str, shape: tuple[int, ...], window: tuple[int, int]) -> tuple[int, ...]:
    """The shape of a target in a window, from its shape in a tile."""
    if name == "map":
        return tuple(window)
    return (*shape[:-1], window[0]) if name == "track" else tuple(shape)


def _aligned(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    # tf.data takes over an array that begins at a multiple of 64 bytes, and copies any other.
    memory = np.empty(math.prod(shape) * dtype.itemsize + 64, np.uint8)
    start = -memory.ctypes.data % 64
    return memory[start : memory.size - 64 + start].view(dtype).reshape(shape)


def densest(counts: np.ndarray, starts: np.ndarray, draw: Draw) -> int:
    """Index of the first candidate of `starts` `[K, 2]` that is dense enough, else of the densest."""
    needed, best, most = draw.needed_pixels, 0, -1
    for k, (row, col) in enumerate(starts if len(starts) > 1 else ()):
        filled = np.count_nonzero(counts[row : row + draw.window[0], col : col + draw.window[1]])
        if filled >= needed:
            return k
        if filled > most:
            best, most = k, filled
    return best


def place(out: np.ndarray, whole: np.ndarray, start: np.ndarray, flips: np.ndarray) -> None:
    """Copies the window of a tile at `start` into `out` `[H, W]`.

    Flips are (reverse, transpose) as in `sampling.Crops`.
    """
    row, col = start
    cut = whole[row : row + out.shape[0], col : col + out.shape[1]]
    cut = np.flip(cut) if flips[0] else cut
    out[...] = cut.T if flips[1] else cut


def place_rows(out: np.ndarray, whole: np.ndarray, first: int, flips: np.ndarray) -> None:
    """Copies tracks of a window whose rows begin at `first` into `out` `[H]` or `[K, H]`; as `place`."""
    cut = whole[..., first : first + out.shape[-1]]
    out[...] = cut[..., ::-1] if flips[0] else cut
