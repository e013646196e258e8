"""Files that are whole or not there."""

import os

from etils import epath

from hicfm_jax.bucket import in_bucket


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
