"""scripts/simulate_map.py: what it writes, what it says, and how it fails."""

import pathlib
import subprocess
import sys

import cooler

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*flags):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "simulate_map.py", *flags],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )


def test_writes_a_map_that_says_it_is_simulated(tmp_path):
    path = tmp_path / "map.mcool"
    done = run(f"--output={path}", "--contacts=1e5", "--resolution=250000", "--seed=4", "--balance")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "SIMULATED" in done.stdout
    info = cooler.Cooler(f"{path}::/resolutions/250000").info
    assert info["metadata"]["simulated"] is True
    assert info["metadata"]["seed"] == 4
    assert abs(info["sum"] - 1e5) < 5000
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_user_mistakes_are_one_sentence(tmp_path):
    for flags in (
        [f"--output={tmp_path}/map.txt"],
        [f"--output={tmp_path}/map.cool", "--resolution=10"],
        [f"--output={tmp_path}/map.cool", "--contacts=1e25"],
        [],
    ):
        done = run("--contacts=1e4", "--resolution=500000", *flags)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert "error:" in done.stderr
        assert list(tmp_path.iterdir()) == []
