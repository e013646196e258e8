"""What a run leaves behind, what it resumes and what it refuses."""

import errno
import json
import os
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath
from PIL import Image

from configs import pretrain_arabidopsis
from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.storage import write_atomically
from hicfm_jax.train import loop
from hicfm_jax.train.checkpoint import Checkpoints, has_checkpoints
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.logging.run_summary import summary
from hicfm_jax.train.tasks import create_task
from tests.train import small_run


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("loop"))


def _config(tiles, **train):
    config = pretrain_arabidopsis.get_config("demo")
    config.data.tiles = str(tiles)
    config.model.name = "vit_test"
    config.model.input_size = (48, 48)
    config.train.update({"global_batch_size": 4, "total_steps": 4, **train})
    config.log.every_steps = 2
    config.log.eval_every_epochs = 1
    config.log.image_count = 3
    return config


@pytest.fixture(scope="module")
def run(tiles, tmp_path_factory):
    """(config, workdir, result) of a finished run."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    config = _config(tiles)
    return config, workdir, loop.train_and_evaluate(config, workdir)


def test_what_a_run_leaves(run):
    config, workdir, result = run
    assert result.finished and int(result.state.step) == 4
    assert json.loads((workdir / "config.json").read_text())["model"]["name"] == "vit_test"
    assert {path.name for path in (workdir / "checkpoints").iterdir()} >= {"2", "4"}
    assert list((workdir / "tensorboard").glob("events*"))
    picture = np.asarray(Image.open(workdir / "images" / "step_00000004.png"))
    assert picture.shape[1] > 3 * 48 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    text = summary(config, str(workdir), result.finished, 4)
    assert str(workdir) in text and "pixel_r" in text


def test_lines_of_metrics(run):
    _, workdir, _ = run
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [(r["step"], r["split"]) for r in records] == [
        (0, "val"),
        (2, "train"),
        (2, "val"),
        (4, "train"),
        (4, "val"),
    ]
    losses = {"loss", "ssim_loss", "count_loss", "contrastive_loss"}
    assert losses | {"learning_rate", "samples_per_second", "mfu", "epoch"} <= records[1].keys()
    judged = {"pixel_r", "ssim_loss_gb", "masked_r2_mean", "masked_r2_distance", "masked_r2_coverage"}
    assert losses | judged <= records[0].keys()
    assert records[1]["epoch"] == 1.0  # 10 tiles, batches of 4: 2 steps an epoch


@pytest.mark.slow
def test_validation_does_not_depend_on_the_batch_size(run, tiles):
    """5 held-out tiles in batches of 4 (padded) or 1: the same numbers."""
    config, workdir, result = run
    records = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    small = _config(tiles, accum_steps=4)
    small.init_from = str(workdir)
    other = loop.train_and_evaluate(small, workdir.with_name("other"))
    for name, value in other.first.items():
        # A mean over patches of a batch weighs batches, not patches.
        tolerance = 1e-2 if name in ("loss", "contrastive_loss") else 1e-4
        assert value == pytest.approx(records[-1][name], rel=tolerance), name


def test_the_count_head_starts_at_the_mean_of_the_tiles(run):
    config, _, result = run
    batch = Inputs.create(config).first_batch()
    centred = create_task(config).center(result.state.params, batch)
    assert float(centred["count_head"]["bias"][0]) == pytest.approx(np.log10(batch.matrix_count + 1).mean())
    assert centred["encoder"] is result.state.params["encoder"]


@pytest.mark.slow
def test_a_finished_run_can_be_made_longer_with_less_memory(run):
    config, workdir, _ = run
    longer = config.copy_and_resolve_references()
    longer.train.update({"total_steps": 6, "accum_steps": 2})  # for less memory, as the next line
    longer.model.update({"remat": "blocks", "scan": True})
    result = loop.train_and_evaluate(longer, workdir)
    assert int(result.state.step) == 6 and not result.first
    steps = [json.loads(line)["step"] for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert steps == sorted(steps) and steps[-1] == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [("optim.learning_rate", 1e-3), ("train.seed", 1), ("model.mask_ratio", 0.5), ("train.total_steps", 1)],
)
def test_a_workdir_of_another_run_is_refused(run, field, value):
    config, workdir, _ = run
    other = config.copy_and_resolve_references()
    section, name = field.split(".")
    other[section][name] = value
    before = (workdir / "config.json").read_text()
    with pytest.raises(InputError, match=field):
        loop.train_and_evaluate(other, workdir)
    assert (workdir / "config.json").read_text() == before


def _empty_files(folder):
    for file in folder.rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(b"")


def test_a_checkpoint_that_cannot_be_read_is_passed_over(run, tmp_path):
    config, _, result = run
    folder = tmp_path / "checkpoints"
    with Checkpoints(tmp_path, config) as checkpoints:
        for step in (1, 2):
            checkpoints.save(result.state.replace(step=jnp.asarray(step, jnp.int32)))
        checkpoints.wait()
        _empty_files(folder / "2")
        restored = checkpoints.restore_latest(result.state)
        assert int(restored.step) == 1
        assert (folder / "damaged-2").is_dir()
        _empty_files(folder / "1")
        for _ in range(2):  # and the run does not start over by itself
            with pytest.raises(InputError, match="can be read"):
                checkpoints.restore_latest(result.state)
    assert has_checkpoints(tmp_path)


def test_only_the_newest_and_the_best_are_kept(run, tmp_path):
    config, _, result = run
    with Checkpoints(tmp_path, config) as checkpoints:
        for step, loss in enumerate([5.0, 1.0, None, float("nan"), 3.0, None, 4.0, None], start=1):
            state = result.state.replace(step=jnp.asarray(step, jnp.int32))
            checkpoints.save(state, None if loss is None else {"loss": loss})
            checkpoints.wait()
    assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == {"2", "7", "8"}


def test_a_full_disk_is_named_as_such(run, tmp_path, monkeypatch):
    """Orbax reports it as a ValueError."""
    config, _, result = run

    def full(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: write failed: No space left on device")

    with Checkpoints(tmp_path, config) as checkpoints:
        monkeypatch.setattr(checkpoints.manager, "save", full)
        with pytest.raises(OSError, match="No space left") as error:
            checkpoints.save(result.state)
        assert error.value.errno == errno.ENOSPC


def test_a_write_that_fails_leaves_no_file(tmp_path, monkeypatch):
    path = epath.Path(tmp_path) / "picture.png"
    write_atomically(path, b"old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)  # which tells of what no longer fits
    with pytest.raises(OSError):
        write_atomically(path, b"new")
    assert [p.name for p in tmp_path.iterdir()] == ["picture.png"] and path.read_bytes() == b"old"


def test_parameters_of_another_model_are_refused(run, tiles, tmp_path):
    _, workdir, _ = run
    config = _config(tiles)
    config.model.name = "vit_tiny_patch16"
    config.init_from = str(workdir)
    with pytest.raises(InputError, match="do not fit"):
        loop.train_and_evaluate(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("damage", ["{", "[]", '{"train": {"epochs": 3}}'])
def test_a_workdir_of_another_program_is_refused(tiles, tmp_path, damage):
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(InputError, match=tmp_path.name):
        loop.train_and_evaluate(_config(tiles), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("stored", "asked", "allowed"),
    [
        (dict(epochs=200), dict(epochs=300), True),
        (dict(epochs=200), dict(epochs=150), False),
        (dict(epochs=200), dict(epochs=200, total_steps=5000), False),
        (dict(total_steps=100), dict(total_steps=200), True),
        (dict(total_steps=100), dict(total_steps=50), False),
        (dict(total_steps=100), dict(total_steps=100, epochs=200), False),  # the warm-up's share
        (dict(total_steps=100), dict(), False),
        (dict(accum_steps=4), dict(accum_steps=8), True),
    ],
)
def test_training_can_be_made_longer_and_take_less_memory(stored, asked, allowed):
    def config(**train):
        new = config_lib.base_config()
        new.train.update(train)
        return new

    text = config_lib.to_json(config(**stored))
    if allowed:
        config_lib.check_resumable(config(**asked), text, "runs/mine")
    else:
        with pytest.raises(InputError, match="runs/mine"):
            config_lib.check_resumable(config(**asked), text, "runs/mine")


def test_replicates_stay_in_their_micro_batches():
    config = config_lib.base_config()
    config.task = "reproducibility"
    text = config_lib.to_json(config)
    config.train.accum_steps = 2 * config.train.accum_steps
    with pytest.raises(InputError, match=r"train\.accum_steps"):
        config_lib.check_resumable(config, text, "runs/mine")


def test_a_run_resumes_after_the_model_it_started_from_is_gone(run, tiles, tmp_path):
    _, workdir, _ = run
    source = tmp_path / "source"
    shutil.copytree(workdir, source)
    config = _config(tiles, total_steps=1)
    config.init_from = str(source)
    loop.train_and_evaluate(config, tmp_path / "new")
    shutil.rmtree(source)
    config.train.total_steps = 2
    assert int(loop.train_and_evaluate(config, tmp_path / "new").state.step) == 2


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_parameters_from_nowhere_are_refused(tiles, tmp_path, where):
    config = _config(tiles)
    config.init_from = str(tmp_path / where)
    with pytest.raises(InputError, match="workdir"):
        loop.train_and_evaluate(config, tmp_path / "new")


@pytest.mark.slow
@pytest.mark.parametrize("variant", pretrain_arabidopsis.VARIANTS)
def test_every_variant_is_valid_and_takes_a_step(variant, tiles, tmp_path):
    """At a toy size; batch and steps are cut, everything else is the variant's own."""
    config = pretrain_arabidopsis.get_config(variant)
    config_lib.validate(config)
    config.data.tiles = str(tiles)
    config.model.name = "vit_test"
    config.model.input_size = (48, 48)
    config.train.global_batch_size = 2 * min(config.train.accum_steps, 2)
    config.train.accum_steps = min(config.train.accum_steps, 2)
    config.train.total_steps = 1
    result = loop.train_and_evaluate(config, tmp_path)
    assert result.finished
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.state.params))
