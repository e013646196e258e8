"""Training in bfloat16 beside float32, in sizes that say nothing."""

import json

import pytest

from benchmarks import precision, step
from tests.run_script import run_script


def one_map(*arguments):
    """The config of the measurement, with one simulated map to train on."""
    config = step.step_config(*arguments)
    config.data.simulate.train_assays = 1
    return config


@pytest.mark.slow  # trains twice
@pytest.mark.needs("matplotlib")
def test_losses_of_both_precisions_are_compared(tmp_path, monkeypatch):
    monkeypatch.setattr(precision, "step_config", one_map)
    picture = tmp_path / "bfloat16.png"
    flags = ("--steps=4", "--model=vit_test", "--side=64", "--batch=2", f"--picture={picture}")
    done = run_script("benchmark_bfloat16.py", *flags)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    exact, rounded = found["losses"].values()
    assert len(exact) == len(rounded) == 4 and exact != rounded
    assert 0 < found["largest"] < 2.0**-6  # bfloat16 has 8 bits
    assert picture.stat().st_size > 5_000
