"""The training step as it is given to the compiler of an NVIDIA GPU, read where there is none."""

import re

import jax
import jax.numpy as jnp
import pytest

from benchmarks.compile_only import trace_step
from configs import finetune_resolution_arabidopsis, pretrain_arabidopsis
from hicfm_jax.models import attention

pytestmark = pytest.mark.slow  # traces ViT-L

PATCHES = 784  # of a window of 448
TOKENS = (196, 198, PATCHES, 786)  # visible patches, the same as encoded, all patches, the same as decoded


def _program(config, monkeypatch):
    """StableHLO of ViT-L's step on two windows, and the shapes of its batch."""
    config.model.dtype, config.model.scan, config.model.remat = "bfloat16", True, "none"
    config.train.global_batch_size, config.train.accum_steps = 2, 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(attention, "_has_flash", lambda: True)
    # cuDNN has to be there to be asked; what it is given and gives has these shapes.
    monkeypatch.setattr(attention, "_flash", lambda query, key, value: query + key + value)
    step, _, batch, _ = trace_step(config)
    return step.lower(lowering_platforms=("cuda",)).as_text(), batch


def _products(program):
    """Of each matrix product: shapes and dtypes of its factors."""
    found = re.findall(r"dot_general.* : \(tensor<(\S+)>, tensor<(\S+)>\) ->", program)
    assert len(found) == program.count("stablehlo.dot_general")
    return found


@pytest.fixture(scope="module")
def patch():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


@pytest.fixture(scope="module")
def pretraining(patch):
    return _program(pretrain_arabidopsis.get_config("small_gpu"), patch)


def test_products_are_in_bfloat16_but_for_those_of_the_loss(pretraining):
    program, _ = pretraining
    others = {pair for pair in _products(program) if not all(shape.endswith("xbf16") for shape in pair)}
    # Contrastive: patches of a map with those of its reconstruction, and the gradient of that.
    assert others == {
        (f"2x{PATCHES}x768xf32", f"2x{PATCHES}x768xf32"),
        (f"2x{PATCHES}x{PATCHES}xf32", f"2x{PATCHES}x768xf32"),
    }


def test_nothing_but_the_loss_holds_a_number_for_each_pair_of_tokens(pretraining):
    program, _ = pretraining
    squares = {size: re.findall(rf"tensor<(?:\d+x)*{size}x{size}x\w+>", program) for size in TOKENS}
    assert set(squares.pop(PATCHES)) == {f"tensor<2x{PATCHES}x{PATCHES}xf32>"}  # contrastive
    assert not any(squares.values())


def test_parameters_and_losses_are_in_float32_and_never_in_more(pretraining):
    program, _ = pretraining
    assert "f64" not in program
    assert "tensor<1024x4096xf32>" in program and "tensor<24x1024x4096xf32>" in program


@pytest.mark.parametrize("word", ["callback", "infeed", "outfeed", "send", "recv", "custom_call"])
def test_a_step_does_not_speak_with_the_host(pretraining, word):
    assert word not in pretraining[0]


def test_a_window_travels_as_one_channel_of_integers(pretraining):
    _, batch = pretraining
    assert batch.counts.shape == (2, 448, 448) and batch.counts.dtype == jnp.uint16


def test_a_fine_tuning_step(patch):
    program, _ = _program(finetune_resolution_arabidopsis.get_config("small_gpu"), patch)
    assert all(shape.endswith("xbf16") for pair in _products(program) for shape in pair)
    assert "callback" not in program and "custom_call" not in program
