"""A dataset of tiles on disk: features, manifest, and record files."""

import bisect
import contextlib
import itertools
import json
import math
import os
import resource
import threading
import weakref
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from hicfm_jax.errors import InputError
from hicfm_jax.types import PATCH

FORMAT_VERSION = 2
"""Increases whenever older code cannot read new tiles, or the reverse."""

DATASET_NAME = "hic_tiles"
MANIFEST = "manifest.json"


def import_tensorflow():
    """Imports TensorFlow for data work only: without its log and without the accelerator."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # only prints an announcement here
    with _data_extra():
        import tensorflow as tf
    try:
        tf.config.set_visible_devices([], "GPU")  # JAX needs its memory
    except RuntimeError:
        pass  # TensorFlow is in use already and cannot change this
    return tf


def import_tfds():
    """Imports TensorFlow Datasets and what it needs for tiles; raises InputError for a missing library."""
    import_tensorflow()
    with _data_extra():
        import tensorflow_datasets as tfds

        # TFDS and `RecordFiles` import it late, in threads whose errors are unclear.
        from array_record.python import array_record_module  # noqa: F401
    return tfds


@contextlib.contextmanager
def _data_extra():
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"A folder of tiles needs {error.name}, which is not installed: run pip install -e '.[data]'."
        ) from error


def features(
    tile_shape: tuple[int, int], dtype: np.dtype, targets: Mapping[str, Sequence[int]] | None = None
):
    """The TFDS features of one tile; the fields are those of `memory.ArrayTiles`.

    Args:
      tile_shape: (H, W) in bins.
      dtype: of the counts, uint16 or float32.
      targets: shapes of regression targets by name: `map` (H, W), `track` (H,) or (K, H), `embedding` (D,).
    """
    tfds = import_tfds()

    def dense(shape: Sequence[int], dtype, doc: str):
        encoding = tfds.features.Encoding.ZLIB
        return tfds.features.Tensor(shape=tuple(shape), dtype=np.dtype(dtype), encoding=encoding, doc=doc)

    fields = {
        "counts": dense(
            tile_shape, dtype, "raw contacts, both triangles, zeros beyond the chromosome's ends"
        ),
        "diag": tfds.features.Scalar(np.int32, doc="column (if < 0: minus the row) of the main diagonal"),
        "total_count": tfds.features.Scalar(np.float32, doc="contacts of the whole map"),
        "matrix_count": tfds.features.Scalar(np.float32, doc="contacts in the tile"),
        "chromosomes": tfds.features.Tensor(shape=(2,), dtype=np.str_, doc="of rows and columns"),
        "starts": tfds.features.Tensor(shape=(2,), dtype=np.int32, doc="first bin of rows and columns"),
        "assay": tfds.features.Text(doc="name of the map"),
    }
    for name, shape in (targets or {}).items():
        fields[f"target_{name}"] = dense(shape, np.float32, f"what the {name} should be")
    return tfds.features.FeaturesDict(fields)


def damaged(what: object, why: object) -> InputError:
    """The error for a part of a dataset that cannot be used."""
    return InputError(f"{what} is damaged ({why}): remove the dataset and make it again.")


def read_manifest(path: str | os.PathLike) -> dict:
    """The manifest of a tile dataset; raises InputError for anything else."""
    path = epath.Path(path)
    make = "make it with scripts/make_tiles.py"
    if not path.is_dir():
        raise InputError(f"{path} is not a folder of tiles: {make}.")
    try:
        manifest = json.loads((path / MANIFEST).read_text())
        found = manifest["format_version"]
    except FileNotFoundError:
        raise InputError(
            f"{path} has no {MANIFEST}, so it is not a finished dataset of tiles: {make}."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise damaged(path / MANIFEST, repr(error)) from error
    if found != FORMAT_VERSION:
        raise InputError(
            f"{path} has tiles of format version {found}, but this program reads {FORMAT_VERSION}: "
            "make them again with scripts/make_tiles.py."
        )
    for name, is_valid in _FIELDS.items():
        if not is_valid(manifest.get(name)):
            raise damaged(path / MANIFEST, f"its {name} is {str(manifest.get(name))[:60]!r}")
    return manifest


def _is_count(value) -> bool:
    return type(value) is int and value > 0


def _is_weight(value) -> bool:
    return type(value) in (int, float) and 0 < value < float("inf")


def _is_split(value) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("assays"), dict):
        return False
    assays = value["assays"].values()
    return _is_count(value.get("tiles")) and all(map(_is_count, assays)) and sum(assays) == value["tiles"]


def _is_track(value) -> bool:
    if not isinstance(value, dict) or set(value) != {"name", "unit", "mean", "sd"}:
        return False
    texts, numbers = (value["name"], value["unit"]), (value["mean"], value["sd"])
    finite = all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    return all(isinstance(text, str) for text in texts) and finite and value["sd"] > 0


def _is_shape(value) -> bool:
    return isinstance(value, list) and len(value) > 0 and all(map(_is_count, value))


_FIELDS = {
    "context": lambda value: value in (None, True, False),  # None: by an early version
    "mode": lambda value: isinstance(value, str),
    "stride": lambda value: value is None or _is_count(value),
    "tile_size": lambda value: _is_shape(value) and len(value) == 2,
    "dtype": lambda value: value in ("uint16", "float32"),
    "targets": lambda value: isinstance(value, dict) and all(map(_is_shape, value.values())),
    "tracks": lambda value: value is None or (isinstance(value, list) and all(map(_is_track, value))),
    "mix": lambda value: isinstance(value, dict) and all(map(_is_weight, value.values())),
    "splits": lambda value: isinstance(value, dict) and all(map(_is_split, value.values())),
    "tiles": lambda value: isinstance(value, dict),
}
"""The fields that are used of a manifest, and the check of each."""


def diagonal_offsets(manifest: Mapping) -> frozenset[int]:
    """Remainders modulo 16 of the position of the main diagonal in the tiles of a dataset.

    The manifest of imported tiles does not tell; they are taken for {0}, on patch boundaries.
    """
    if manifest["mode"] == "grid":
        return frozenset(number * (manifest["stride"] or 0) % PATCH for number in range(PATCH))
    if manifest["mode"] == "locus":
        height, width = manifest["tile_size"]
        return frozenset([(width // 2 - height // 2) % PATCH])
    return frozenset([0])


_ALL_FILES = weakref.WeakSet()  # every existing `RecordFiles`
_ENOUGH_OPEN = 1 << 16  # files to keep open; each takes about 25 kB of memory


class RecordFiles:
    """Serialized tiles of one split, read by position."""

    def __init__(self, paths: Sequence[str], lengths: Sequence[int]):
        """Takes the split's files and the number of tiles in each; opens none yet."""
        self._paths = [os.fspath(path) for path in paths]
        self._ends = list(itertools.accumulate(lengths))
        self._readers = {}  # the most recently used one is last
        self._lock = threading.Lock()
        _ALL_FILES.add(self)

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def read(self, indices: np.ndarray) -> list[bytes]:
        """Records at `indices`, in that order; raises InputError with the file that cannot be read."""
        places = {}
        for order, index in enumerate(indices.tolist()):
            file = bisect.bisect_right(self._ends, index)
            start = self._ends[file - 1] if file else 0
            places.setdefault(file, []).append((order, index - start))
        records = [b""] * len(indices)
        for file, requested in places.items():
            orders, positions = zip(*requested, strict=True)
            for order, record in zip(orders, self._read_file(file, list(positions)), strict=True):
                records[order] = record
        return records

    def _read_file(self, file: int, positions: list[int]) -> list[bytes]:
        try:
            return self._reader(file).read(positions)
        except (RuntimeError, ValueError, IndexError) as error:
            raise damaged(self._paths[file], error) from error

    def _reader(self, file: int):
        from array_record.python import array_record_module

        with self._lock:
            reader = self._readers.pop(file, None)
            if reader is None:
                reader = array_record_module.ArrayRecordReader(
                    self._paths[file],
                    options="readahead_buffer_size:0,index_storage_option:in_memory",
                    file_reader_buffer_size=1 << 15,
                )
                expected = self._ends[file] - (self._ends[file - 1] if file else 0)
                if reader.num_records() != expected:
                    raise ValueError(f"{reader.num_records()} tiles found, {expected} expected")
                while len(self._readers) >= _most_open():
                    del self._readers[next(iter(self._readers))]  # a thread may still finish reading it
            self._readers[file] = reader
            return reader


def _most_open() -> int:
    """Files that one `RecordFiles` may keep open: half of the process's limit, divided among all."""
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if allowed == resource.RLIM_INFINITY:
        allowed = 2 * _ENOUGH_OPEN
    return max(1, min(allowed // 2, _ENOUGH_OPEN) // len(_ALL_FILES))
