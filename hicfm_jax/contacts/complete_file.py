"""Files that appear under their name whole, or not at all."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def complete_or_absent(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside `path` to write in, gone afterwards; the caller moves the finished file out of it.

    Raises:
      OSError: the disk is full or not writable, named by `path`; also where HDF5 said so in its own words.
    """
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        try:
            yield pathlib.Path(folder)
        except (OSError, RuntimeError) as error:
            number = getattr(error, "errno", None) or _hdf5_errno(error)
            if number is None:
                raise
            # HDF5 keeps a file open that it could not flush, and may crash if it still cannot at exit.
            for written in filter(pathlib.Path.is_file, pathlib.Path(folder).rglob("*")):
                os.truncate(written, 0)
            raise OSError(number, os.strerror(number), str(path)) from error


def check_space(path: pathlib.Path, needed: float) -> None:
    """Raises OSError where the disk of `path` has no room for about `needed` bytes."""
    if shutil.disk_usage(path.parent).free < needed + 500_000:
        raise OSError(errno.ENOSPC, f"up to {needed / 1e6 + 0.5:.1f} MB are needed there", str(path))


def _hdf5_errno(error: Exception) -> int | None:
    found = re.search(r"errno = (\d+)", str(error))
    return int(found.group(1)) if found else None
