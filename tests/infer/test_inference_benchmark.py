"""The benchmark of inference, on a map too small for meaningful figures."""

import json

import pytest

from benchmarks import inference
from benchmarks.original import enhancement
from benchmarks.synthetic import synthetic_map
from hicfm_jax.contacts import write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.infer.tasks import INFERENCE_TASKS
from tests.run_script import run_script


@pytest.mark.slow  # compiles two networks, and runs each task three times
def test_the_script_times_two_tasks():
    flags = ["--models=vit_test", "--bins=70", "--rounds=2", "--input_size=32,32", "--mean_shift_bins=300"]
    done = run_script("benchmark_inference.py", "--tasks=single_cell,reconstruction", *flags)
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    result = json.loads(last)
    assert [run["task"] for run in result["runs"]] == ["single_cell", "reconstruction"]
    for run in result["runs"]:
        assert run["window"] == [32, 32] and run["windows"] > 3
        for name in ("seconds_per_1000_windows", "seconds_per_chromosome"):
            median, least, most = run[name]
            assert 0 < least <= median <= most
        assert run["seconds_per_1000_windows"][0] * run["windows"] / 1000 <= run["seconds_per_chromosome"][2]
    assert len(lines) == 5 and lines[-1].startswith("mean shift")


@pytest.mark.slow  # two processes, one of which compiles a network
@pytest.mark.needs("torch")
def test_the_originals_loop_gives_the_same_map(tmp_path):
    write_contacts(synthetic_map(0.5, 150), tmp_path / "map.cool")
    flags = ["--models=vit_test", "--bins=100", "--input_size=32,32", "--rounds=2", "--genome"]
    done = run_script("benchmark_inference.py", f"--original={tmp_path / 'map.cool'}", *flags)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert result["difference"] < 1e-4 and result["windows"] == 6
    for median, least, most in (*result["seconds"].values(), *result["ratios"].values()):
        assert 0 < least <= median <= most
    assert result["genome_seconds"] > 0
    near, wide, every, ours_near, ours = result["genome"].values()
    assert near < wide <= every and ours_near < ours < every


def test_the_part_to_compare_fits_the_chromosome(tmp_path):
    write_contacts(synthetic_map(0.5, 150), tmp_path / "map.cool")
    for bins, message in ((15, "less than half a window"), (151, "bins is 151 but 1 of .* has 150")):
        with pytest.raises(InputError, match=message):
            enhancement.compare_enhancement(tmp_path / "map.cool", bins=bins, window=(32, 32))


@pytest.mark.slow  # times networks
def test_a_task_that_the_map_does_not_fit_is_skipped(monkeypatch):
    def refuse(*_):
        raise InputError("too small")

    monkeypatch.setitem(inference._RUNS, "single_cell", refuse)
    result = inference.measure_inference(["single_cell"], ["vit_test"], bins=40, rounds=1, window=(32, 32))
    assert result["runs"] == [{"task": "single_cell", "model": "vit_test", "skipped": "too small"}]
    assert "skipped: too small" in inference.table(result)


def test_mistakes_are_reported():
    with pytest.raises(InputError, match="no task 'nothing': take one of resolution"):
        inference.measure_inference(["nothing"])
    with pytest.raises(InputError, match="time at least one"):
        inference.measure_inference(rounds=0)


def test_every_task_can_be_timed():
    """Those that scan in their own way are listed in the benchmark."""
    assert {name for name, task in INFERENCE_TASKS.items() if task.infer} == set(inference._RUNS)
