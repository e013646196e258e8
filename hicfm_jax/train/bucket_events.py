"""TensorBoard's event files in a bucket."""

import io
import time

from etils import epath

_SECONDS = 60  # from one upload to the next: each sends the whole file


class _EventFile:
    """What tensorboardX writes to, sent as a whole, since buckets cannot append."""

    def __init__(self, path: str):
        self._path, self._content, self._next = epath.Path(path), io.BytesIO(), 0.0

    def write(self, data: bytes) -> None:
        self._content.write(data)

    def flush(self) -> None:
        if time.monotonic() >= self._next:
            self.close()

    def close(self) -> None:
        self._path.write_bytes(self._content.getvalue())
        self._next = time.monotonic() + _SECONDS


class _Factory:
    def open(self, path: str) -> _EventFile:
        return _EventFile(path)

    def directory_check(self, path: str) -> None:
        epath.Path(path).mkdir(parents=True, exist_ok=True)


def write_through_epath(folder: epath.Path) -> None:
    """Has tensorboardX write to this folder's bucket with the library that serves everything else.

    By itself it would ask for one more, a different one for every kind of bucket.
    """
    # Imported here because it imports torch where that is installed.
    from tensorboardX.record_writer import register_writer_factory

    register_writer_factory(str(folder).partition(":")[0], _Factory())
