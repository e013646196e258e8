"""Who does the work of a stream that Python does itself: threads, or processes of their own."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess

from hicfm_jax.errors import InputError


@contextlib.contextmanager
def workers(processes: int) -> Iterator[Executor]:
    """Two threads, or with `processes` so many processes, which all streams share and which stay.

    Threads start at once, but hold Python's lock in turn, which two cores already feel. Processes take
    seconds to start and some 0.2 GB each; what they are given and give back is copied.

    Raises:
      InputError: one of the processes was killed.
    """
    if processes:
        try:
            yield _processes(processes)
        except BrokenProcessPool as error:
            _processes.cache_clear()
            raise InputError(
                f"One of {processes} processes that drop contacts was killed, mostly for want of memory: "
                "lower data.thin_processes."
            ) from error
        return
    with ThreadPoolExecutor(max_workers=2) as pool:
        yield pool


class _Process(SpawnProcess):
    """Does not listen to SIGTERM (see `_follow`), by which a pool ends the others when one was killed."""

    def terminate(self) -> None:
        self.kill()


class _Context(SpawnContext):
    # Spawned: a fork of a process with threads, as JAX's and TensorFlow's, may hang.
    Process = _Process


@functools.lru_cache(maxsize=1)
def _processes(count: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(count, _Context(), initializer=_follow)


def _follow() -> None:
    """Leaves it to the process that started this one when to end, and ends with it."""
    # A cluster's SIGTERM and a terminal's Ctrl-C reach all processes, and the run has to be saved first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)
