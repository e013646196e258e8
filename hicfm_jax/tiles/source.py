"""One door to tiles, wherever they are: the same streams from memory and from disk."""

import dataclasses
import os
import pathlib
import zipfile
from collections.abc import Mapping

import numpy as np
from etils import epath

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.arrays import ArrayTiles
from hicfm_jax.tiles.context import pack, unpack
from hicfm_jax.tiles.records import FORMAT_VERSION
from hicfm_jax.tiles.stream import Source


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
        partial = path.with_name(path.name + ".partial")
        try:
            with partial.open("wb") as file:
                np.savez_compressed(file, format_version=FORMAT_VERSION, **content)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)


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
        from hicfm_jax.tiles.joined import JoinedTiles

        return JoinedTiles([open_source(part) for part in path.split(",")])
    if path.endswith(".npz"):
        return MemoryTiles.load(path)
    from hicfm_jax.tiles.pipeline import DiskTiles  # needs TensorFlow when it streams

    return DiskTiles(path)
