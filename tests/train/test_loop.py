"""What a run leaves behind, what it resumes and what it refuses."""

import fcntl
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import pretrain_arabidopsis
from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.train import loop
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.summary import summary
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


def test_a_finished_run_can_be_made_longer(run):
    config, workdir, _ = run
    longer = config.copy_and_resolve_references()
    longer.train.total_steps = 6
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


def test_two_runs_in_one_workdir_are_refused(tiles, tmp_path):
    with open(tmp_path / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(InputError, match="in use"):
            loop.train_and_evaluate(_config(tiles), tmp_path)


def test_a_checkpoint_that_cannot_be_read_is_passed_over(run, tmp_path):
    _, _, result = run
    checkpoints = Checkpoints(tmp_path)
    for step in (1, 2):
        checkpoints.save(result.state.replace(step=jnp.asarray(step, jnp.int32)))
    checkpoints.wait()
    for file in (tmp_path / "checkpoints" / "2").rglob("*"):
        if file.is_file() and file.parent.name == "d":
            file.write_bytes(b"")
    restored = checkpoints.restore_latest(result.state)
    assert int(restored.step) == 1
    assert (tmp_path / "checkpoints" / "damaged-2").is_dir()
    checkpoints.close()


def test_parameters_of_another_model_are_refused(run, tiles, tmp_path):
    _, workdir, _ = run
    config = _config(tiles)
    config.model.name = "vit_tiny_patch16"
    config.init_from = str(workdir)
    with pytest.raises(InputError, match="do not fit"):
        loop.train_and_evaluate(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_parameters_from_nowhere_are_refused(tiles, tmp_path, where):
    config = _config(tiles)
    config.init_from = str(tmp_path / where)
    with pytest.raises(InputError, match="workdir"):
        loop.train_and_evaluate(config, tmp_path / "new")


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
