"""Memory of a training step on devices that are not there."""

import json
import subprocess
import sys

import pytest

from benchmarks.compile_only import compile_step
from configs import finetune_resolution_arabidopsis, pretrain_arabidopsis
from tests.train.small_run import ROOT

SMALL = (
    "--config=configs/pretrain_arabidopsis.py:demo",
    "--config.model.name=vit_test",
    "--config.model.input_size=48,48",
    "--config.train.global_batch_size=16",
)


def benchmark(*flags):
    command = [sys.executable, "scripts/benchmark.py", *flags]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_what_is_split_takes_less_of_each_device():
    found = {}
    for layout, flags in {"one": [], "eight": ["--devices=8", "--config.mesh.fsdp=8"]}.items():
        done = benchmark("--compile_only", *SMALL, *flags)
        assert done.returncode == 0, done.stderr
        found[layout] = json.loads(done.stdout.splitlines()[-1])
    one, eight = found["one"], found["eight"]
    assert (one["mesh"], eight["mesh"]) == ([1, 1, 1], [1, 8, 1])
    assert eight["batch"] * 8 == one["batch"]
    assert one["state"] / 8 < eight["state"] < one["state"] / 2  # biases and tables are on every device
    assert eight["temporaries"] < one["temporaries"] / 2
    for result in found.values():
        assert result["total"] == pytest.approx(
            sum(result[name] for name in ("state", "batch", "temporaries")), rel=0.01
        )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("recipe", "state"), [(pretrain_arabidopsis, 3.95e9), (finetune_resolution_arabidopsis, 1.52e9)]
)
def test_small_gpu_trains_vit_large_within_12_gb(recipe, state):
    found = compile_step(recipe.get_config("small_gpu"))
    assert found["total"] < 12e9
    # The frozen encoder's parameters are there once, those that are trained with both moments of Adam.
    assert found["state"] == pytest.approx(state, rel=0.01)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compile_only"], "Give one of --input, --model, --config"),
        (["--compile_only", "--config=configs/nothing.py"], "error: [Errno 2]"),
        (
            ["--compile_only", *SMALL, "--devices=8", "--config.mesh.data=3"],
            "choose sizes whose product is 8",
        ),
        (["--compile_only", *SMALL, "--devices=0"], "devices"),
    ],
)
def test_mistakes_are_one_sentence(flags, message):
    done = benchmark(*flags)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
