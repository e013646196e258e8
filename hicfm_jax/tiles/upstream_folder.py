"""Conversion between the original's folders of pickled tiles and our datasets.

Such a folder has a `train.txt` and a `val.txt`, which list sub-folders of tiles line by line (`parse_text`
in the original's `pretrain/main_worker.py`).
"""

import contextlib
import copyreg
import math
import os
import pathlib
import pickle
import re
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.formats import pickles
from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import atomic_folder, check_new_folder, local_path
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import shards
from hicfm_jax.tiles.build.splits import SPLITS
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, NO_DIAGONAL

TARGETS = {"target_map": "2d_target", "target_track": "1d_target", "target_embedding": "embed_target"}
"""Field of our records -> key of the original's dicts."""

_MAX_PIXELS = 1 << 24  # a damaged file may claim any shape
_MAX_VALUE = 1e30  # what is stored is float32, the sum of a tile too


def import_folder(
    folder: str | os.PathLike,
    output: str | os.PathLike,
    *,
    resolution: int | None = None,
    progress: NullProgress | None = None,
) -> dict:
    """Makes a dataset from a folder of the original and returns its manifest.

    Every listed sub-folder becomes an assay of its name, with its files in the order of their
    numbers. Every file is read twice: to check it and choose the dtype, and to store it. The
    dataset appears under its name when it is complete.

    Args:
      folder: has a `train.txt` and optionally `val.txt`, `test.txt`.
      output: dataset to make.
      resolution: bin width in bp, for the manifest; the tiles do not store it.
      progress: counts every tile twice.

    Raises:
      InputError: a file that is missing, is not a tile, or differs from the others in shape or
        targets; or `output` exists.
      OSError: the disk is full or not writable; nothing is left.
    """
    progress = progress or NullProgress()
    listed = _listed_tiles(pathlib.Path(folder))
    dataset.import_tfds()  # raises now if it is missing, before the tiles are read
    with contextlib.closing(progress), atomic_folder(_free(output)) as partial:
        progress.start(2 * sum(len(paths) for assays in listed.values() for paths in assays.values()))
        survey, splits, files = _Survey(), {}, {}
        for split, assays in listed.items():
            chromosomes = {}
            for assay, paths in assays.items():
                for path, tile in _read(paths, assay, progress, "checking"):
                    survey.add(path, tile)
                    chromosomes |= dict.fromkeys(filter(None, tile["chromosomes"]))
            counted = {assay: len(paths) for assay, paths in assays.items()}
            tiles = sum(counted.values())
            splits[split] = {"tiles": tiles, "chromosomes": list(chromosomes), "assays": counted}
        features = dataset.features(survey.tile_shape, survey.dtype, survey.targets)
        for split, assays in listed.items():
            files[split] = []
            for number, (assay, paths) in enumerate(assays.items()):
                shard, read = partial / f"{split}-{number}", _read(paths, assay, progress, "writing")
                tiles = (tile | {"counts": tile["counts"].astype(survey.dtype)} for _, tile in read)
                files[split].append((shard, shards.write_shard(shard, tiles, features)))
        manifest = {
            "format_version": dataset.FORMAT_VERSION,
            "mode": "imported",
            "trans": survey.trans,
            "resolution": resolution,
            "tile_size": list(survey.tile_shape),
            "stride": None,
            "min_density": None,
            "loci": None,
            "held_out": {},
            "sources": {
                assay: {"uri": os.fspath(folder), "total_count": None, "chromsizes": {}}
                for assays in listed.values()
                for assay in assays
            },
            "dtype": survey.dtype.name,
            "targets": {name: list(shape) for name, shape in survey.targets.items()},
            "mix": {},
            "tiles": {},
            "trans_tiles": {},
            "splits": splits,
        }
        shards.finish_dataset(partial, files, manifest, features)
    return manifest


def export_folder(
    folder: str | os.PathLike,
    output: str | os.PathLike,
    *,
    progress: NullProgress | None = None,
) -> dict[str, dict[str, int]]:
    """Makes a folder of the original from a dataset, and returns its numbers of tiles by split and assay.

    The folder appears when it is complete; `import_folder` gives the same tiles again.

    Raises:
      InputError: no readable dataset, an assay whose name no folder can have, or `output` exists.
      OSError: the disk is full or not writable; nothing is left.
    """
    progress = progress or NullProgress()
    splits = dataset.read_manifest(folder)["splits"]
    for assay in {assay for split in splits.values() for assay in split["assays"]}:
        if assay != " ".join(assay.split()):
            raise InputError(
                f"{folder}: the assay {assay!r} cannot name a folder: make the tiles under another name."
            )
    with contextlib.closing(progress), atomic_folder(_free(output)) as partial:
        progress.start(sum(split["tiles"] for split in splits.values()))
        for name, split in splits.items():
            lines = "".join(f"{name}/{assay}\n" for assay in split["assays"])
            (partial / f"{name}.txt").write_text(lines, encoding="utf-8")
            for assay in split["assays"]:
                (partial / name / assay).mkdir(parents=True)
            for number, tile in enumerate(_stored_tiles(folder, name)):
                if tile["assay"] not in split["assays"]:
                    raise dataset.damaged(
                        folder, f"a tile is of {tile['assay'][:80]!r}, which it does not list"
                    )
                write_tile(partial / name / tile["assay"] / f"{number:07d}.pkl", tile)
                progress.advance(1, f"writing {name}")
    return {name: dict(split["assays"]) for name, split in splits.items()}


class _Survey:
    """The common properties of the tiles of one dataset."""

    def __init__(self):
        self.tile_shape, self.targets, self.dtype, self.trans = None, None, np.dtype(np.uint16), False

    def add(self, path: pathlib.Path, tile: Mapping) -> None:
        counts = tile["counts"]
        targets = {field.removeprefix("target_"): tile[field].shape for field in TARGETS if field in tile}
        if self.tile_shape is None:
            self.tile_shape, self.targets = counts.shape, targets
        of_tile, of_others = (counts.shape, targets), (self.tile_shape, self.targets)
        for what, found, expected in zip(("shape", "targets"), of_tile, of_others, strict=True):
            if found != expected:
                raise InputError(
                    f"{path} has the {what} {found or 'none'} and the tiles before it {expected or 'none'}: "
                    "make one dataset of each kind."
                )
        if counts.max() > np.iinfo(np.uint16).max or (counts != np.floor(counts)).any():
            self.dtype = np.dtype(np.float32)
        self.trans |= tile["chromosomes"][0] != tile["chromosomes"][1]


def _listed_tiles(folder: pathlib.Path) -> dict[str, dict[str, list[pathlib.Path]]]:
    """Paths of the tiles by split and assay; the original itself has no `test`."""
    if not (folder / "train.txt").is_file():
        raise InputError(f"{folder} has no train.txt: give a folder with this file and sub-folders of tiles.")
    listed, listed_in = {}, {}
    for file in filter(pathlib.Path.is_file, (folder / f"{split}.txt" for split in SPLITS)):
        by_name = listed[file.stem] = {}
        try:
            lines = [line.strip() for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not text ({error}): list one sub-folder a line.") from error
        if not lines:
            raise InputError(f"{file} is empty: list one sub-folder a line, or remove the file.")
        for line in lines:
            sub_folder, but = pathlib.Path(os.path.normpath(folder / line)), f"{file} lists {line!r}, but"
            if not sub_folder.is_dir():
                raise InputError(f"{but} there is no folder {sub_folder}: correct the list.")
            if sub_folder in listed_in or sub_folder.name in by_name:
                other = listed_in.get(sub_folder, file)
                raise InputError(f"{but} {other} lists it or a folder of the same name: list each name once.")
            paths = sorted(sub_folder.glob("*.pkl"), key=_by_numbers)
            if not paths:
                raise InputError(f"{but} {sub_folder} has no .pkl file: correct the list.")
            listed_in[sub_folder] = file
            by_name[sub_folder.name] = paths
    return listed


def _by_numbers(path: pathlib.Path) -> list:
    # chr1_448_0 comes after chr1_224_0 and before chr1_1120_0.
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", path.name))]


def _read(paths: list[pathlib.Path], assay: str, progress: NullProgress, doing: str):
    """Yields each path and its tile."""
    for path in paths:
        yield path, read_tile(path, assay)
        progress.advance(1, f"{doing} {assay}")


def _stored_tiles(folder: str | os.PathLike, split: str) -> Iterator[dict]:
    tfds = dataset.import_tfds()
    try:
        for tile in tfds.builder_from_directory(folder).as_data_source(split):
            names = [name.decode() for name in tile["chromosomes"]]
            yield tile | {"assay": tile["assay"].decode(), "chromosomes": names}
    except Exception as error:  # protobuf's own, or a field of another type
        raise dataset.damaged(folder, error) from error


def _free(output: str | os.PathLike) -> pathlib.Path:
    output = local_path(output).resolve()
    dataset.check_folder_name(output)
    check_new_folder(output)
    return output


def read_tile(path: str | os.PathLike, assay: str) -> dict[str, Any]:
    """Reads a pickled tile of the original (`Pretrain_Dataset`, `Finetune_Dataset`).

    Returns a record with the fields of `memory.ArrayTiles`, but `counts` `[H, W]` is always float64. NaN
    becomes 0, as in the original. Only files of `write_tile` have `chromosomes` and `starts`; for others
    these are empty and 0, and a diagonal that does not cross the tile means none. Raises InputError if the
    file is not a dict of `input` and optionally `input_count`, `diag` and targets.
    """
    content = pickles.load(path)
    if not isinstance(content, dict) or "input" not in content:
        keys = f"the keys {sorted(map(str, content))}" if isinstance(content, dict) else None
        found = keys or type(content).__name__
        raise InputError(f"{path} has {found}, but a tile is a dict with the key 'input': remove the file.")
    counts = _numbers(content["input"], "input", path)
    if counts.ndim != 2 or not counts.size:
        raise InputError(
            f"{path}: input has the shape {counts.shape}, but a tile has rows and columns: make it again."
        )
    if counts.min() < 0:
        raise InputError(f"{path}: input has {counts.min():g}, but contacts are 0 or more: make it again.")
    matrix_count = counts.sum()
    place = _place(content, path, matrix_count)
    diag = _scalar(content, "diag", path, NO_DIAGONAL)
    if diag != int(diag):
        raise InputError(f"{path}: diag is {diag:g}, but should be a whole number of pixels or None.")
    if abs(diag) >= (max(counts.shape) if place is None else NO_DIAGONAL):
        diag = NO_DIAGONAL
    total_count = _scalar(content, "input_count", path, DEFAULT_TOTAL_COUNT)
    if total_count <= 0:
        raise InputError(f"{path}: input_count is {total_count:g}, but should be positive or None.")
    unknown = {"chromosomes": ["", ""], "starts": np.zeros(2, np.int32)}
    record = {
        "counts": counts,
        "diag": np.int32(diag),
        "total_count": np.float32(total_count),
        "matrix_count": np.float32(matrix_count),
        "assay": assay,
        **(place or unknown),
    }
    shapes = {"target_map": counts.shape, "target_track": counts.shape[:1], "target_embedding": None}
    for field, key in TARGETS.items():
        if content.get(key) is None:
            continue
        target = _numbers(content[key], key, path)
        several = field == "target_track" and target.ndim == 2  # tracks [K, H]
        found = target.shape[1:] if several else target.shape
        if found != shapes[field] if shapes[field] else target.ndim != 1:
            expected = shapes[field] or "(D,), one dimension"
            raise InputError(f"{path}: {key} has the shape {target.shape}, expected {expected}.")
        record[field] = target.astype(np.float32)
    return record


def write_tile(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Writes a record as a tile that the original reads, in its own old environment too.

    Counts become COO with both triangles in float64, the only type that the original takes. The keys
    below `diag` are for `read_tile`; the original ignores them.
    """
    diag = int(record["diag"])
    content = {
        "input": scipy.sparse.coo_matrix(record["counts"].astype(np.float64)),
        "input_count": float(record["total_count"]),
        "diag": None if diag == NO_DIAGONAL else diag,
        "chromosomes": [str(name) for name in record["chromosomes"]],
        "starts": [int(start) for start in record["starts"]],
        "matrix_count": float(record["matrix_count"]),
    }
    content |= {key: np.asarray(record[field]) for field, key in TARGETS.items() if field in record}
    with open(path, "wb") as file:
        _PortablePickler(file, protocol=4).dump(content)


class _PortablePickler(pickle._Pickler):
    """Writes arrays in the form of numpy 1 and scipy 1.8, which cannot read today's form.

    The pickler in Python, because the one in C does not allow other names for classes.
    """

    def save_global(self, obj, name=None):
        module = getattr(obj, "__module__", None)
        if module != "numpy._core.multiarray":
            return super().save_global(obj, name)
        self.write(pickle.GLOBAL + f"numpy.core.multiarray\n{name or obj.__qualname__}\n".encode())
        self.memoize(obj)

    def reducer_override(self, value):
        if type(value) is not scipy.sparse.coo_matrix:
            return NotImplemented
        state = {"_shape": value.shape, "maxprint": 50, "has_canonical_format": True}
        state |= {"row": value.row, "col": value.col, "data": value.data}
        return copyreg.__newobj__, (scipy.sparse.coo_matrix,), state


def _place(content: dict, path: str | os.PathLike, matrix_count: float) -> dict | None:
    """The fields that only files of `write_tile` have; None for others."""
    try:
        (first, second), (row, col) = content["chromosomes"], content["starts"]
        return {
            "chromosomes": [str(first), str(second)],
            "starts": np.array([row, col], np.int32),
            "matrix_count": np.float32(_scalar(content, "matrix_count", path, matrix_count)),
        }
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _numbers(value: Any, key: str, path: str | os.PathLike) -> np.ndarray:
    if scipy.sparse.issparse(value):
        if math.prod(value.shape) > _MAX_PIXELS:
            raise InputError(f"{path}: {key} has the shape {value.shape}, far too large for a tile: cut it.")
        value = value.toarray()
    if not isinstance(value, np.ndarray):
        raise InputError(
            f"{path}: {key} is {type(value).__name__}, but should be a numpy array or a sparse matrix."
        )
    value = np.nan_to_num(value.astype(np.float64), posinf=np.inf, neginf=-np.inf)
    if value.size and np.abs(value).max() > _MAX_VALUE:
        raise InputError(f"{path}: {key} has a value beyond {_MAX_VALUE:g}: make the tile again.")
    return value


def _scalar(content: dict, key: str, path: str | os.PathLike, default: float) -> float:
    value = content.get(key)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _MAX_VALUE:
        raise InputError(f"{path}: {key} is {str(value)[:60]!r}, but should be a number or None.")
    return number
