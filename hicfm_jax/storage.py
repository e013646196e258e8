"""Paths of remote storage (gs://...): workdirs may be there, most other files may not.

Files that appear under their name whole, or not at all.

Files that are whole or not there.
"""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator

from etils import epath

from hicfm_jax.errors import InputError


def in_bucket(path: str | os.PathLike) -> bool:
    """Whether a path is of remote storage, where nothing can be locked or appended to."""
    return "://" in os.fspath(path)


def local_path(path: str | os.PathLike) -> pathlib.Path:
    """The path of a file or folder that has to be local.

    Raises:
      InputError: it is in a bucket; pathlib would make a folder `gs:` of it here.
    """
    if in_bucket(path):
        raise InputError(
            f"{os.fspath(path)} is in a bucket: give a file or folder of this machine and copy it."
        )
    return pathlib.Path(path)


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


def write_atomically(path: epath.Path, data: bytes) -> None:
    """Writes a file; a full disk, a kill or a power cut leaves the old one, or none, under its name."""
    partial = path.with_name(path.name + ".partial")
    try:
        with partial.open("wb") as file:
            file.write(data)
            if not in_bucket(path):
                file.flush()
                os.fsync(file.fileno())
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
