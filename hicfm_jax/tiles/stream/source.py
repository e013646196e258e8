"""Sources of tiles: a dataset, a file, arrays in memory, or several joined."""

import collections
import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from etils import epath

from hicfm_jax.batch import Batch
from hicfm_jax.contacts.contact_map import SIMULATED
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build.targets import TrackInfo
from hicfm_jax.tiles.dataset import read_manifest
from hicfm_jax.tiles.stream import mixing, sampling
from hicfm_jax.tiles.stream.batches import (
    AssayInfo,
    Batches,
    EvaluationBatches,
    Tile,
    Tiles,
    TrainBatches,
    WindowPlace,
)
from hicfm_jax.tiles.stream.disk import DiskSplit, Pipelines
from hicfm_jax.tiles.stream.memory import ArrayTiles, read_arrays, write_arrays
from hicfm_jax.tiles.stream.sampling import Draw

_FOREVER = 1 << 62


def open_source(source: str | os.PathLike | ArrayTiles | Mapping[str, ArrayTiles]) -> "Source":
    """Opens tiles for training or evaluation.

    Args:
      source: folder made by `scripts/make_tiles.py`, `.npz` file written by `MemoryTiles.save`, several
        of these joined by commas, `{split: ArrayTiles}`, or one `ArrayTiles` (the split `train`).

    Raises:
      InputError: no finished tiles of this format version there.
    """
    if isinstance(source, ArrayTiles):
        return MemoryTiles({"train": source})
    if isinstance(source, Mapping):
        return MemoryTiles(source)
    path = os.fspath(source)
    if "," in path and not epath.Path(path).exists():
        return JoinedTiles([open_source(part) for part in path.split(",")])
    return MemoryTiles.load(path) if path.endswith(".npz") else DiskTiles(path)


class Source:
    """Tiles by split, and the streams of batches made of them.

    Attributes:
      name: of the tiles, in messages.
      splits: names of the splits.
      mix: weights of a training mixture, by assay name or pattern; may be empty.
      tracks: description of each track of the target `track`; empty if unknown.
    """

    def __init__(
        self,
        name: str,
        tiles: Mapping[str, Tiles],
        mix: Mapping[str, float] | None = None,
        tracks: Sequence[TrackInfo] = (),
    ):
        self.name, self.splits, self.mix, self.tracks = name, list(tiles), dict(mix or {}), tuple(tracks)
        self._tiles = dict(tiles)

    def tiles(self, split: str) -> Tiles:
        """The tiles of an existing split."""
        return self._tiles[split]

    def run(self, batches: Batches, steps: range) -> Iterator[Batch]:
        """Makes the batches of these steps, in order."""
        return map(batches, steps)

    @property
    def tile_shape(self) -> tuple[int, int]:
        return self.tiles(self.splits[0]).tile_shape

    def num_tiles(self, split: str = "train") -> int:
        """Tiles of a split, 0 if there is no such split."""
        return len(self._tiles.get(split, ()))

    def chromosomes(self, split: str = "train") -> dict[str, list[str]]:
        """Chromosomes with tiles in a split, by assay, where they are known; {} without such a split."""
        found = self._assays(split).items()
        return {assay: list(info.chromosomes) for assay, info in found if info.chromosomes}

    def total_counts(self, split: str = "train") -> dict[str, float]:
        """Contacts of each whole map with tiles in a split, where they are known."""
        found = self._assays(split).items()
        return {assay: float(info.total_count) for assay, info in found if info.total_count}

    def maps(self, split: str = "train") -> dict[str, dict]:
        """`resolution`, `longest` chromosomes and `bins` of each map with tiles in a split, if known.

        Also `trans`, True, of those with tiles of different chromosomes, and `simulated`, True.
        """
        return {
            assay: {"resolution": int(info.resolution), "longest": list(info.longest), "bins": info.bins}
            | {kind: True for kind in ("trans", SIMULATED) if getattr(info, kind)}
            for assay, info in self._assays(split).items()
            if info.resolution
        }

    def _assays(self, split: str) -> Mapping[str, AssayInfo]:
        return self._tiles[split].assays if split in self._tiles else {}

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
        """Endless training batches from `start_step` on; batch `k` is a function of (seed, k).

        Args:
          split: which tiles.
          batch_size: examples of the global batch.
          start_step: any step costs the same.
          mix: weights by assay name or pattern (`mixing`). None takes that of the tiles; with an empty
            one, every tile comes once an epoch.
          host_index, host_count: which contiguous part of the global batch to yield.
          **draw: fields of `sampling.Draw`; `window` and `seed` are needed.

        Raises:
          InputError: a window, batch or mix that does not fit the tiles.
        """
        tiles, draw = self._check(split, batch_size, draw)
        if "track" in tiles.target_shapes:  # along the rows
            draw = dataclasses.replace(draw, transpose=False)
        mix = self.mix if mix is None else mix
        groups = mixing.make_groups(mix, list(tiles.assays), tiles.assay_numbers()) if mix else ()
        rows = sampling.host_slice(batch_size, host_index, host_count)
        batches = TrainBatches(tiles, draw, batch_size, rows.start, rows.stop, groups)
        batches.indices(start_step)  # raises now what does not fit
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

        The last batch is padded with repeats of the first tile, whose `mask` is 0. Arguments as for
        `train_stream`.
        """
        tiles, draw = self._check(split, batch_size, draw)
        rows = sampling.host_slice(batch_size, host_index, host_count)
        batches = EvaluationBatches(tiles, draw, batch_size, rows.start, rows.stop)
        return self.run(batches, range(-(-len(tiles) // batch_size)))

    def evaluation_places(self, split: str, indices: np.ndarray, **draw) -> list[WindowPlace]:
        """Where the windows of the tiles `indices` are in an `evaluation_stream`; `draw` as for that."""
        tiles, draw = self._check(split, 1, draw)
        return EvaluationBatches(tiles, draw, 1, 0, 1).places(indices)

    def _check(self, split: str, batch_size: int, draw: dict) -> tuple[Tiles, Draw]:
        if split not in self.splits:
            raise InputError(f"{self.name} has no split {split!r}: choose from {', '.join(self.splits)}.")
        tiles, draw = self.tiles(split), Draw(**draw)
        sampling.check_stream(tiles.tile_shape, len(tiles), draw, batch_size)
        if "embedding" in tiles.target_shapes and draw.window != tiles.tile_shape:
            raise InputError(
                f"{self.name} has embeddings of whole tiles, {tiles.tile_shape[0]} x {tiles.tile_shape[1]} "
                f"bins, but the window is {draw.window[0]} x {draw.window[1]}: set model.input_size to "
                "the size of the tiles."
            )
        if draw.keep_diagonal:
            stride = f"stride {tiles.stride}" if tiles.stride else "a stride that is no multiple of 16"
            name = f"{self.name}, cut with {stride}"
            sampling.check_diagonal(name, tiles.diagonal_offsets, tiles.tile_shape, draw.window)
        tiles.open()
        return tiles, draw


class MemoryTiles(Source):
    """Tiles in memory by split; needs no TensorFlow."""

    def __init__(self, tiles: Mapping[str, ArrayTiles], name: str = "The source"):
        """Takes tiles by the name of their split (`train`, `val`, `test`), and a name for messages."""
        super().__init__(name, tiles, tracks=next(iter(tiles.values())).tracks if tiles else ())

    @classmethod
    def load(cls, path: str | os.PathLike) -> "MemoryTiles":
        """Reads a file written by `save`; raises InputError for any other."""
        return cls(read_arrays(path), os.fspath(path))

    def save(self, path: str | os.PathLike) -> None:
        """Writes all splits to one compressed `.npz` file, for machines without TensorFlow."""
        write_arrays(path, self._tiles)


class DiskTiles(Source):
    """A dataset made by `builder.build_tiles`; opening it reads the manifest only."""

    def __init__(self, path: str | os.PathLike):
        """Raises InputError if `path` is not a finished dataset of this format version."""
        name, self.manifest = os.fspath(path), read_manifest(path)
        tiles = {split: DiskSplit(name, self.manifest, split) for split in self.manifest["splits"]}
        tracks = [TrackInfo(**track) for track in self.manifest.get("tracks", ())]
        super().__init__(name, tiles, self.manifest["mix"], tracks)
        self._pipelines = Pipelines()

    def run(self, batches: Batches, steps: range) -> Iterator[Batch]:
        return self._pipelines.run(batches, steps)


class JoinedTiles(Source):
    """The tiles of several sources, one source after the other; a mix may name the assays of all.

    The sources' own mixes do not apply.
    """

    def __init__(self, sources: Sequence[Source]):
        """Raises InputError if shapes, targets or names of assays do not fit together."""
        name = ",".join(source.name for source in sources)
        splits = dict.fromkeys(split for source in sources for split in source.splits)
        parts = {split: [each.tiles(split) for each in sources if split in each.splits] for split in splits}
        tracks = _joined_tracks(name, [source.tracks for source in sources])
        joined = {split: JoinedSplit(name, tiles) for split, tiles in parts.items()}
        super().__init__(name, joined, tracks=tracks)
        # Tiles in memory are quick to read: only datasets on disk need TensorFlow's threads.
        self.run = next((each.run for each in sources if isinstance(each, DiskTiles)), super().run)


def _joined_tracks(name: str, parts: Sequence[Sequence[TrackInfo]]) -> list[TrackInfo]:
    """The tracks that all sources have, with the means of their statistics."""
    kinds = {tuple((track.name, track.unit) for track in tracks) for tracks in parts}
    if len(kinds) > 1:
        raise InputError(
            f"{name} cannot be joined, their tracks differ: make them with the same tracks in the same order."
        )
    return [
        TrackInfo(*same[0][:2], *np.mean([[track.mean, track.sd] for track in same], axis=0).tolist())
        for same in zip(*parts, strict=True)
    ]


class JoinedSplit:
    """The tiles of one split of several sources, as `batches.Tiles`."""

    def __init__(self, name: str, parts: Sequence[Tiles]):
        self._parts = parts
        self.tile_shape, self.target_shapes = parts[0].tile_shape, parts[0].target_shapes
        for part in parts[1:]:
            if (part.tile_shape, part.target_shapes) != (self.tile_shape, self.target_shapes):
                raise InputError(
                    f"{name} cannot be joined, its tiles differ: {self.tile_shape} bins with targets "
                    f"{self.target_shapes}, {part.tile_shape} with {part.target_shapes}; make one kind."
                )
        self.stride = parts[0].stride if len({part.stride for part in parts}) == 1 else None
        self.diagonal_offsets = frozenset().union(*(part.diagonal_offsets for part in parts))
        self.has_context = all(part.has_context for part in parts)
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.assays = {assay: info for part in parts for assay, info in part.assays.items()}
        names = collections.Counter(assay for part in parts for assay in part.assays)
        if twice := sorted(assay for assay, number in names.items() if number > 1):
            raise InputError(
                f"{name} cannot be joined: {', '.join(twice)} is in several of them; give the inputs "
                "different names."
            )
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def open(self) -> None:
        for part in self._parts:
            part.open()

    def assay_numbers(self) -> np.ndarray:
        firsts = np.cumsum([0, *(len(part.assays) for part in self._parts)])
        numbers = [part.assay_numbers() + first for part, first in zip(self._parts, firsts, strict=False)]
        return np.concatenate(numbers)

    def read(self, indices: np.ndarray) -> list[Tile]:
        tiles = np.empty(len(indices), object)
        owners = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(owners):
            part, mine = self._parts[number], np.flatnonzero(owners == number)
            found = part.read(indices[mine] - (self._ends[number] - len(part)))
            for place, tile in zip(mine, found, strict=True):
                tiles[place] = tile
        return tiles.tolist()
