"""The input stream from a dataset on disk: tf.data reads, inflates and crops off the main thread.

What is drawn comes from `sampling`, so batches are bit for bit those of `arrays` for the same tiles.
"""

import atexit
import contextlib
import functools
import os
import weakref
from collections.abc import Callable, Iterator

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles import sampling
from hicfm_jax.tiles.records import RecordFiles, import_tensorflow, import_tfds, read_manifest
from hicfm_jax.types import Batch

_FOREVER = 1 << 62


class DiskTiles:
    """A dataset of tiles made by `builder.build_tiles`; opening it reads the manifest only."""

    def __init__(self, path: str | os.PathLike):
        """Raises InputError if `path` holds no finished dataset of this format version."""
        self.path = os.fspath(path)
        self.manifest = read_manifest(path)
        self._files = {}  # by split
        # By arguments, because TensorFlow keeps every Python function that it has traced for ever.
        self._datasets = {}

    @property
    def splits(self) -> list[str]:
        return list(self.manifest["splits"])

    @property
    def tile_size(self) -> int:
        return self.manifest["tile_size"]

    def num_tiles(self, split: str = "train") -> int:
        """Tiles of a split, 0 if there is no such split."""
        return self.manifest["splits"].get(split, {"tiles": 0})["tiles"]

    def train_stream(
        self,
        split: str = "train",
        *,
        batch_size: int,
        window: tuple[int, int],
        seed: int,
        start_step: int = 0,
        min_density: float = 0.05,
        max_redraws: int = 8,
        flips: bool = False,
        host_index: int = 0,
        host_count: int = 1,
    ) -> Iterator[Batch]:
        """Endless training batches; arguments and batches as `arrays.train_stream`."""
        num_tiles = self._check(split, window, batch_size)
        share = sampling.host_slice(batch_size, host_index, host_count)

        def indices(step: int) -> tuple[np.ndarray, np.ndarray]:
            chosen = sampling.batch_indices(seed, step, num_tiles, batch_size)[share]
            return chosen, np.ones(len(chosen), np.float32)

        def crops(step: int, chosen: np.ndarray, diag: np.ndarray) -> sampling.Crops:
            return sampling.train_crops(
                seed, step, batch_size, diag, self.tile_size, window, max_redraws, flips, share
            )

        drawn = ("train", batch_size, seed, start_step, max_redraws, flips, share.start, share.stop)
        steps, size = (start_step, _FOREVER), share.stop - share.start
        return self._batches(split, drawn, steps, indices, crops, window, min_density, size)

    def evaluation_stream(
        self,
        split: str = "val",
        *,
        batch_size: int,
        window: tuple[int, int],
        seed: int,
        min_density: float = 0.05,
        max_redraws: int = 8,
        host_index: int = 0,
        host_count: int = 1,
    ) -> Iterator[Batch]:
        """Every tile once; arguments and batches as `arrays.evaluation_stream`."""
        num_tiles = self._check(split, window, batch_size)
        share = sampling.host_slice(batch_size, host_index, host_count)

        def indices(step: int) -> tuple[np.ndarray, np.ndarray]:
            chosen, mask = sampling.evaluation_indices(step * batch_size, num_tiles, batch_size)
            return chosen[share], mask[share]

        def crops(step: int, chosen: np.ndarray, diag: np.ndarray) -> sampling.Crops:
            return sampling.evaluation_crops(seed, chosen, diag, self.tile_size, window, max_redraws)

        drawn = ("evaluation", batch_size, seed, max_redraws, share.start, share.stop)
        steps, size = (0, -(-num_tiles // batch_size)), share.stop - share.start
        return self._batches(split, drawn, steps, indices, crops, window, min_density, size)

    def _check(self, split: str, window: tuple[int, int], batch_size: int) -> int:
        if split not in self.splits:
            raise InputError(f"{self.path} has no split {split!r}: choose from {', '.join(self.splits)}.")
        sampling.check_stream(self.tile_size, self.num_tiles(split), window, batch_size)
        return self.num_tiles(split)

    def _records(self, split: str) -> RecordFiles:
        if split in self._files:
            return self._files[split]
        tfds = import_tfds()
        try:
            info = tfds.builder_from_directory(self.path).info.splits[split]
            files = RecordFiles([str(path) for path in info.filepaths], info.shard_lengths)
        except (OSError, KeyError, ValueError) as error:
            raise InputError(
                f"{self.path} is damaged ({error}): make the tiles again with scripts/make_tiles.py."
            ) from error
        if len(files) != self.num_tiles(split):
            raise InputError(
                f"{self.path} says {self.num_tiles(split)} tiles of split {split!r} in its manifest and "
                f"{len(files)} in dataset_info.json: make the tiles again with scripts/make_tiles.py."
            )
        self._files[split] = files
        return files

    def _batches(
        self,
        split: str,
        drawn: tuple,
        steps: tuple[int, int],
        indices: Callable,
        crops: Callable,
        window: tuple[int, int],
        min_density: float,
        size: int,
    ) -> Iterator[Batch]:
        files = self._records(split)
        tf = import_tensorflow()
        key = split, drawn, window, min_density
        if key not in self._datasets:
            self._datasets[key] = self._dataset(tf, files, steps, indices, crops, window, min_density, size)
        dataset = self._datasets[key]
        failure = tf.errors.OpError  # looked up now: at interpreter exit the module is gone

        def batches():
            iterator, problem = dataset.as_numpy_iterator(), None
            try:
                for fields in iterator:
                    yield Batch(**fields)
            except failure as error:
                problem = InputError(
                    f"{self.path} holds a tile of split {split!r} that cannot be decoded ({error.message}): "
                    "make the tiles again with scripts/make_tiles.py."
                )
            finally:
                del iterator  # stops TensorFlow's threads, unless a traceback still holds it
            if problem or files.error:
                raise problem or files.error

        stream = batches()
        _closed_at_exit().add(stream)
        return stream

    def _dataset(self, tf, files, steps, indices, crops, window, min_density, size):
        """The tf.data dataset of batches; `indices` and `crops` say what each step draws."""
        decode = _decoder(tf, self.tile_size, self.manifest["dtype"], window, min_density)

        def read(step):
            outputs = [tf.int64, tf.int64, tf.string, tf.float32, tf.bool]
            return tf.numpy_function(lambda step: _read(files, step, *indices(int(step))), [step], outputs)

        def plan(step, chosen, records, mask, _):
            spec = {
                "counts": tf.io.FixedLenFeature([], tf.string),
                "diag": tf.io.FixedLenFeature([], tf.int64),
                "total_count": tf.io.FixedLenFeature([], tf.float32),
                "matrix_count": tf.io.FixedLenFeature([], tf.float32),
            }
            example = tf.io.parse_example(tf.ensure_shape(records, [size]), spec)
            starts, diag, flips = tf.numpy_function(
                lambda step, chosen, diag: tuple(crops(int(step), chosen, diag)),
                [step, chosen, example["diag"]],
                [tf.int32, tf.int32, tf.bool],
            )
            return example | {
                "starts": tf.ensure_shape(starts, [size, None, 2]),
                "diag": tf.ensure_shape(diag, [size, None]),
                "flips": tf.ensure_shape(flips, [size, 2]),
                "mask": tf.ensure_shape(mask, [size]),
            }

        dataset = tf.data.Dataset.range(*steps).map(read, num_parallel_calls=2, deterministic=True)
        dataset = dataset.take_while(lambda *read: read[-1]).map(plan).unbatch()
        dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        return dataset.batch(size, drop_remainder=True).prefetch(2)


@functools.cache
def _closed_at_exit() -> weakref.WeakSet:
    # Threads of tf.data that still call Python when the interpreter leaves abort the process.
    streams = weakref.WeakSet()

    def close() -> None:
        for stream in list(streams):
            with contextlib.suppress(ValueError):  # another thread is asking it for a batch
                stream.close()

    atexit.register(close)
    return streams


def _read(files: RecordFiles, step: np.ndarray, chosen: np.ndarray, mask: np.ndarray):
    # An exception here would come out wrapped in pages of TensorFlow's log: end the stream instead.
    try:
        found, ok = files.read(chosen), True
    except InputError:
        found, ok = [b""] * len(chosen), False
    return step, chosen.astype(np.int64), np.array(found, dtype=object), mask, np.bool_(ok)


def _decoder(tf, tile_size: int, dtype: str, window: tuple[int, int], min_density: float) -> Callable:
    height, width = window
    needed = sampling.needed_pixels(min_density, window)

    def filled(tile, start):
        cut = tf.slice(tile, start, window)
        return tf.reduce_sum(tf.cast(tf.not_equal(cut, tf.zeros([], cut.dtype)), tf.int32))

    def decode(example):
        raw = tf.io.decode_compressed(example["counts"], "ZLIB")
        tile = tf.reshape(tf.io.decode_raw(raw, tf.as_dtype(dtype)), [tile_size, tile_size])
        starts = example["starts"]

        def densest():
            found = tf.map_fn(lambda start: filled(tile, start), starts)
            return tf.argmax(tf.minimum(found, needed), output_type=tf.int32)

        if window == (tile_size, tile_size):
            best = 0  # the only candidate
        else:
            best = tf.cond(filled(tile, starts[0]) >= needed, lambda: 0, densest)
        cut = tf.slice(tile, starts[best], window)
        reverse, transpose = example["flips"][0], example["flips"][1]
        cut = tf.cond(reverse, lambda: tf.reverse(cut, [0, 1]), lambda: cut)
        if height == width:
            cut = tf.cond(transpose, lambda: tf.transpose(cut), lambda: cut)
        return {
            "counts": tf.ensure_shape(cut, window),
            "total_count": example["total_count"],
            "diag": example["diag"][best],
            "matrix_count": example["matrix_count"],
            "mask": example["mask"],
        }

    return decode
