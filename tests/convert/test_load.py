"""Every kind of file the original publishes, and every way in which one can be wrong."""

import collections

import jax
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from hicfm_jax.checkpoints.parameters import HEAD_LAYERS, parameter_shapes
from hicfm_jax.convert import load_torch_checkpoint, load_weights
from hicfm_jax.errors import InputError
from hicfm_jax.models import PRESETS, create_model
from hicfm_jax.models.vit import sincos_2d
from tests.convert import made_up

pytestmark = pytest.mark.needs("torch")

WRAPPINGS = {
    "model": lambda state: {"model": state, "epoch": 3},
    "state_dict": lambda state: {"state_dict": state},
    "bare": collections.OrderedDict,
    "module": lambda state: {"model": {f"module.{name}": value for name, value in state.items()}},
}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_the_same_parameters_in_every_wrapping(tmp_path, wrapping):
    state = made_up.state_dict()
    params, report = load_torch_checkpoint(made_up.save(WRAPPINGS[wrapping](state), tmp_path))
    assert (report.task, report.model, report.input_size) == ("pretrain", "vit_test", (64, 96))
    flat = flatten_dict(params, sep="/")
    assert {p: v.shape for p, v in flat.items()} == parameter_shapes("vit_test", (64, 96), "pretrain")
    np.testing.assert_array_equal(flat["encoder/norm/scale"], state["norm.weight"])
    np.testing.assert_array_equal(
        flat["decoder/blocks/block_1/mlp/fc1/kernel"], state["decoder_blocks.1.mlp.fc1.weight"].T
    )


@pytest.mark.parametrize("task", HEAD_LAYERS)
def test_a_head_is_recognised_by_its_layers(tmp_path, task):
    path = made_up.save({"model": made_up.state_dict(task)}, tmp_path)
    size = None if task == "epigenome" else (64, 96)  # its table is a fixed one, which tells the grid
    params, report = load_torch_checkpoint(path, input_size=size)
    assert task in report.fits and report.input_size == (64, 96) and not report.new
    assert {other for other in HEAD_LAYERS if HEAD_LAYERS[other] == HEAD_LAYERS[task]} == set(report.fits)
    chosen, report = load_torch_checkpoint(path, task=task, input_size=(64, 96))
    assert report.task == task
    jax.tree.map(np.testing.assert_array_equal, chosen, params)
    assert {p: v.shape for p, v in flatten_dict(params, sep="/").items()} == parameter_shapes(
        "vit_test", (64, 96), task
    )


@pytest.mark.parametrize("dtype", ["half", "bfloat16"])
def test_half_precision_becomes_float32(tmp_path, dtype):
    state = {name: getattr(value, dtype)() for name, value in made_up.state_dict().items()}
    weights = load_weights(made_up.save({"model": state}, tmp_path))
    assert {value.dtype for value in weights.params.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(weights.params["encoder/cls_token"], state["cls_token"].float())


def test_safetensors(tmp_path):
    from safetensors.numpy import save_file

    state = {name: value.numpy() for name, value in made_up.state_dict().items()}
    save_file(state, tmp_path / "weights.safetensors")
    weights = load_weights(tmp_path / "weights.safetensors")
    np.testing.assert_array_equal(weights.params["count_head/bias"], state["decoder_count.bias"])
    (tmp_path / "weights.safetensors").write_text("no tensors")
    with pytest.raises(InputError, match="not a .safetensors file"):
        load_weights(tmp_path / "weights.safetensors")


def test_shapes_are_believed_and_not_the_stored_command_line(fixtures_dir):
    """It says vit_large_patch16, as the file of a run with a smaller model may."""
    _, report = load_torch_checkpoint(fixtures_dir / "upstream_tiny_checkpoint.pth.tar")
    assert report.model == "vit_test" and report.input_size == (64, 96)


def _golden_pretraining(golden):
    """The 64 x 64 pretraining model that the golden heads were filled from."""
    import torch

    pretrain, _ = golden("upstream_tiny_pretrain")
    heads, _ = golden("upstream_tiny_heads")
    state = {
        n.removeprefix("state/"): torch.from_numpy(pretrain[n]) for n in pretrain if n.startswith("state/")
    }
    for name in ("pos_embed", "decoder_pos_embed"):
        state[name] = torch.from_numpy(heads[f"load/pretrain_{name}"])
    return state, heads


@pytest.mark.default_compiler
@pytest.mark.parametrize("task", ["embedding", "reconstruction"])
def test_a_pretraining_file_in_a_head_of_another_size(golden, tmp_path, task):
    state, heads = _golden_pretraining(golden)
    params, report = load_torch_checkpoint(made_up.save({"model": state}, tmp_path), task, (64, 96))
    np.testing.assert_allclose(params["encoder"]["pos_embed"], heads["load/pos_embed_64x96"], atol=1e-6)
    model = create_model("vit_test", (64, 96), task)
    images = heads["imgs"].transpose(0, 2, 3, 1)
    output = jax.jit(model.apply)({"params": params}, images, heads["total_count"])
    if task == "embedding":
        for depth, features in enumerate(output.features):
            np.testing.assert_allclose(features, heads[f"load/task6/out_{depth}"], rtol=1e-5, atol=1e-5)
    else:
        expected = heads["load/task7/out_0"].transpose(0, 2, 3, 1)
        np.testing.assert_allclose(output.image, expected, rtol=1e-5, atol=255e-5)
    assert not report.new


@pytest.mark.parametrize("number", ["0", "6", "7"])
def test_what_the_original_drops_and_leaves_random(golden, tmp_path, number):
    """Its messages of loading list the same names that our report does."""
    _, manifest = golden("upstream_tiny_heads")
    messages = manifest["loading"]["messages"][number]
    state, _ = _golden_pretraining(golden)
    task = list(HEAD_LAYERS)[int(number)]
    report = load_weights(made_up.save({"model": state}, tmp_path), task, (64, 96)).report
    unused = set(messages["encoder_step"]["unexpected"]) & set(messages["head_step"]["unexpected"])
    assert set(report.dropped) == unused
    missing = [name for name in messages["head_step"]["missing"] if not name.startswith("vit_backbone.")]
    assert len(report.new) == len(missing)
    assert set(report.resized) == {"pos_embed", "decoder_pos_embed"}


def test_the_epigenome_head_keeps_its_own_table(tmp_path):
    path = made_up.save({"model": made_up.state_dict()}, tmp_path)
    weights = load_weights(path, "epigenome", (32, 64))
    report = weights.report
    np.testing.assert_array_equal(weights.params["decoder/pos_embed"][0], sincos_2d(2, 4, 16))
    assert "decoder_pos_embed" in report.dropped and "pos_embed" in report.resized
    assert len([path for path in report.new if path.startswith("track_heads_")]) == 12
    assert "track_heads_*" in str(report) and "drawn at random" in str(report)


def _renamed(state):
    state["blocks.1.mlp.fc_1.weight"] = state.pop("blocks.1.mlp.fc1.weight")


def _reshaped(state):
    state["decoder_embed.weight"] = state["decoder_embed.weight"].T.contiguous()


def _not_a_number(state):
    state["blocks.0.attn.proj.bias"][3] = float("nan")
    state["norm.weight"][0] = float("inf")


def _all_at_once(state):
    _renamed(state)
    _reshaped(state)
    state["surplus"] = made_up.tensor([1])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (_renamed, ["blocks.1.mlp.fc1.weight (missing)", "blocks.1.mlp.fc_1.weight (unexpected)"]),
        (_reshaped, ["decoder_embed.weight (shape (32, 16), expected (16, 32))"]),
        (_not_a_number, ["blocks.0.attn.proj.bias (not finite)", "norm.weight (not finite)"]),
        (_all_at_once, ["fc1.weight (missing)", "surplus (unexpected)", "decoder_embed.weight (shape"]),
        (lambda state: state.pop("cls_token"), ["cls_token (missing)"]),
        (lambda state: state["pos_embed"].add_(0.5), ["pos_embed (not the fixed table of 4 x 6 patches)"]),
        (lambda s: s.update(pos_embeds=s.pop("pos_embed")), ["pos_embeds (unexpected)"]),
        (lambda state: [state.pop(n) for n in list(state) if "pos_embed" in n], ["neither pos_embed nor"]),
        (lambda state: [state.pop(n) for n in list(state) if "norm" in n], ["give a checkpoint of"]),
        (lambda state: [state.pop(n) for n in list(state) if "s.1." in n], ["depth 1"]),
        (lambda state: state.update(note="x"), ["'note'"]),
        (lambda state: state.clear(), ["no parameters by name"]),
    ],
)
def test_every_offender_is_named(tmp_path, damage, named):
    state = made_up.state_dict()
    damage(state)
    with pytest.raises(InputError) as error:
        load_weights(made_up.save({"model": state}, tmp_path))
    for words in [*named, "weights.pth.tar"]:
        assert words in str(error.value)


def test_an_alias_that_differs_is_refused(tmp_path):
    state = made_up.state_dict("resolution")
    state["patch_embed.proj.bias"] = state["patch_embed.proj.bias"] + 1
    with pytest.raises(InputError, match=r"patch_embed\.proj\.bias .differs from vit_backbone"):
        load_weights(made_up.save({"model": state}, tmp_path), input_size=(64, 96))


@pytest.mark.parametrize(
    ("holds", "asked", "named"),
    [
        ("resolution", dict(task="epigenome"), "resolution"),
        ("resolution", dict(task="pretrain"), "pretrain"),
        ("epigenome", dict(task="resolution"), "epigenome"),
        ("resolution", dict(task="resolution", input_size=(96, 96)), "never resized"),
        ("pretrain", dict(input_size=(32, 32)), "64 x 96"),
        ("pretrain", dict(model="vit_large_patch16"), "vit_large_patch16"),
        ("resolution", dict(task="resolution", model="vit_base_patch16"), "vit_test"),
        ("pretrain", dict(task="no_such_task"), "no_such_task"),
    ],
)
def test_a_file_for_something_else_is_refused(tmp_path, holds, asked, named):
    path = made_up.save({"model": made_up.state_dict(holds)}, tmp_path)
    with pytest.raises(InputError, match=named):
        load_weights(path, **asked)


def test_a_size_that_cannot_be_told_is_asked_for(tmp_path):
    """A resized table of 24 patches: 4 x 6, 3 x 8 or 2 x 12?"""
    state = made_up.state_dict("resolution")
    with pytest.raises(InputError, match="--input_size"):
        load_weights(made_up.save({"model": state}, tmp_path))
    told = {"model": state, "args": {"input_row_size": 48, "input_col_size": 128}}
    assert load_weights(made_up.save(told, tmp_path)).report.input_size == (48, 128)


def test_no_such_file(tmp_path):
    with pytest.raises(InputError, match="not a file"):
        load_weights(tmp_path / "nowhere.pth.tar")
    with pytest.raises(InputError, match="workdir"):
        load_weights(tmp_path / "nowhere")


@pytest.mark.parametrize("task", ["pretrain", *HEAD_LAYERS])
def test_a_second_statement_of_the_architecture_agrees_on_every_name(tmp_path, task):
    """Without golden numbers: a PyTorch model written apart from the converter is saved and loaded."""
    from tests import reference_torch

    size = PRESETS["vit_test"]
    model = (
        reference_torch.Pretraining(made_up.GRID, **size)
        if task == "pretrain"
        else reference_torch.Head(task, made_up.GRID, **size)
    )
    state = reference_torch.randomize(model, seed=1).state_dict()
    if task == "pretrain":  # whose tables are fixed
        state["pos_embed"][0, 1:] = reference_torch.position_table(made_up.GRID, 32)
        state["pos_embed"][0, 0] = 0
        state["decoder_pos_embed"][0] = reference_torch.position_table(made_up.GRID, 16)
    path = made_up.save({"model": state}, tmp_path)
    weights = load_weights(path, task, None if task == "pretrain" else made_up.SIZE)
    assert not weights.report.new
    assert {p: v.shape for p, v in weights.params.items()} == parameter_shapes("vit_test", made_up.SIZE, task)
