"""Worker threads and processes on this machine."""

import contextlib
import functools
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import SpawnContext, SpawnProcess

from hicfm_jax.errors import InputError


@contextlib.contextmanager
def stream_workers(processes: int) -> Iterator[Executor]:
    """Two threads, or with `processes` a pool of processes, which all streams share and which stays.

    Threads start at once, but Python's lock lets one of them run at a time. Processes take seconds to start
    and some 0.2 GB each; their arguments and results are copied. Raises InputError if one was killed.
    """
    if not processes:
        with ThreadPoolExecutor(max_workers=2) as pool:
            yield pool
        return
    try:
        yield _stream_processes(processes)
    except BrokenProcessPool as error:
        _stream_processes.cache_clear()
        raise killed("lower data.thin_processes") from error


def killed(remedy: str) -> InputError:
    """The error for a pool that lost a process."""
    return InputError(f"A worker process was killed, usually for lack of memory: {remedy}.")


def process_pool(processes: int, start: Callable[..., None], *arguments) -> ProcessPoolExecutor:
    """Spawned processes that end with this one; each first calls `start(*arguments)`."""
    return ProcessPoolExecutor(processes, _Context(), initializer=_start, initargs=(start, arguments))


class _Process(SpawnProcess):
    """A pool that lost a process terminates the others; some of these ignore SIGTERM."""

    def terminate(self) -> None:
        self.kill()


class _Context(SpawnContext):
    # Spawned: a fork of a process with threads, such as JAX's and TensorFlow's, may hang.
    Process = _Process


def _start(start: Callable[..., None], arguments: tuple) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    start(*arguments)


def _end_with_parent() -> None:
    multiprocessing.parent_process().join()
    os._exit(1)


@functools.lru_cache(maxsize=1)
def _stream_processes(count: int) -> ProcessPoolExecutor:
    return process_pool(count, _ignore_signals)


def _ignore_signals() -> None:
    # A cluster's SIGTERM and a terminal's Ctrl-C reach all processes, but the run has to be saved first.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
