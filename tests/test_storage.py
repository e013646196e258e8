"""Files that appear whole or not at all."""

import errno
import os
import subprocess
import sys

import pytest
from etils import epath

from hicfm_jax.storage import atomic_file, write_atomically


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = epath.Path(tmp_path) / "picture.png"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # which reports what no longer fits
    with pytest.raises(OSError):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"] and path.read_bytes() == b"old"


def test_what_a_killed_process_left_is_removed_by_the_next(tmp_path):
    path = tmp_path / "map[1].cool"
    killed = (
        "import os, sys; from hicfm_jax.storage import atomic_file, atomic_folder\n"
        "with atomic_file(sys.argv[1]), atomic_folder(sys.argv[1]):\n"
        "    os._exit(9)"
    )
    for _ in range(2):
        subprocess.run([sys.executable, "-c", killed, path])
    assert len(list(tmp_path.iterdir())) == 2, "the second removed those of the first"
    with atomic_file(path) as one:
        one.write_bytes(b"one")
        with atomic_file(path) as two:
            assert one.exists(), "it is in use"
            two.write_bytes(b"two")
    assert list(tmp_path.iterdir()) == [path] and path.read_bytes() == b"one"
