"""Memory of a training step on devices that are not there."""

import json
import subprocess
import sys

import numpy as np
import pytest

from benchmarks import compile_only
from configs import finetune_resolution_arabidopsis, pretrain_arabidopsis
from hicfm_jax.models.presets import PRESETS
from tests.run_script import run_script
from tests.train.small_run import ROOT

# With few parameters to train it compiles in a third of the time.
SMALL = (
    "--config=configs/pretrain_arabidopsis.py:demo",
    "--config.model.name=vit_test",
    "--config.model.input_size=48,48",
    "--config.optim.trainable=none",
    "--config.optim.trainable_patterns=_head/",
    "--config.train.global_batch_size=16",
)


@pytest.mark.slow  # a process, because the number of devices is fixed once JAX has started
def test_what_is_split_takes_less_of_each_device(monkeypatch):
    command = [sys.executable, "scripts/benchmark.py", "--compile_only", *SMALL]
    command += ["--devices=8", "--config.mesh.fsdp=8"]
    split = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    monkeypatch.setattr(compile_only, "stand_in", lambda devices: None)  # this process has one
    found = []
    for done in (run_script("benchmark.py", "--compile_only", *SMALL), split):
        assert done.returncode == 0, done.stderr
        found.append(json.loads(done.stdout.splitlines()[-1]))
    one, eight = found
    assert (one["mesh"], eight["mesh"]) == ([1, 1, 1], [1, 8, 1])
    assert eight["batch"] * 8 == one["batch"]
    assert one["state"] / 8 < eight["state"] < one["state"] / 4  # biases and tables are on every device
    assert eight["temporaries"] < one["temporaries"] / 2
    for result in found:
        assert result["total"] == pytest.approx(
            sum(result[name] for name in ("state", "batch", "temporaries")), rel=0.01
        )


@pytest.mark.slow  # compiles blocks of ViT-L
def test_small_gpu_trains_vit_large_within_12_gb(monkeypatch):
    """Compiled with two and three eighths of its blocks; the other five add as much each."""
    config = pretrain_arabidopsis.get_config("small_gpu")
    large, found = PRESETS[config.model.name], []
    for eighths in (2, 3):
        depths = {name: large[name] * eighths // 8 for name in ("depth", "decoder_depth")}
        monkeypatch.setitem(PRESETS, config.model.name, large | depths)
        found.append(compile_only.compile_step(config))
    whole = {name: found[1][name] + 5 * (found[1][name] - found[0][name]) for name in ("state", "total")}
    assert whole["total"] == pytest.approx(9.1e9, rel=0.05)  # docs/reference/memory.md
    assert whole["state"] == pytest.approx(3.95e9, rel=0.01)  # parameters and both moments of Adam


@pytest.mark.slow  # traces ViT-L
def test_a_frozen_encoder_has_no_moments():
    _, state, _, _ = compile_only.trace_step(finetune_resolution_arabidopsis.get_config("small_gpu"))
    sizes = {name: _bytes(getattr(state, name)) for name in ("params", "opt_state")}
    assert sum(sizes.values()) == pytest.approx(1.52e9, rel=0.01)
    assert sizes["opt_state"] < 2 * sizes["params"] / 5


def _bytes(tree):
    import jax

    return sum(int(np.prod(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--compile_only"], "Give one of --input, --model, --config"),
        (["--compile_only", "--config=configs/nothing.py"], "error: [Errno 2]"),
        (["--compile_only", *SMALL, "--config.mesh.data=3"], "choose sizes whose product is 1"),
        (["--compile_only", *SMALL, "--devices=0"], "devices"),
    ],
)
def test_mistakes_are_one_sentence(monkeypatch, flags, message):
    monkeypatch.setattr(compile_only, "stand_in", lambda devices: None)  # JAX has started already
    done = run_script("benchmark.py", *flags)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr
