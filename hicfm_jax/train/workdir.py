"""Folder of a run: one config, one process at a time."""

import contextlib
import itertools
import os
import pathlib
import shutil
from collections.abc import Iterator

import jax
from etils import epath
from ml_collections import ConfigDict

from hicfm_jax.checkpoints.folder import absolute
from hicfm_jax.config import check_resumable, to_json
from hicfm_jax.errors import InputError
from hicfm_jax.storage import in_bucket, locked, write_atomically

# Folders that a process killed while it wrote a file leaves behind, see `storage.atomic_file`.
_PARTIAL = (".config.json.*", ".metrics.jsonl.*", "images/.step_*")


def check_workdir(workdir: str | os.PathLike, config: ConfigDict) -> None:
    """Refuses a workdir before any work is done for it; creates nothing.

    Raises:
      InputError: it belongs to a run with another config, or is a file.
    """
    if not os.fspath(workdir):
        raise InputError("--workdir is empty: give a folder.")
    folder = absolute(workdir)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--workdir={workdir} is a file: give a folder.")
    if not in_bucket(folder):
        there = next(part for part in (pathlib.Path(folder), *pathlib.Path(folder).parents) if part.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise InputError(f"--workdir={workdir} cannot be made, as {there} is not a writable folder.")
    stored = folder / "config.json"
    if stored.exists():
        check_resumable(config, stored.read_text(), str(workdir))


@contextlib.contextmanager
def open_workdir(workdir: str | os.PathLike, config: ConfigDict) -> Iterator[epath.Path]:
    """Creates or reopens a workdir that passed `check_workdir`, and locks it against a second run.

    Raises:
      InputError: it is in use.
    """
    folder, first = absolute(workdir), jax.process_index() == 0
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as lock:
        if first and not in_bucket(folder):
            local = pathlib.Path(folder)
            in_use = f"{folder} is in use by another run: wait for it or use another --workdir."
            lock.enter_context(locked(local / ".lock", in_use))
            for partial in itertools.chain.from_iterable(map(local.glob, _PARTIAL)):
                shutil.rmtree(partial, ignore_errors=True)
        if first:
            write_atomically(folder / "config.json", (to_json(config) + "\n").encode())
        yield folder
