"""Reading a file in a process of its own, where a damaged file can do no harm.

On files with flipped bytes, HDF5 takes gigabytes or never returns; hictk and straw also crash. None of that
can be caught in the process that it happens in.
"""

import atexit
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from multiprocessing.connection import Connection

from hicfm_jax.errors import InputError

_START = """
import socket, sys
sys.path[:] = {path!r}
from hicfm_jax.contacts.formats import reading_server
reading_server.serve(socket.socket(fileno={fd}))
"""


class ReadingProcess:
    """Calls the methods of a reader that lives in another process.

    The process starts with the first call, keeps the file open between calls, and ends with this object. It
    may grow by less than 1 GB and work for 2 seconds without an answer, large files more (`reading_server`):
    what goes beyond is taken for damage.

    Args:
      reader: a class of this package with generator methods, made there as `reader(path, *args)`.
      path: the file.
      args: what else the class takes.
    """

    def __init__(self, reader: type, path: str, *args: object):
        self.path = path
        self._made_of = reader, path, args
        self._folder = os.getcwd()  # what a relative path starts from, wherever the other process is
        self._connection: Connection | None = None
        self._owner = 0
        self._lock = threading.Lock()

    def __reduce__(self):
        reader, path, args = self._made_of
        return type(self), (reader, path, *args)

    def stream(self, method: str, *args: object) -> Iterator:
        """Yields what the generator `reader.method(*args)` yields.

        Raises:
          InputError: what the reader says is wrong, or that the library failed, crashed or got stuck.
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
                    finished = kind != "damage"  # after which a library is in no known state
                    if kind == "end":
                        return
                    raise InputError(value if kind == "input" else self._damage(value))
            except (EOFError, ConnectionError) as error:
                raise InputError(
                    self._damage("the library that reads it crashed, got stuck or took too much memory")
                ) from error
            finally:
                if not finished:
                    self._disconnect()

    def ask(self, method: str, *args: object):
        """The one thing that `reader.method(*args)` yields."""
        (answer,) = self.stream(method, *args)
        return answer

    def _damage(self, reason: str) -> str:
        reason = " ".join(reason.split())[:300]
        return (
            f"{self.path} cannot be read as a {os.path.splitext(self.path)[1]} file ({reason}): it may be "
            "truncated, damaged or of another format; make or fetch it again."
        )

    def _connect(self) -> Connection:
        # A process forked from this one must not speak on the same line.
        if self._connection is None or self._owner != os.getpid():
            self._connection, self._owner = _server.connect(), os.getpid()
            self._connection.send((self._folder, self._made_of))
        return self._connection

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class _Server:
    """The warm process of `reading_server`, started when first needed and once again if it is gone."""

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
            self._process = subprocess.Popen(
                [sys.executable, "-c", command],
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                # Readers fork; idle threads of a linear algebra library would only be in the way.
                env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
            )
        self._owner = os.getpid()
        atexit.register(self._stop, self._process, self._control, self._owner)

    @staticmethod
    def _stop(process: subprocess.Popen, control: socket.socket, owner: int) -> None:
        control.close()
        if owner == os.getpid():
            process.wait()


_server = _Server()
