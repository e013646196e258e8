"""Tiles of a dataset on disk, and batches made ahead by tf.data.

ISA-L inflates records in half the time of zlib; it is used where it is installed.
"""

import atexit
import contextlib
import functools
import math
import os
import weakref
from collections.abc import Iterator

import jax
import numpy as np

from hicfm_jax.batch import Batch
from hicfm_jax.contacts.contact_map import SIMULATED
from hicfm_jax.contacts.species import longest_chromosomes
from hicfm_jax.tiles.dataset import (
    RecordFiles,
    damaged,
    diagonal_offsets,
    example_type,
    import_tensorflow,
    import_tfds,
)
from hicfm_jax.tiles.stream.batches import AssayInfo, Batches, Tile
from hicfm_jax.tiles.stream.context import read_context, region_key

try:
    from isal import isal_zlib as zlib
except ModuleNotFoundError:
    import zlib


class DiskSplit:
    """Tiles of one split as `batches.Tiles`; reads nothing before `open`."""

    def __init__(self, path: str, manifest: dict, split: str):
        self._path, self._split = path, split
        self.tile_shape, self.stride = tuple(manifest["tile_size"]), manifest["stride"]
        self.dtype = np.dtype(manifest["dtype"])
        self.target_shapes = {name: tuple(shape) for name, shape in manifest["targets"].items()}
        content, sources = manifest["splits"][split], manifest.get("sources", {})
        self._tiles_of, self._num_tiles = content["assays"], content["tiles"]
        self.diagonal_offsets = diagonal_offsets(manifest)
        trans_tiles = manifest.get("trans_tiles", {}).items()
        trans = [assay for assay, by_split in trans_tiles if by_split.get(split, {}).get("kept")]
        self.has_context = bool(manifest.get("context")) and (
            not trans or bool(manifest.get("trans_context"))
        )
        self.assays, self._cis = {}, []
        for assay in self._tiles_of:
            chromosomes = manifest["tiles"].get(assay, {}).items()
            chromosomes = [name for name, stats in chromosomes if _is_in(stats, split)]
            self._cis += [region_key(assay, [name]) for name in chromosomes]
            if assay in trans:  # the manifest does not name the chromosomes of its trans tiles: take all
                chromosomes = content["chromosomes"]
            source = sources.get(assay, {})
            lengths, width = source.get("chromsizes", {}), manifest.get("resolution")
            bins = sum(-(-length // width) for length in lengths.values()) if width else None
            facts = source.get("total_count"), width, longest_chromosomes(lengths), bins
            kinds = {"trans": assay in trans, SIMULATED: bool(source.get(SIMULATED))}
            self.assays[assay] = AssayInfo(chromosomes, *facts, **kinds)
        self._files, self._expected = None, {}

    def __len__(self) -> int:
        return self._num_tiles

    def assay_numbers(self) -> np.ndarray:
        return np.repeat(np.arange(len(self._tiles_of)), list(self._tiles_of.values()))

    def open(self) -> None:
        if self._files is not None:
            return
        if self.has_context:
            self._expected = read_context(self._path, self._cis)
        import_tensorflow()  # raises now if it is missing: streams need it
        tfds, self._example = import_tfds(), example_type()
        try:
            info = tfds.builder_from_directory(self._path).info.splits[self._split]
            files = RecordFiles([str(path) for path in info.filepaths], info.shard_lengths)
        except Exception as error:  # protobuf's own, or a field of another type
            raise damaged(self._path, error) from error
        if len(files) != len(self):
            found = f"{len(self)} tiles of {self._split!r} in its manifest, {len(files)} in dataset_info.json"
            raise damaged(self._path, found)
        self._files = files

    def read_records(self, indices: np.ndarray) -> list[bytes]:
        """Records as stored; raises InputError with the file that cannot be read."""
        return self._files.read(indices)

    def read(self, indices: np.ndarray) -> list[Tile]:
        return [self.parse(record) for record in self.read_records(indices)]

    def parse(self, record: bytes) -> Tile:
        """The tile of a record; it and its arrays raise InputError if they cannot be decoded."""
        try:
            fields = self._example.FromString(record).features.feature
            return Tile(
                diag=fields["diag"].int64_list.value[0],
                total_count=fields["total_count"].float_list.value[0],
                matrix_count=fields["matrix_count"].float_list.value[0],
                array=functools.partial(self._array, fields),
                **self._place(fields),
            )
        except Exception as error:  # protobuf's own, or an empty field
            raise damaged(f"A tile of split {self._split!r} of {self._path}", error) from error

    def _place(self, fields) -> dict:
        assay, *pair = (
            name.decode() for key in ("assay", "chromosomes") for name in fields[key].bytes_list.value
        )
        expected = self._expected[region_key(assay, pair)] if self.has_context else None
        return {"starts": fields["starts"].int64_list.value, "chromosomes": pair, "expected": expected}

    def _array(self, fields, name: str) -> np.ndarray:
        shape, dtype, key = self.tile_shape, self.dtype, name
        if name != "counts":
            shape, dtype, key = self.target_shapes[name], np.dtype(np.float32), f"target_{name}"
        try:
            packed = fields[key].bytes_list.value[0]
            content = zlib.decompress(packed, bufsize=math.prod(shape) * dtype.itemsize)
            return np.frombuffer(content, dtype).reshape(shape)
        except (zlib.error, IndexError, ValueError) as error:
            raise damaged(f"A tile of split {self._split!r} of {self._path}", error) from error


def _is_in(stats: dict, split: str) -> bool:
    return isinstance(stats, dict) and stats.get("split") == split and bool(stats.get("kept"))


_AHEAD_BYTES = 1 << 30  # of batches in preparation at the same time; at least two


class Pipelines:
    """The tf.data pipelines of one source."""

    def __init__(self):
        # One per distinct stream, because TensorFlow keeps every Python function that it has traced.
        self._pipelines = {}

    def run(self, batches: Batches, steps: range) -> Iterator[Batch]:
        """Yields the batches of these steps in order, prepared in the background."""
        key = batches, steps
        if key not in self._pipelines:
            self._pipelines[key] = _Pipeline(batches, steps)
        stream = self._pipelines[key].batches()
        _closed_at_exit().add(stream)
        return stream


class _Pipeline:
    def __init__(self, make: Batches, steps: range):
        tf = import_tensorflow()
        self._make, self._failures = make, []
        self._nothing, self._structure = jax.tree.flatten(make.no_example())
        dtypes = [array.dtype for array in self._nothing]
        self._dataset = (
            tf.data.Dataset.range(steps.start, steps.stop)
            .map(
                lambda step: tf.numpy_function(self._arrays, [step], [np.bool_, *dtypes]),
                num_parallel_calls=min(os.cpu_count(), max(2, _AHEAD_BYTES // make.num_bytes)),
                deterministic=True,
            )
            .take_while(lambda made, *_: made)
            .prefetch(2)
        )

    def _arrays(self, step: np.ndarray) -> list[np.ndarray]:
        # TensorFlow would wrap an exception in pages of its log: end the stream and raise it there.
        try:
            return [np.True_, *jax.tree.leaves(self._make(int(step)))]
        except Exception as error:
            self._failures.append(error)
            return [np.False_, *self._nothing]

    def batches(self) -> Iterator[Batch]:
        self._failures.clear()
        iterator = self._dataset.as_numpy_iterator()
        try:
            for _, *arrays in iterator:
                yield jax.tree.unflatten(self._structure, arrays)
        finally:
            del iterator  # stops TensorFlow's threads, unless a traceback still refers to it
        if self._failures:
            raise self._failures[0]


@functools.cache
def _closed_at_exit() -> weakref.WeakSet:
    # Threads of tf.data that call Python while the interpreter shuts down abort the process.
    streams = weakref.WeakSet()

    def close() -> None:
        for stream in list(streams):
            with contextlib.suppress(ValueError):  # another thread is requesting a batch
                stream.close()

    atexit.register(close)
    return streams
