"""One door to tiles, wherever they are: the same streams from memory and from disk.

Several datasets as one, such as species whose maps have different resolutions.
"""

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file
from hicfm_jax.tiles.dataset import FORMAT_VERSION
from hicfm_jax.tiles.stream.batches import Source
from hicfm_jax.tiles.stream.context import pack, unpack
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.split import Tile, Tiles
from hicfm_jax.tiles.stream.tf_pipeline import BackgroundSource


class MemoryTiles(Source):
    """Tiles in memory by split, as `pipeline.DiskTiles` without TensorFlow."""

    def __init__(self, tiles: Mapping[str, ArrayTiles], name: str = "The source"):
        """Takes tiles by the name of their split (`train`, `val`, `test`), and a name for messages."""
        self._tiles = dict(tiles)
        self.name, self.splits, self.mix = name, list(self._tiles), {}

    def tiles(self, split: str) -> ArrayTiles:
        return self._tiles[split]

    @classmethod
    def load(cls, path: str | os.PathLike) -> "MemoryTiles":
        """Reads what `save` wrote; raises InputError for anything else."""
        splits = {}
        try:
            with epath.Path(path).open("rb") as content, np.load(content, allow_pickle=False) as file:
                version = int(file["format_version"])
                for name in file.files:
                    split, *field = name.split("/")
                    if field and version == FORMAT_VERSION:
                        fields = splits.setdefault(split, {"targets": {}, "expected": {}})
                        (fields[field[0]] if len(field) > 1 else fields)[field[-1]] = file[name]
            tiles = {
                split: ArrayTiles(
                    **fields | {"expected": unpack(fields["expected"]) if fields["expected"] else {}}
                )
                for split, fields in splits.items()
            }
        except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(
                f"{path} is not a file of tiles ({type(error).__name__}: {error}): "
                "give one written by MemoryTiles.save or a folder made by scripts/make_tiles.py."
            ) from error
        if version != FORMAT_VERSION:
            raise InputError(
                f"{path} holds tiles of format version {version}, but this program reads {FORMAT_VERSION}: "
                "make them again."
            )
        return cls(tiles, os.fspath(path))

    def save(self, path: str | os.PathLike) -> None:
        """Writes all splits to one compressed `.npz` file, for machines without TensorFlow."""
        content = {}
        for split, tiles in self._tiles.items():
            fields = {field.name: getattr(tiles, field.name) for field in dataclasses.fields(tiles)}
            groups = {"targets": fields.pop("targets"), "expected": pack(fields.pop("expected"))}
            content |= {f"{split}/{name}": array for name, array in fields.items()}
            for group, arrays in groups.items():
                content |= {f"{split}/{group}/{name}": array for name, array in arrays.items()}
        path = pathlib.Path(path)
        with atomic_file(path) as partial, partial.open("wb") as file:
            np.savez_compressed(file, format_version=FORMAT_VERSION, **content)


def open_source(source: str | os.PathLike | ArrayTiles | Mapping[str, ArrayTiles]) -> Source:
    """Opens tiles for training or evaluation.

    Args:
      source: folder made by `scripts/make_tiles.py`, `.npz` file written by `MemoryTiles.save`, several
        of them joined by commas, `{split: ArrayTiles}`, or one `ArrayTiles` (the split `train`).

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
    if path.endswith(".npz"):
        return MemoryTiles.load(path)
    from hicfm_jax.tiles.stream.tf_pipeline import DiskTiles

    return DiskTiles(path)


class JoinedTiles(BackgroundSource):
    """The tiles of all sources, one source after the other; a mix may name the assays of all."""

    def __init__(self, sources: Sequence[Source]):
        """Raises InputError if shapes, targets or names of assays do not go together."""
        super().__init__()
        self.name = ",".join(source.name for source in sources)
        self.splits = list(dict.fromkeys(split for source in sources for split in source.splits))
        self.mix = {}  # shares within one of the sources say nothing of the others
        self._tiles = {
            split: JoinedSplit(
                self.name, [source.tiles(split) for source in sources if split in source.splits]
            )
            for split in self.splits
        }

    def tiles(self, split: str) -> "JoinedSplit":
        return self._tiles[split]


class JoinedSplit:
    """Tiles of one split, see `tile.Tiles`."""

    def __init__(self, name: str, parts: Sequence[Tiles]):
        self._parts = parts
        self.tile_shape, self.target_shapes = parts[0].tile_shape, parts[0].target_shapes
        for part in parts[1:]:
            if (part.tile_shape, part.target_shapes) != (self.tile_shape, self.target_shapes):
                raise InputError(
                    f"{name} cannot be joined, its tiles differ: {self.tile_shape} bins with targets "
                    f"{self.target_shapes}, {part.tile_shape} with {part.target_shapes}; make one kind."
                )
        self.patch_aligned = all(part.patch_aligned for part in parts)
        self.has_context = all(part.has_context for part in parts)
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.assays = [assay for part in parts for assay in part.assays]
        twice = sorted({assay for assay in self.assays if self.assays.count(assay) > 1})
        if twice:
            raise InputError(
                f"{name} cannot be joined: {', '.join(twice)} is in several of them; name their inputs apart."
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

    def chromosomes_by_assay(self) -> dict[str, list[str]]:
        return {assay: names for part in self._parts for assay, names in part.chromosomes_by_assay().items()}

    def total_count_by_assay(self) -> dict[str, float]:
        return {assay: total for part in self._parts for assay, total in part.total_count_by_assay().items()}

    def read(self, indices: np.ndarray) -> list[Tile]:
        """Tiles at these positions, in that order."""
        tiles = np.empty(len(indices), object)
        owners = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(owners):
            part, mine = self._parts[number], np.flatnonzero(owners == number)
            found = part.read(indices[mine] - (self._ends[number] - len(part)))
            for place, tile in zip(mine, found, strict=True):
                tiles[place] = tile
        return tiles.tolist()
