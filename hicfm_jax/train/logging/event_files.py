"""TensorBoard's event files, on disk or in a bucket.

An error while one is written would end tensorboardX's thread, for whose queue the program would then wait
for ever at its end; here it is told, and what could not be written waits for the next time.
"""

import contextlib
import os
import time
from collections.abc import Callable

from etils import epath

from hicfm_jax.storage import in_bucket

_SCHEME = "hicfm_jax"  # tensorboardX chooses who opens a file by what stands before a colon
_SECONDS = 60  # from one upload to the next: each sends the whole file, since buckets cannot append


def summary_folder(folder: epath.Path) -> str:
    """What to give tensorboardX for it to write to this folder by way of this module."""
    # Imported here because it imports torch where that is installed.
    from tensorboardX.record_writer import register_writer_factory

    register_writer_factory(_SCHEME, _Factory)
    return f"{_SCHEME}:{folder}"


class _Factory:
    @staticmethod
    def directory_check(name: str) -> None:
        _path(name).mkdir(parents=True, exist_ok=True)

    @staticmethod
    def open(name: str) -> "_EventFile":
        path = _path(name)
        return _BucketFile(path) if in_bucket(path) else _LocalFile(path)


def _path(name: str) -> epath.Path:
    return epath.Path(name.removeprefix(f"{_SCHEME}:"))


class _EventFile:
    def __init__(self, path: epath.Path):
        self._path, self._told = path, False
        self._content = bytearray()  # what is not yet written; of a file in a bucket all

    def write(self, data: bytes) -> None:
        self._content += data

    def flush(self) -> None:
        self._attempt(self._send)

    def close(self) -> None:
        self.flush()

    def _attempt(self, do: Callable[[], None]) -> None:
        try:
            do()
            self._told = False
        except Exception as error:  # every kind of bucket has errors of its own
            if not self._told:
                self._tell(error)

    def _tell(self, error: Exception) -> None:
        self._told = True
        reason = getattr(error, "strerror", None) or error
        with contextlib.suppress(OSError, ValueError):  # the screen may be a file of the same disk
            print(
                f"WARNING: {self._path} cannot be written now ({reason}): TensorBoard lacks what "
                "metrics.jsonl has.",
                flush=True,
            )


class _LocalFile(_EventFile):
    def __init__(self, path: epath.Path):
        super().__init__(path)
        self._file = open(path, "wb", buffering=0)

    def _send(self) -> None:
        while self._content:
            del self._content[: self._file.write(self._content)]
        os.fsync(self._file.fileno())

    def close(self) -> None:
        super().close()
        self._attempt(self._file.close)


class _BucketFile(_EventFile):
    def __init__(self, path: epath.Path):
        super().__init__(path)
        self._next = 0.0

    def _send(self) -> None:
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + _SECONDS
            self._path.write_bytes(bytes(self._content))

    def close(self) -> None:
        self._next = 0.0
        super().close()
