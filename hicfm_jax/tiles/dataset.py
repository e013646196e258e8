"""A dataset of tiles on disk: features, manifest, and record files."""

import contextlib
import functools
import math
import os
import resource
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from etils import epath

from hicfm_jax.cli import called
from hicfm_jax.contacts.formats import suffixes
from hicfm_jax.errors import InputError
from hicfm_jax.storage import file_name, parse_json
from hicfm_jax.types import PATCH

FORMAT_VERSION = 2
"""Increases whenever older code cannot read new tiles, or the reverse."""

DATASET_NAME = "hic_tiles"
MOST_PIXELS = 1 << 27  # of a tile: a damaged manifest may state any shape
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
    """Imports TensorFlow Datasets and what it needs for tiles; raises InputError for a missing library.

    TensorFlow, which takes seconds to import, is not among them: only tf.data needs it.
    """
    with _data_extra():
        import tensorflow_datasets as tfds

        # TFDS and `RecordFiles` import it late, in threads whose errors are unclear.
        from array_record.python import array_record_module  # noqa: F401
    return tfds


def example_type():
    """The message of a serialized tile, `tf.train.Example`, which TFDS has too."""
    import_tfds()
    from tensorflow_datasets.proto import tf_example_pb2

    return tf_example_pb2.Example


@contextlib.contextmanager
def _data_extra():
    try:
        yield
    except ModuleNotFoundError as error:
        raise InputError(
            f"A folder of tiles needs {error.name}, which is not installed: pip install 'hicfm_jax[data]'."
        ) from error


def features(
    tile_shape: tuple[int, int], dtype: np.dtype, targets: Mapping[str, Sequence[int]] | None = None
):
    """The TFDS features of one tile; the fields are those of `memory.ArrayTiles`.

    `tile_shape` is (H, W) in bins, `dtype` that of the counts, uint16 or float32. `targets` are shapes of
    regression targets by name: `map` (H, W), `track` (H,) or (K, H), `embedding` (D,).
    """
    tfds = import_tfds()

    def dense(shape: Sequence[int], dtype, doc: str):
        encoding = tfds.features.Encoding.ZLIB
        return tfds.features.Tensor(shape=tuple(shape), dtype=np.dtype(dtype), encoding=encoding, doc=doc)

    counts = "raw contacts, both triangles, zeros beyond the chromosome's ends"
    fields = {
        "counts": dense(tile_shape, dtype, counts),
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


def check_folder_name(output: str | os.PathLike) -> None:
    """Raises InputError for a folder to make that has the name of a file of contacts or of arrays."""
    if not os.path.lexists(output) and os.fspath(output).lower().endswith(tuple(suffixes())):
        raise InputError(f"{output} names a file, but tiles are a folder: choose an --output without suffix.")


def damaged(what: object, why: object) -> InputError:
    """The error for a part of a dataset that cannot be used."""
    return InputError(f"{what} is damaged ({why}): remove the dataset and make it again.")


def read_manifest(path: str | os.PathLike) -> dict:
    """The manifest of a tile dataset; raises InputError for anything else."""
    path = epath.Path(path)
    make = f"make it with {called('make_tiles')}"
    if not path.is_dir():
        raise InputError(f"{path} is not a folder of tiles: {make}.")
    try:
        manifest = parse_json((path / MANIFEST).read_text())
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
            f"make them again with {called('make_tiles')}."
        )
    for name, is_valid in _FIELDS.items():
        if not is_valid(manifest.get(name)):
            raise damaged(path / MANIFEST, f"its {name} is {str(manifest.get(name))[:60]!r}")
    return manifest


def _is_count(value) -> bool:
    return type(value) is int and value > 0


def _is_weight(value) -> bool:
    return type(value) in (int, float) and 0 < value < float("inf")


def _is_dict_of(is_valid, value) -> bool:
    return isinstance(value, dict) and all(map(is_valid, value.values()))


def _is_splits(value) -> bool:
    if not _is_dict_of(_is_split, value) or not set(value) <= {"train", "val", "test"}:
        return False
    for assay in (assay for split in value.values() for assay in split["assays"]):
        file_name(assay)
    return True


def _is_split(value) -> bool:
    if not isinstance(value, dict) or not _is_dict_of(_is_count, value.get("assays")):
        return False
    return _is_count(value.get("tiles")) and sum(value["assays"].values()) == value["tiles"]


def _is_track(value) -> bool:
    if not isinstance(value, dict) or set(value) != {"name", "unit", "mean", "sd"}:
        return False
    texts, numbers = (value["name"], value["unit"]), (value["mean"], value["sd"])
    finite = all(type(number) in (int, float) and math.isfinite(number) for number in numbers)
    return all(isinstance(text, str) for text in texts) and finite and value["sd"] > 0


def _is_shape(value) -> bool:
    counts = isinstance(value, list) and len(value) > 0 and all(map(_is_count, value))
    return counts and math.prod(value) <= MOST_PIXELS


_FIELDS = {
    "context": lambda value: value in (None, True, False),  # None: by an early version
    "trans_context": lambda value: value in (None, True),
    "mode": lambda value: isinstance(value, str),
    "stride": lambda value: value is None or _is_count(value),
    "tile_size": lambda value: _is_shape(value) and len(value) == 2,
    "dtype": lambda value: value in ("uint16", "float32"),
    "targets": lambda value: _is_dict_of(_is_shape, value),
    "tracks": lambda value: value is None or (isinstance(value, list) and all(map(_is_track, value))),
    "mix": lambda value: _is_dict_of(_is_weight, value),
    "splits": _is_splits,
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


class RecordFiles:
    """Serialized tiles of one split, read by position."""

    def __init__(self, paths: Sequence[str], lengths: Sequence[int]):
        """Takes the split's files and the number of tiles in each; opens none yet."""
        self._paths, self._lengths = [os.fspath(path) for path in paths], lengths
        self._ends = np.cumsum(lengths, dtype=np.int64)

    def __len__(self) -> int:
        return sum(self._lengths)

    def read(self, indices: np.ndarray) -> list[bytes]:
        """Records at `indices`, in that order; raises InputError with the file that cannot be read."""
        records = np.empty(len(indices), object)
        owners = np.searchsorted(self._ends, indices, side="right")
        for file in np.unique(owners).tolist():
            mine = owners == file
            positions = indices[mine] - (self._ends[file] - self._lengths[file])
            try:
                records[mine] = open_readers()(self, file).read(positions.tolist())
            except (RuntimeError, ValueError, IndexError) as error:
                raise damaged(self._paths[file], error) from error
        return records.tolist()

    def reader(self, file: int):
        """Opens a file by its number; raises ValueError for one with another number of tiles."""
        from array_record.python import array_record_module

        reader = array_record_module.ArrayRecordReader(
            self._paths[file],
            options="readahead_buffer_size:0,index_storage_option:in_memory",
            file_reader_buffer_size=1 << 15,
        )
        if reader.num_records() != self._lengths[file]:
            raise ValueError(f"{reader.num_records()} tiles found, {self._lengths[file]} expected")
        return reader


@functools.cache
def open_readers() -> Callable:
    """`RecordFiles.reader` with a cache of the readers used last.

    They take at most half of the files that the process may open when the first one is needed.
    """
    allowed, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = 1 << 16  # each takes about 25 kB of memory
    if allowed != resource.RLIM_INFINITY:
        most = min(allowed // 2, most)
    return functools.lru_cache(most)(RecordFiles.reader)
