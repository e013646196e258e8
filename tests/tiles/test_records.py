"""Datasets of more files than a process may open."""

import resource
import subprocess
import sys

import numpy as np
import pytest

from hicfm_jax.tiles import dataset

_FILES, _EACH = 120, 3

_READ = """
import resource, sys
import numpy as np
from hicfm_jax.tiles.dataset import RecordFiles
resource.setrlimit(resource.RLIMIT_NOFILE, (64, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
paths, each = sys.argv[2:], int(sys.argv[1])
two = [RecordFiles(paths, [each] * len(paths)) for _ in range(2)]
for seed in range(3):
    order = np.random.default_rng(seed).permutation(each * len(paths))
    for files in two:
        assert files.read(order) == [str(index).encode() for index in order]
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    dataset.import_tfds()
    from array_record.python import array_record_module

    folder, names = tmp_path_factory.mktemp("many"), []
    for number in range(_FILES):
        names.append(str(folder / f"{number}.array_record"))
        writer = array_record_module.ArrayRecordWriter(names[-1], "group_size:1,uncompressed")
        for index in range(number * _EACH, (number + 1) * _EACH):
            writer.write(str(index).encode())
        writer.close()
    return names


@pytest.mark.slow  # opens hundreds of files
def test_more_files_are_read_than_may_be_open(paths):
    done = subprocess.run([sys.executable, "-c", _READ, str(_EACH), *paths], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_files_stay_open_where_they_may(paths):
    assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > 2 * _FILES
    dataset.open_readers.cache_clear()  # other tests' files take no part
    files = dataset.RecordFiles(paths, [_EACH] * _FILES)
    for _ in range(2):
        files.read(np.arange(len(files)))
    assert dataset.open_readers().cache_info().misses == _FILES
