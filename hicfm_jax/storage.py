"""Files and folders written whole or not at all, locks, and bucket paths."""

import contextlib
import errno
import fcntl
import glob
import json
import os
import pathlib
import re
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from typing import Any

from etils import epath

from hicfm_jax.errors import InputError, OutputExists

_PARTIAL = ".partial"  # ends the names of hidden folders
MOST_TEXT = 500_000_000
"""Bytes of a list that is read into memory."""

MOST_INFLATED = 300_000_000
"""Bytes of the arrays of the smallest `.npz` file."""


def in_bucket(path: str | os.PathLike) -> bool:
    """Whether a path is in remote storage (`gs://...`), which has neither locks nor appending."""
    return bool(re.match(r"\w+://|(gs|s3|https?):/", os.fspath(path)))  # pathlib drops the second slash


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
def atomic_file(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields a path of the same name in a hidden folder beside `path`; the file moves over at the end.

    After an error, a full disk or a kill, the old file or none stands under the name. The hidden folder
    may hold other files that the work needs; it is removed.

    Raises:
      OSError: the disk is full or not writable, named by `path`; also where HDF5 said so in its own words.
    """
    path = pathlib.Path(path)
    with _hidden_folder(path) as folder:
        partial = folder / path.name
        try:
            yield partial
            with open(partial, "rb") as file:
                os.fsync(file.fileno())
            os.replace(partial, path)
        except (OSError, RuntimeError) as error:
            number = getattr(error, "errno", None) or _hdf5_errno(error)
            if number is None:
                raise
            # HDF5 keeps a file open that it could not flush, and may crash if it still cannot at exit.
            for written in filter(pathlib.Path.is_file, folder.rglob("*")):
                os.truncate(written, 0)
            raise OSError(number, os.strerror(number), str(path)) from error


@contextlib.contextmanager
def atomic_folder(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Yields an empty hidden folder beside `path`, which becomes `path` at the end.

    After an error or a kill no folder of that name is there. An empty one is replaced.
    """
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with _hidden_folder(path) as partial:
        partial.chmod(0o777 & ~_umask())  # mkdtemp makes folders that only their owner can read
        yield partial
        if path.exists():
            path.rmdir()  # it is empty; rename does not replace it on every file system
        partial.rename(path)


@contextlib.contextmanager
def _hidden_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A new hidden folder beside `path`, removed at the end unless it was renamed.

    Folders that killed processes left for the same path are removed. They are told from those in use by a
    lock, which the operating system takes from a killed process. Without locks in the file system they stay.
    """
    for left in path.parent.glob(f".{glob.escape(path.name)}.{'?' * 8}{_PARTIAL}"):
        with contextlib.suppress(OSError), _locked_folder(left, fcntl.LOCK_EX | fcntl.LOCK_NB):
            shutil.rmtree(left, ignore_errors=True)
    while True:
        folder = pathlib.Path(tempfile.mkdtemp(_PARTIAL, f".{path.name}.", path.parent))
        with contextlib.ExitStack() as stack:
            with contextlib.suppress(OSError):
                stack.enter_context(_locked_folder(folder, fcntl.LOCK_SH))
            if not folder.exists():  # another process removed it before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextlib.contextmanager
def _locked_folder(folder: pathlib.Path, kind: int) -> Iterator[None]:
    number = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(number, kind)
        yield
    finally:
        os.close(number)


def write_atomically(path: str | os.PathLike, data: bytes) -> None:
    """Writes a file whole or not at all, on disk or in a bucket, where objects appear whole anyway."""
    if in_bucket(path):
        epath.Path(path).write_bytes(data)
        return
    with atomic_file(path) as partial:
        partial.write_bytes(data)


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turns a library's own exception for an error of the disk back into that OSError, named by `path`."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            if os.strerror(code) in str(error):
                code = errno.ENOSPC if code == errno.EFBIG else code
                raise OSError(code, os.strerror(code), os.fspath(path)) from error
        raise


@contextlib.contextmanager
def locked(path: pathlib.Path, in_use: str) -> Iterator[None]:
    """Holds a lock file against other processes, also those of other machines.

    The operating system takes the lock from a killed process, so nothing has to be cleaned up.

    Args:
      path: of the lock file, which is made and stays.
      in_use: the message where another process holds it.

    Raises:
      InputError: another process holds the lock, or the file system has none.
    """
    with open(path, "a") as file:
        try:
            fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            raise InputError(in_use) from error
        except OSError as error:
            raise InputError(
                f"{path.parent} cannot be locked ({error.strerror}): choose a file system with locks."
            ) from error
        yield


def check_new_file(path: pathlib.Path) -> None:
    """Raises InputError unless the file does not exist, and its folder does and may be written to."""
    if local_path(path).exists():
        raise OutputExists(path)
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}: make it first.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the folder {path.parent} is not writable: choose another.")


def check_new_folder(path: str | os.PathLike) -> None:
    """Raises InputError if a folder to be made is a file, in a bucket, or exists and is not empty."""
    path = local_path(path)
    if os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir())):
        raise OutputExists(path)


def file_name(name: str) -> str:
    """A name from a file, such as that of a chromosome or track, as the name of a file or folder.

    Raises:
      InputError: it would lead elsewhere, or no file system has it.
    """
    try:
        length = len(os.fsencode(name))
    except UnicodeEncodeError:  # in a locale without its letters
        length = 0
    if not (0 < length <= 200 and name.isprintable()) or "/" in name or name in (".", ".."):
        raise InputError(
            f"{name[:80]!r} cannot name a file, expected 1 to 200 printable characters, none of them '/': "
            "rename it."
        )
    return name


def parse_json(text: str | bytes) -> Any:
    """As `json.loads`; ValueError also for what is nested so deeply that Python gives up."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def check_text(path: str | os.PathLike) -> None:
    """Raises InputError for a device, a pipe or a folder, or a list of more than `MOST_TEXT` bytes."""
    if not os.path.isfile(path):
        raise InputError(f"{path} is not a file: give the path of a text file.")
    if os.path.getsize(path) > MOST_TEXT:
        raise InputError(
            f"{path} has {os.path.getsize(path) / 1e6:,.0f} MB, expected a list of at most "
            f"{MOST_TEXT / 1e6:,.0f} MB: give another file."
        )


def check_inflated(path: str | os.PathLike) -> None:
    """Raises InputError for an `.npz` whose arrays are far larger than honest ones of a file of its size."""
    path = epath.Path(path)
    with path.open("rb") as file, zipfile.ZipFile(file) as archive:
        size = sum(member.file_size for member in archive.infolist())
    most = MOST_INFLATED + 200 * path.stat().length
    if size > most:
        raise InputError(
            f"{path} has {path.stat().length / 1e6:,.1f} MB and would take {size / 1e6:,.0f} MB of memory, "
            f"expected at most {most / 1e6:,.0f} MB: it is damaged or made to do harm; make it again."
        )


def check_space(path: pathlib.Path, needed: float) -> None:
    """Raises OSError where the disk of `path` has no room for about `needed` bytes."""
    if shutil.disk_usage(path.parent).free < needed + 500_000:
        raise OSError(errno.ENOSPC, f"up to {needed / 1e6 + 0.5:.1f} MB are needed there", str(path))


def check_memory(needed: float, remedy: str) -> None:
    """Raises InputError where less than about `needed` bytes of memory are available, with what to do."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            facts = dict(line.split(":") for line in file)
        available = int(facts["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):  # another system does not say
        return
    if needed > available:
        raise InputError(
            f"About {needed / 1e9:.1f} GB of memory are needed, and {available / 1e9:.1f} GB are available: "
            f"{remedy}."
        )


def _hdf5_errno(error: Exception) -> int | None:
    found = re.search(r"errno = (\d+)", str(error))
    return int(found.group(1)) if found else None


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
