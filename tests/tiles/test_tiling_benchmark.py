"""What the benchmark of tiling reports, on a map too small to say anything about speed."""

import json
import os
import pathlib
import subprocess
import sys
import time

import pytest

from benchmarks import tiling
from benchmarks.process_tree import ProcessTree
from hicfm_jax.errors import InputError

ROOT = pathlib.Path(__file__).resolve().parents[2]
HAS_PROC = pathlib.Path("/proc/self/status").exists()

_PARENT = """
import subprocess, sys
held = b"x" * (300 << 20)
subprocess.run([sys.executable, "-c", "held = b'x' * (200 << 20); input()"])
while True:
    pass
"""


@pytest.mark.slow  # builds in processes of their own, with Beam and without
@pytest.mark.needs("apache_beam")
def test_the_script_measures_builds_with_and_without_beam():
    done = subprocess.run(
        [sys.executable, "scripts/benchmark_tiling.py", "--map=synthetic:0.3"]
        + ["--tile_size=32", "--stride=16", "--workers=0", "--workers=1"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    *table, last = done.stdout.splitlines()
    result = json.loads(last)
    # Ten tiles a side, half a tile apart: 19 rows of windows, those on and above the diagonal.
    assert (result["windows"], result["tiles"], result["pieces"]) == (190, 190, 1)
    assert result["read_mb_per_second"] == pytest.approx(result["file_mb"] / result["read_seconds"])
    assert 0.1 < result["disk_mb_per_1000_tiles"] < 2.5
    assert [build["workers"] for build in result["builds"]] == [0, 1]
    for build in result["builds"]:
        parts = [build[f"{name}_seconds"] for name in ("survey", "start", "cut")]
        assert min(parts) >= 0 and sum(parts) <= build["seconds"]
        assert build["tiles_per_second"] == pytest.approx(190 / build["cut_seconds"])
        if HAS_PROC:
            assert 200 < build["worker_peak_mb"] <= build["total_peak_mb"]
            assert build["cpu_seconds"] >= 0
    if HAS_PROC:
        assert result["builds"][1]["total_peak_mb"] > 1.5 * result["builds"][1]["worker_peak_mb"]
    assert len(table) == 5 and table[3].startswith("no Beam")


@pytest.mark.slow  # processes that fill memory and burn a second
@pytest.mark.skipif(not HAS_PROC, reason="there is no /proc on this system")
def test_a_tree_counts_its_processes_together_and_remembers_those_that_ended():
    with subprocess.Popen([sys.executable, "-c", _PARENT], stdin=subprocess.PIPE, text=True) as process:
        try:
            tree, deadline = ProcessTree(process.pid), time.monotonic() + 60
            while tree.branch_peak_bytes < 200 << 20 and time.monotonic() < deadline:
                tree.look()
            process.stdin.write("\n")
            process.stdin.flush()
            while tree.cpu_seconds < 1 and time.monotonic() < deadline:
                tree.look()
        finally:
            process.kill()
    assert 200 << 20 <= tree.branch_peak_bytes < 250 << 20
    assert 500 << 20 < tree.peak_bytes < 600 << 20
    assert 1 <= tree.cpu_seconds < 30


def test_mistakes_are_told():
    with pytest.raises(InputError, match="workers is .*-1"):
        tiling.measure_tiling({}, [0, -1])
    with pytest.raises(InputError, match="--resolution is missing"):
        with tiling.map_sources("map.cool", None, (32, 32)):
            pass
    with pytest.raises(InputError, match="has no density"):
        with tiling.map_sources("synthetic:much", None, (32, 32)):
            pass
