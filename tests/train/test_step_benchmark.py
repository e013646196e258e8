"""What the benchmark of a training step reports, of a network too small to say anything about speed."""

import json

import jax
import numpy as np
import pytest

from benchmarks import step
from benchmarks.compile_only import compile_step
from hicfm_jax.errors import InputError
from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.models.preprocess import normalize, valid_mask
from hicfm_jax.train.losses import pretrain_losses
from tests.run_script import run_script

FIGURES = (
    "step_seconds",
    "steps_per_second",
    "samples_per_second",
    "tflops",
    "matmul_tflops",
    "peak_memory_bytes",
    "compile_seconds",
)


@pytest.mark.slow  # compiles a step
def test_the_script_ends_in_one_json_object():
    done = run_script("benchmark.py", "--model=vit_test", "--input_size=32,48", "--batch=2", "--steps=2")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert all(result[figure] > 0 for figure in FIGURES)
    assert (result["device"], result["dtype"], result["batch"]) == ("cpu", "float32", 2)
    assert result["steps_per_second"] == pytest.approx(1 / result["step_seconds"])
    assert result["samples_per_second"] == pytest.approx(2 / result["step_seconds"])
    assert result["matmul_fraction"] == pytest.approx(result["tflops"] / result["matmul_tflops"])
    assert "mfu" not in result  # no published peak of CPUs is known
    for figure in (
        f"{result['steps_per_second']:.3g} steps/s",
        f"{result['samples_per_second']:.1f} samples/s",
    ):
        assert figure in done.stdout


@pytest.mark.slow  # two processes, one of which compiles a step
@pytest.mark.needs("torch")
def test_our_step_beside_that_of_pytorch():
    flags = ("--model=vit_test", "--input_size=32,48", "--batch=2", "--rounds=2")
    done = run_script("benchmark_torch.py", *flags)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    assert set(result["ratios"]) < set(result["seconds"]) and "ours" in result["seconds"]
    for median, least, most in (*result["seconds"].values(), *result["ratios"].values()):
        assert 0 < least <= median <= most
    assert set(result["matmul_tflops"]) == set(result["peak_memory_bytes"]) == {"JAX", "PyTorch"}


@pytest.mark.needs("torch")
def test_pytorch_computes_the_same_losses():
    import torch

    from benchmarks.original.torch_step import pretraining_loss

    rng = np.random.default_rng(0)
    counts = 1 + rng.poisson(3, (2, 32, 48)).astype(np.float32)
    images, output = (
        normalize(counts),
        PretrainOutput(
            rng.normal(size=(2, 6, 768)).astype(np.float32),
            rng.normal(size=2).astype(np.float32),
            np.zeros((2, 6), np.float32),
        ),
    )
    total = jax.jit(pretrain_losses)(output, images, valid_mask(counts), counts.sum((1, 2)))["loss"]
    found = pretraining_loss(
        *(torch.tensor(np.asarray(each)) for each in (output.patch_pred, output.count_pred)),
        torch.tensor(np.asarray(images).transpose(0, 3, 1, 2)),
        torch.tensor(counts.sum((1, 2))),
        torch.float64,
    )
    assert float(found) == pytest.approx(float(total), rel=1e-5)


@pytest.mark.slow  # compiles another step
def test_a_step_of_fine_tuning_in_bfloat16():
    config = step.step_config("vit_test", "resolution", (32, 48), 2, "bfloat16", "decoder")
    config.model.scan = True
    result = step.measure_step(config, steps=2)
    assert all(result[figure] > 0 for figure in FIGURES) and result["dtype"] == "bfloat16"


@pytest.mark.slow  # compiles two steps
def test_a_frozen_encoder_has_no_gradient_to_compute():
    needed = {}
    for trainable in ("all", "decoder"):
        config = step.step_config("vit_tiny_patch16", "resolution", (64, 64), 1, "float32", trainable)
        config.model.scan = True
        needed[trainable] = compile_step(config)
    assert needed["decoder"]["total"] < 0.7 * needed["all"]["total"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "Give one of --input, --model, --config, not none"),
        (["--model=vit_tset"], "vit_tset"),
        (["--input=tiles", "--compile_only"], "--compile_only cannot be combined with --input"),
        (["--config=configs/pretrain_arabidopsis.py", "--batch=8"], "--batch cannot be combined with"),
    ],
)
def test_mistakes_are_one_sentence(flags, message):
    done = run_script("benchmark.py", *flags)
    assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr


def test_no_step_to_time():
    config = step.step_config("vit_test", "pretrain", (32, 48), 1, "float32", "all")
    with pytest.raises(InputError, match="at least one step"):
        step.measure_step(config, steps=0)
