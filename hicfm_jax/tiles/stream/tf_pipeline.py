"""Batches made ahead of the training step by tf.data."""

import atexit
import contextlib
import functools
import os
import weakref
from collections.abc import Iterator

import jax
import numpy as np

from hicfm_jax.tiles.dataset import import_tensorflow
from hicfm_jax.tiles.stream.batches import Batches
from hicfm_jax.types import Batch

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
