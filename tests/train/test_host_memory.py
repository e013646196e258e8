"""Memory that is kept: a second array of the size of the first needs no new page."""

import subprocess
import sys

import pytest

from hicfm_jax.train import host_memory

PROGRAM = """
import ctypes
import resource
from hicfm_jax.train import host_memory

host_memory.importlib.metadata.entry_points = lambda group: []  # a GPU's plugin changes nothing here
assert host_memory.keep_freed_memory()
# PR_SET_THP_DISABLE: no huge pages, each of which would count as one.
assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0

import numpy as np

for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(1 << 26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_serves_the_next_array():
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # of 16,384


def test_the_defaults_stay_where_there_is_an_accelerator(monkeypatch):
    monkeypatch.setattr(host_memory.importlib.metadata, "entry_points", lambda group: [group])
    assert not host_memory.keep_freed_memory()
