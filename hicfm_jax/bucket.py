"""Paths of remote storage (gs://...): workdirs may be there, most other files may not."""

import os
import pathlib

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
