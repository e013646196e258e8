"""The input stream from datasets on disk: tf.data makes batches off the main thread, some ahead.

What is in a batch is said by `stream`, as for tiles in memory: both give the same bits.
"""

import atexit
import contextlib
import functools
import os
import weakref
from collections.abc import Callable, Iterator

import jax
import numpy as np

from hicfm_jax.tiles.dataset import import_tensorflow, read_manifest
from hicfm_jax.tiles.stream.batches import Source
from hicfm_jax.tiles.stream.disk import DiskSplit
from hicfm_jax.types import Batch

_AHEAD_BYTES = 1 << 30  # of batches that are made at the same time; two are in any case


class BackgroundSource(Source):
    """Tiles whose batches are made ahead by tf.data."""

    def __init__(self):
        # By arguments, because TensorFlow keeps every Python function that it has traced for ever.
        self._running = {}

    def run(self, batches: Callable[[int], Batch], steps: range) -> Iterator[Batch]:
        key = batches, steps
        if key not in self._running:
            self._running[key] = _Background(batches, steps)
        stream = self._running[key].batches()
        _closed_at_exit().add(stream)
        return stream


class DiskTiles(BackgroundSource):
    """A dataset of tiles made by `builder.build_tiles`; opening it reads the manifest only."""

    def __init__(self, path: str | os.PathLike):
        """Raises InputError if `path` holds no finished dataset of this format version."""
        super().__init__()
        self.name = os.fspath(path)
        self.manifest = read_manifest(path)
        self.splits = list(self.manifest["splits"])
        self.mix = self.manifest["mix"]
        self._tiles = {split: DiskSplit(self.name, self.manifest, split) for split in self.splits}

    def tiles(self, split: str) -> DiskSplit:
        return self._tiles[split]


class _Background:
    """The tf.data dataset of the batches of some steps."""

    def __init__(self, make: Callable[[int], Batch], steps: range):
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
        # An exception would come out wrapped in pages of TensorFlow's log: end the stream instead.
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
            del iterator  # stops TensorFlow's threads, unless a traceback still holds it
        if self._failures:
            raise self._failures[0]


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
