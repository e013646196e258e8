"""The script as a user meets it: a table, or one sentence, status 2 and nothing written."""

import os
import subprocess
import sys

import numpy as np
import pytest

from hicfm_jax.checkpoints import folder
from hicfm_jax.convert import convert_to_folder, load_weights
from hicfm_jax.errors import InputError
from tests.commands import ROOT
from tests.convert import made_up
from tests.infer import toy_networks
from tests.run_script import run_script

pytestmark = pytest.mark.needs("torch")


@pytest.mark.slow  # converts in programs of their own
def test_a_pretraining_file_becomes_a_head(tmp_path):
    source = made_up.save(made_up.trained(), tmp_path)
    flags = ["--task=resolution", "--input_size=32,32"]
    done = run_script("convert_weights.py", f"--input={source}", f"--output={tmp_path / 'head'}", *flags)
    assert done.returncode == 0, done.stderr
    rows = {tuple(line.split()[:4]) for line in done.stdout.splitlines()}
    assert {("mapped", "4", "x", "blocks.*.attn.qkv"), ("resized", "1", "x", "pos_embed")} <= rows
    assert ("new", "2", "x", "map_head") in rows and "resolution has no use for it" in done.stdout
    stored = folder.read(tmp_path / "head")
    # The head is drawn as PyTorch draws it: uniform, up to one over the root of the decoder's width.
    drawn = stored.params["map_head/kernel"]
    assert 0.9 * 16**-0.5 < np.abs(drawn).max() <= 16**-0.5 and abs(drawn.mean()) < 0.01
    assert stored.meta["config"]["task"] == "resolution" and stored.adam is None
    assert stored.meta["untrained"] == ["map_head/bias", "map_head/kernel"]


@pytest.mark.parametrize(
    "flags", [["--task=epigenome", "--input_size=64,96"], ["--input_size=32"], ["--export"]]
)
def test_a_mistake_is_one_sentence_and_status_2(tmp_path, flags):
    source = made_up.save({"model": made_up.state_dict("reconstruction")}, tmp_path)
    done = run_script("convert_weights.py", f"--input={source}", f"--output={tmp_path / 'out'}", *flags)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: ") and len(done.stderr.strip().splitlines()) == 1
    assert [entry.name for entry in tmp_path.iterdir()] == [source.name]


@pytest.mark.slow  # starts Python and JAX anew
def test_the_script_starts_from_its_folder_alone(tmp_path):
    flags = ["--input=nowhere.pth", f"--output={tmp_path / 'out'}"]
    command = [sys.executable, "scripts/convert_weights.py", *flags]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1].startswith("error: nowhere.pth is not a file")


def test_moments_step_and_epoch_come_along(tmp_path):
    source = made_up.save(made_up.trained(steps=7), tmp_path)
    report = convert_to_folder(source, tmp_path / "weights")
    assert "after 7 steps, epoch 3" in str(report)
    there, here = load_weights(source, with_adam=True), load_weights(tmp_path / "weights", with_adam=True)
    assert here.step == here.adam.count == 7 and here.report.task == "pretrain"
    for ours, theirs in (
        (here.params, there.params),
        (here.adam.mu, there.adam.mu),
        (here.adam.nu, there.adam.nu),
    ):
        assert ours.keys() == theirs.keys()
        assert all(np.array_equal(ours[path], theirs[path]) for path in ours)


def test_from_a_folder_a_head_is_filled_as_from_the_file(tmp_path):
    source = made_up.save({"model": made_up.state_dict()}, tmp_path)
    convert_to_folder(source, tmp_path / "weights")
    there, here = (load_weights(p, "loop", (32, 48)) for p in (source, tmp_path / "weights"))
    assert here.report.new == there.report.new == ["map_head/bias", "map_head/kernel"]
    for path, value in there.params.items():
        np.testing.assert_array_equal(here.params[path], value)


def test_an_output_that_exists_is_left_alone(tmp_path):
    source = made_up.save({"model": made_up.state_dict()}, tmp_path)
    (tmp_path / "out").mkdir()
    convert_to_folder(source, tmp_path / "out")  # empty: fine
    with pytest.raises(InputError, match="exists already"):
        convert_to_folder(source, tmp_path / "out")


def test_a_head_that_serves_several_tasks_has_to_be_named(tmp_path):
    args = {"input_row_size": 64, "input_col_size": 96}
    source = made_up.save({"model": made_up.state_dict("resolution"), "args": args}, tmp_path)
    with pytest.raises(InputError, match="loop, resolution, single_cell.*give --task"):
        convert_to_folder(source, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_changed_byte_is_found(tmp_path):
    source = made_up.save({"model": made_up.state_dict()}, tmp_path)
    content = bytearray(source.read_bytes())
    weights = made_up.state_dict()["norm.bias"].numpy().tobytes()
    content[content.index(weights) + 5] ^= 1
    source.write_bytes(content)
    with pytest.raises(InputError, match="is damaged, its record .* has changed"):
        convert_to_folder(source, tmp_path / "out")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda content: content["model"].update({5: made_up.tensor([0, 0, 0])}), "holds 5 where"),
        (lambda content: content["model"].update(cls_token=made_up.tensor([0]).int()), "cls_token"),
        (
            lambda content: content["model"].update(extra=made_up.tensor([0, 1]).to_sparse()),
            "not a plain array",
        ),
        (lambda content: content.update(optimizer=[1, 2]), "not torch's AdamW"),
    ],
)
def test_odd_contents_are_refused(tmp_path, change, message):
    content = made_up.trained()
    change(content)
    with pytest.raises(InputError, match=message):
        convert_to_folder(made_up.save(content, tmp_path), tmp_path / "out")


def test_odd_companions_of_the_weights_do_no_harm(tmp_path):
    content = made_up.trained() | {"args": ["no", "namespace"], "epoch": "ninth", "scaler": 3}
    content["optimizer"] = {"state": {}, "param_groups": []}  # as before the first step
    report = convert_to_folder(made_up.save(content, tmp_path), tmp_path / "out")
    assert "optimizer: none" in str(report) and load_weights(tmp_path / "out").report.input_size == (64, 96)


@pytest.mark.parametrize("damage", ["truncated", "text", "nan"])
def test_a_bad_file_leaves_nothing_behind(tmp_path, damage):
    state = made_up.state_dict()
    if damage == "nan":
        state["norm.bias"][0] = float("nan")
    source = made_up.save({"model": state}, tmp_path)
    if damage == "truncated":
        os.truncate(source, source.stat().st_size // 2)
    elif damage == "text":
        source.write_text("no weights")
    with pytest.raises(InputError, match="norm.bias" if damage == "nan" else source.name):
        convert_to_folder(source, tmp_path / "out")
    assert [entry.name for entry in tmp_path.iterdir()] == [source.name]


@pytest.mark.slow  # converts in programs of their own
def test_a_folder_of_ours_keeps_its_head_and_what_it_has_seen(tmp_path):
    source = toy_networks.write_checkpoint(tmp_path / "run", **toy_networks.SEEN)
    convert_to_folder(source, tmp_path / "copy")
    there, here = load_weights(source), load_weights(tmp_path / "copy")
    assert here.head == there.head != {}
    assert here.meta["seen"] == toy_networks.SEEN["seen"]
    for name, values in there.params.items():
        np.testing.assert_array_equal(here.params[name], values)


@pytest.mark.slow  # compiles the head that draws what the file has not
def test_a_head_made_of_pretraining_is_completed_as_what_it_is(tmp_path):
    source = made_up.save(made_up.trained(), tmp_path)
    head = dict(residual="coverage", transformer=True, pixel_width=4, pixel_depth=1, bin_heads=1)
    weights = load_weights(source, "resolution", (32, 32), head=head)
    assert weights.head == head
    assert {name.partition("/")[0] for name in weights.complete()} >= {
        "encoder",
        "pixel_path",
        "pixel_features",
    }
