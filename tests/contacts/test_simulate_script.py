"""scripts/simulate_map.py: the file it writes, its output line and its errors."""

import cooler
import pytest

from tests.run_script import run_script


def test_file_and_output_line_say_that_the_map_is_simulated(tmp_path):
    path = tmp_path / "map.mcool"
    flags = f"--output={path}", "--contacts=1e5", "--resolution=250000", "--seed=4", "--balance"
    done = run_script("simulate_map.py", *flags)
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    assert "SIMULATED" in done.stdout
    info = cooler.Cooler(f"{path}::/resolutions/250000").info
    assert info["metadata"]["simulated"] is True
    assert info["metadata"]["seed"] == 4
    assert abs(info["sum"] - 1e5) < 5000
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize(
    "flags",
    [
        ["--output=map.txt"],
        ["--output=map.cool", "--resolution=10"],
        ["--output=map.cool", "--contacts=1e25"],
        [],
    ],
)
def test_user_mistakes_are_one_sentence(tmp_path, monkeypatch, flags):
    monkeypatch.chdir(tmp_path)
    done = run_script("simulate_map.py", "--contacts=1e4", "--resolution=500000", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
