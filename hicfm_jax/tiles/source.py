"""One door to tiles, wherever they are: the same three methods for memory and for disk."""

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles import arrays
from hicfm_jax.tiles.arrays import ArrayTiles
from hicfm_jax.tiles.records import FORMAT_VERSION
from hicfm_jax.types import Batch


class MemoryTiles:
    """Tiles in memory by split; the methods of `pipeline.DiskTiles`, without TensorFlow."""

    def __init__(self, tiles: Mapping[str, ArrayTiles]):
        """Takes tiles by the name of their split: `train`, `val`, `test`."""
        self._tiles = dict(tiles)

    @classmethod
    def load(cls, path: str | os.PathLike) -> "MemoryTiles":
        """Reads what `save` wrote; raises InputError for anything else."""
        splits = {}
        try:
            with np.load(path, allow_pickle=False) as file:
                version = int(file["format_version"])
                for name in file.files:
                    split, _, field = name.partition("/")
                    if field and version == FORMAT_VERSION:
                        splits.setdefault(split, {})[field] = file[name]
            tiles = {split: ArrayTiles(**fields) for split, fields in splits.items()}
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
        return cls(tiles)

    def save(self, path: str | os.PathLike) -> None:
        """Writes all splits to one compressed `.npz` file, for machines without TensorFlow."""
        content = {
            f"{split}/{field.name}": getattr(tiles, field.name)
            for split, tiles in self._tiles.items()
            for field in dataclasses.fields(tiles)
        }
        path = pathlib.Path(path)
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, format_version=FORMAT_VERSION, **content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    @property
    def splits(self) -> list[str]:
        return list(self._tiles)

    @property
    def tile_size(self) -> int:
        return next(iter(self._tiles.values())).tile_size

    def num_tiles(self, split: str = "train") -> int:
        """Tiles of a split, 0 if there is no such split."""
        return len(self._tiles.get(split, ()))

    def train_stream(self, split: str = "train", **arguments) -> Iterator[Batch]:
        """Endless training batches, see `arrays.train_stream`."""
        return arrays.train_stream(self._split(split), **arguments)

    def evaluation_stream(self, split: str = "val", **arguments) -> Iterator[Batch]:
        """Every tile once, see `arrays.evaluation_stream`."""
        return arrays.evaluation_stream(self._split(split), **arguments)

    def _split(self, split: str) -> ArrayTiles:
        if split not in self._tiles:
            raise InputError(f"The tiles have no split {split!r}: choose from {', '.join(self._tiles)}.")
        return self._tiles[split]


def open_source(source: str | os.PathLike | ArrayTiles | Mapping[str, ArrayTiles]):
    """Opens tiles for training or evaluation.

    Args:
      source: folder made by `scripts/make_tiles.py`, `.npz` file written by `MemoryTiles.save`,
        `{split: ArrayTiles}`, or one `ArrayTiles` (the split `train`).

    Returns:
      An object with `splits`, `tile_size`, `num_tiles(split)`, `train_stream(split, ...)` and
      `evaluation_stream(split, ...)`.

    Raises:
      InputError: no finished tiles of this format version there.
    """
    if isinstance(source, ArrayTiles):
        return MemoryTiles({"train": source})
    if isinstance(source, Mapping):
        return MemoryTiles(source)
    if os.fspath(source).endswith(".npz"):
        return MemoryTiles.load(source)
    from hicfm_jax.tiles.pipeline import DiskTiles  # needs TensorFlow when it streams

    return DiskTiles(source)
