"""The report of the benchmark of tiling, on a map too small for meaningful rates."""

import json

import pytest

from benchmarks import tiling
from hicfm_jax.errors import InputError
from tests.run_script import run_script


@pytest.mark.slow  # starts a process for each build, and a worker process
def test_the_script_measures_builds_with_and_without_processes():
    flags = ["--map=synthetic:0.3", "--tile_size=32", "--stride=16", "--processes=0", "--processes=1"]
    done = run_script("benchmark_tiling.py", *flags)
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    result = json.loads(last)
    # Ten tiles a side, half a tile apart: 19 rows of windows, those on and above the diagonal.
    assert (result["windows"], result["tiles"], result["pieces"]) == (190, 190, 1)
    assert result["read_mb_per_second"] == pytest.approx(result["file_mb"] / result["read_seconds"])
    assert 0.1 < result["disk_mb_per_1000_tiles"] < 2.5
    assert [build["processes"] for build in result["builds"]] == [0, 1]
    for build in result["builds"]:
        parts = [build[f"{name}_seconds"] for name in ("survey", "start", "cut")]
        assert min(parts) >= 0 and sum(parts) <= build["seconds"]
        assert build["tiles_per_second"] == pytest.approx(190 / build["cut_seconds"])
        assert build["peak_mb"] > 80  # of this process, which may have run other tests
        assert 0 < build["cpu_seconds"]
    assert len(table) == 5 and table[3].startswith("here")


def test_mistakes_are_reported():
    with pytest.raises(InputError, match="processes is .*-1"):
        tiling.measure_tiling({}, [0, -1])
    with pytest.raises(InputError, match="--resolution is missing"):
        with tiling.map_sources("map.cool", None, (32, 32)):
            pass
    with pytest.raises(InputError, match="has no density"):
        with tiling.map_sources("synthetic:much", None, (32, 32)):
            pass
