"""Reading of files in a separate process with limits on memory and time.

On damaged files HDF5 may take gigabytes or never return, and hictk, hic-straw and native code of scipy may
crash. None of that can be caught in the process in which it happens.

One warm process is started for all files, and forks a reader for each. It is a program of its own rather than
a child of `multiprocessing`, which would run the user's script again and import JAX and TensorFlow with it.
"""

import atexit
import contextlib
import dataclasses
import importlib
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from multiprocessing.connection import Connection

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.blocks import MapBlock, starts
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError, InputNote


@dataclasses.dataclass(frozen=True)
class Limits:
    """Resources that reading one file may take."""

    memory: int = 900 << 20  # bytes in addition to those of the warm process
    memory_per_byte: int = 4  # further bytes per byte of the file,
    max_extra_memory: int = 4 << 30  # at most
    seconds: float = 2.0  # CPU time for each part of an answer
    bytes_per_second: int = 1_000_000  # of the file, for which each part may take another second


LIMITS = Limits()

_START = """
import socket, sys
sys.path[:] = {path!r}
from hicfm_jax.contacts.formats import reading_process
reading_process.serve(socket.socket(fileno={fd}))
"""


class ReadingProcess:
    """Calls the methods of a reader in another process.

    The process starts with the first call, keeps the file open between calls, and ends with this object. A
    file that exceeds `LIMITS` is reported as damaged.

    Args:
      reader: a class with generator methods, made there as `reader(path)`. Optional attributes:
        `PRELOADED`, a library that the warm process imports for all readers of this class, and
        `MEMORY_PER_BYTE`, bytes of memory per byte of the file, for readers that load all of it.
      path: the file.
    """

    def __init__(self, reader: type, path: str):
        self.path = path
        self._reader = reader
        self._folder = os.getcwd()  # relative paths start here, wherever the other process is
        self._connection: Connection | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def stream(self, method: str, *args: object) -> Iterator:
        """Yields the parts that the generator `reader.method(*args)` yields.

        Raises:
          InputError: raised by the reader, or because the library failed, crashed or exceeded a limit.
        """
        with self._lock:
            finished = False
            try:
                connection = self._connect()
                connection.send((method, args))
                while True:
                    kind, value = connection.recv()
                    if kind == "part":
                        yield value
                        continue
                    if kind == "note":
                        warnings.warn(InputNote(value), stacklevel=2)
                        continue
                    finished = kind != "damage"  # after which the state of a library is undefined
                    if kind == "end":
                        return
                    raise InputError(value if kind == "input" else self._damage(value))
            except (EOFError, ConnectionError) as error:
                raise InputError(
                    self._damage("the library that reads it crashed, hung or took too much memory")
                ) from error
            finally:
                if not finished:
                    self._disconnect()

    def ask(self, method: str, *args: object):
        """Returns the single part that `reader.method(*args)` yields."""
        (answer,) = self.stream(method, *args)
        return answer

    def _damage(self, reason: str) -> str:
        reason = " ".join(reason.split())[:300]
        return (
            f"{self.path} cannot be read as a {os.path.splitext(self.path)[1]} file ({reason}): it may be "
            "truncated, damaged or of another format; make or fetch it again."
        )

    def _connect(self) -> Connection:
        # A process forked from this one needs a connection of its own.
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = _warm.connect(), os.getpid()
            self._connection.send((self._folder, self._reader, self.path, LIMITS))
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def lazy_map(
    reader: ReadingProcess,
    chromsizes: Mapping[str, int],
    resolution: int,
    name: str,
    *args,
    by_block: bool = False,
    **options,
) -> ContactMap:
    """A ContactMap whose pairs are loaded with `reader.pixels(*args, chrom1, chrom2)`; options as of it.

    With `by_block`, blocks are loaded with `reader.pixels(*args, rows, columns)`, the first and last
    chromosome of each.
    """

    def load(chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        shape = contact_map.n_bins(chrom1), contact_map.n_bins(chrom2)
        return assemble(reader.stream("pixels", *args, chrom1, chrom2), shape)

    def load_block(block: MapBlock) -> scipy.sparse.csr_array:
        shape = tuple(int(starts(names, contact_map.bins)[-1]) for names in block[:2])
        ends = ((names[0], names[-1]) for names in block[:2])
        return assemble(reader.stream("pixels", *args, *ends), shape)

    loads = {"matrices": None, "load_block": load_block} if by_block else {"matrices": load}
    contact_map = ContactMap(chromsizes, resolution, name=name, **loads, **options)
    return contact_map


def assemble(parts: Iterable[tuple[np.ndarray, ...]], shape: tuple[int, int]) -> scipy.sparse.csr_array:
    """A matrix of `shape` from parts (rows, columns, counts)."""
    parts = list(parts)
    if not parts:
        return scipy.sparse.csr_array(shape, dtype=np.int64)
    rows, cols, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return scipy.sparse.coo_array((counts, (rows, cols)), shape).tocsr()


class _WarmProcess:
    """The process that runs `serve`, started at the first use and again if it has ended."""

    def __init__(self):
        self._process: subprocess.Popen | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def connect(self) -> Connection:
        with self._lock:
            if self._owner != os.getpid() or self._process.poll() is not None:
                self._start()
            ours, theirs = socket.socketpair()
            with theirs:
                socket.send_fds(self._control, [b"+"], [theirs.fileno()])
            return Connection(ours.detach())

    def _start(self) -> None:
        self._control, theirs = socket.socketpair()
        with theirs:
            command = _START.format(path=sys.path, fd=theirs.fileno())
            # Readers fork, so threads of a linear algebra library would be in the way. Other programs may
            # write weights to a cooler that is open here, so HDF5 does not lock it.
            settings = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "HDF5_USE_FILE_LOCKING": "FALSE"}
            self._process = subprocess.Popen(
                [sys.executable, "-c", command],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                env={**os.environ, **settings},
                process_group=0,  # Ctrl-C is for the process that asks, also while this one imports
            )
        self._owner = os.getpid()
        atexit.register(self._stop, self._process, self._control, self._owner)

    @staticmethod
    def _stop(process: subprocess.Popen, control: socket.socket, owner: int) -> None:
        control.close()
        if owner == os.getpid():
            process.wait()


_warm = _WarmProcess()


def serve(control: socket.socket) -> None:
    """Forks a reader for each socket that arrives, until the process that sends them has ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that asks
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    while True:
        message, (*sockets,), _, _ = socket.recv_fds(control, 1, 1)
        if not message:
            return
        with Connection(sockets[0]) as connection, contextlib.suppress(EOFError, OSError):
            folder, reader, path, limits = connection.recv()
            with contextlib.suppress(ImportError):
                importlib.import_module(getattr(reader, "PRELOADED", "numpy"))
            if os.fork() == 0:
                control.close()
                try:
                    os.chdir(folder)
                    _answer_requests(connection, reader, path, limits)
                finally:
                    os._exit(0)


def _answer_requests(connection: Connection, reader: type, path: str, limits: Limits) -> None:
    silence = os.open(os.devnull, os.O_WRONLY)
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    size = os.path.getsize(path)
    extra = min(limits.memory_per_byte * size, limits.max_extra_memory)
    _limit_memory(limits.memory + getattr(reader, "MEMORY_PER_BYTE", 0) * size + extra)
    seconds = limits.seconds + size / limits.bytes_per_second
    opened = None
    while True:
        method, args = connection.recv()
        try:
            # The default action of this signal ends the process; each part sets the clock back.
            signal.setitimer(signal.ITIMER_PROF, seconds)
            with warnings.catch_warnings(record=True) as notes:
                warnings.simplefilter("always", InputNote)
                opened = opened or reader(path)
                for part in getattr(opened, method)(*args):
                    connection.send(("part", part))
                    signal.setitimer(signal.ITIMER_PROF, seconds)
            for note in notes:
                if issubclass(note.category, InputNote):
                    connection.send(("note", str(note.message)))
            answer = "end", None
        except InputError as error:
            answer = "input", str(error)
        except MemoryError:
            answer = "damage", "it needs more memory than its size explains"
        except ConnectionError:
            return
        except Exception as error:
            answer = "damage", str(error) or type(error).__name__
        connection.send(answer)


def _limit_memory(growth: int) -> None:
    if not os.path.exists("/proc/self/statm"):  # only Linux applies such a limit
        return
    with open("/proc/self/statm") as file:
        held = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (held + growth, resource.getrlimit(resource.RLIMIT_AS)[1]))
