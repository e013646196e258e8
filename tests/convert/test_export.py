"""Back to the original: the same bits, the same names, a file that PyTorch loads."""

import numpy as np
import pytest

from hicfm_jax.checkpoints import folder
from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.convert import convert_to_folder, export, load_weights
from hicfm_jax.errors import InputError
from tests.convert import made_up

pytestmark = pytest.mark.needs("torch")


def _load(path):
    import torch

    return torch.load(path, weights_only=False)


def _same(a, b) -> bool:
    import torch

    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(_same(a[key], b[key]) for key in a)
    return a == b


def _there_and_back(path, place, name="back.pth.tar", task=None):
    convert_to_folder(path, place / "weights", task)
    export(place / "weights", place / name)
    return place / name


def test_the_golden_checkpoint_comes_back_bit_for_bit(fixtures_dir, tmp_path):
    path = fixtures_dir / "upstream_tiny_checkpoint.pth.tar"
    before, after = (_load(p) for p in (path, _there_and_back(path, tmp_path)))
    assert list(before) == list(after) and list(before["model"]) == list(after["model"])
    for part in before:
        assert _same(before[part], after[part]), part


@pytest.mark.parametrize("task", ["finetune", "resolution", "epigenome", "reproducibility"])
def test_a_head_comes_back_bit_for_bit(tmp_path, task):
    before = {"model": made_up.state_dict(task), "args": {"input_row_size": 64, "input_col_size": 96}}
    back = _there_and_back(made_up.save(before, tmp_path), tmp_path, task=task)
    after = _load(back)
    assert list(before["model"]) == list(after["model"])  # aliases and unused classifier included
    assert _same(before["model"], after["model"])
    assert vars(after["args"]) == before["args"] and "optimizer" not in after


def test_what_the_maps_stand_for_travels_there_and_back(tmp_path):
    source = made_up.save({"model": made_up.state_dict("resolution")}, tmp_path)
    sized = {"task": "resolution", "input_size": (64, 96)}
    convert_to_folder(source, tmp_path / "published", **sized)
    assert load_weights(tmp_path / "published").map_scaling == "log1000"

    weights = load_weights(tmp_path / "published")
    config = weights.meta["config"] | {"targets": {"map_scaling": "log10"}}
    folder.write(tmp_path / "ours", 3, weights.params, None, {"config": config})
    export(tmp_path / "ours", tmp_path / "ours.pth.tar")
    convert_to_folder(tmp_path / "ours.pth.tar", tmp_path / "again")
    for path in ("ours", "ours.pth.tar", "again"):
        assert load_weights(tmp_path / path).map_scaling == "log10"


def _write_tracks(path, tracks):
    """A checkpoint of ours that predicts tracks of these names."""
    rng = np.random.default_rng(0)
    shapes = parameter_shapes("vit_test", (64, 96), "epigenome", tracks=tracks)
    params = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    model = {"name": "vit_test", "input_size": [64, 96], "tracks": list(tracks)}
    folder.write(path, 3, params, None, {"config": {"task": "epigenome", "model": model}})


def test_names_of_tracks_travel_there_and_back(tmp_path):
    tracks = ("genes", "TEs", "DNase", "a", "b", "c")
    _write_tracks(tmp_path / "ours", tracks)
    export(tmp_path / "ours", tmp_path / "ours.pth.tar")
    convert_to_folder(tmp_path / "ours.pth.tar", tmp_path / "again")
    for path in ("ours", "ours.pth.tar", "again"):
        assert load_weights(tmp_path / path).head == {"tracks": tracks}


def test_another_number_of_tracks_is_not_for_the_original(tmp_path):
    _write_tracks(tmp_path / "ours", ("genes", "TEs"))
    assert load_weights(tmp_path / "ours").head == {"tracks": ("genes", "TEs")}
    with pytest.raises(InputError, match="predicts 2 tracks, and the original 6"):
        export(tmp_path / "ours", tmp_path / "ours.pth.tar")
    assert not (tmp_path / "ours.pth.tar").exists()


def test_an_export_replaces_nothing_and_takes_checkpoints_of_ours_only(tmp_path):
    source = made_up.save(made_up.trained(), tmp_path)
    convert_to_folder(source, tmp_path / "weights")
    before = source.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        export(tmp_path / "weights", source)
    assert source.read_bytes() == before
    with pytest.raises(InputError, match="a file of the original already"):
        export(source, tmp_path / "new.pth.tar")


def test_safetensors_there_and_back(tmp_path):
    path = made_up.save(made_up.trained(), tmp_path)
    back = _there_and_back(path, tmp_path, "back.safetensors")
    before, after = load_weights(path), load_weights(back)
    for name, value in before.params.items():
        np.testing.assert_array_equal(after.params[name], value)
    assert after.report.input_size == (64, 96)


def test_a_run_of_ours_gets_the_originals_command_line(tmp_path):
    """What the original reads from `args` and the optimizer when it goes on training."""
    import torch

    weights = load_weights(made_up.save(made_up.trained(), tmp_path), with_adam=True)
    config = {
        "task": "pretrain",
        "model": {"name": "vit_test", "input_size": [64, 96], "mask_ratio": 0.6},
        "train": {"global_batch_size": 8, "accum_steps": 4, "epochs": 9, "seed": 5},
        "optim": {
            "learning_rate": None, "blr": 0.32, "min_lr": 1e-7, "warmup_epochs": 2.0,
            "weight_decay": 0.05, "b1": 0.9, "b2": 0.95, "eps": 1e-8,
        },
    }  # fmt: skip
    workdir = tmp_path / "run"
    folder.write(workdir, 7, weights.params, weights.adam, {"config": config})
    (workdir / "metrics.jsonl").write_text('{"step": 5, "epoch": 2.0}\n{"step": 7, "epoch": 3.5}\n')
    export(workdir, tmp_path / "mine.pth.tar")
    written = _load(tmp_path / "mine.pth.tar")
    args = vars(written["args"])
    assert args["batch_size"] == 2 and args["accum_iter"] == 4 and args["epochs"] == 9
    assert args["lr"] == pytest.approx(0.01) and args["mask_ratio"] == 0.6
    assert (args["input_row_size"], args["input_col_size"], args["patch_size"]) == (64, 96, 16)
    assert written["epoch"] == 2  # the third epoch, counted from 0, was the last whole one
    plain, decayed = written["optimizer"]["param_groups"]
    assert (plain["weight_decay"], decayed["weight_decay"]) == (0, 0.05)
    assert plain["betas"] == (0.9, 0.95) and plain["lr"] == pytest.approx(0.01)
    parameters = [torch.nn.Parameter(torch.zeros(())) for _ in range(62)]
    adam = torch.optim.AdamW([{"params": parameters[:40]}, {"params": parameters[40:]}])
    adam.load_state_dict(written["optimizer"])
    assert int(written["optimizer"]["state"][0]["step"]) == 7


@pytest.mark.parametrize("output", ["mine.bin", "folder.pth.tar"])
def test_an_output_without_a_format_is_refused_before_anything_is_read(tmp_path, output):
    (tmp_path / "folder.pth.tar").mkdir()
    with pytest.raises(InputError, match="must be a file that ends in"):
        export("nowhere", tmp_path / output)


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    import torch

    path = made_up.save(made_up.trained(), tmp_path)
    convert_to_folder(path, tmp_path / "weights")

    def full(content, partial):
        partial.write(b"half")
        raise OSError("No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError):
        export(tmp_path / "weights", tmp_path / "back.pth.tar")
    assert {entry.name for entry in tmp_path.iterdir()} == {path.name, "weights"}
