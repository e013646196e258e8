"""What a run leaves behind, what it resumes and what it refuses."""

import json
import shutil

import jax
import numpy as np
import pytest
from PIL import Image

from configs import pretrain_arabidopsis
from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.train import initialize, loop, sharding
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.step import TrainState
from hicfm_jax.train.tasks import create_task
from hicfm_jax.train.validation import Validation
from tests.train import faults, small_run
from tests.train.toy_configs import create, leaves, save_fresh, take_step

LOSSES = {"loss", "ssim_loss", "count_loss", "contrastive_loss"}
SCORES = {"pixel_r", "ssim_loss_gb", "masked_r2_mean", "masked_r2_distance", "masked_r2_coverage"}
OPTIONS = (
    "--config.train.total_steps=4",
    "--config.log.every_steps=3",
    "--config.log.eval_every_epochs=1",
    "--config.log.image_count=3",
    "--config.log.checkpoint_every_steps=0",
)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("loop"))


@pytest.fixture(scope="module")
def run(tiles, tmp_path_factory):
    """(workdir, output) of scripts/train.py from nothing to its end."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    ((status, out, err),) = small_run.outcomes([small_run.start(small_run.flags(tiles, workdir, *OPTIONS))])
    assert status == 0, err
    return workdir, out


@pytest.fixture
def config(tiles):
    return small_run.config(tiles, *OPTIONS)


@pytest.fixture
def matrix(monkeypatch):
    """Runs of this process train a matrix, which compiles in no time."""
    faults.with_a_matrix(monkeypatch)


def _lines(workdir):
    return [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]


# The network's programs are compiled once, here, for this whole file: a minute of CPU time.
@pytest.mark.default_compiler
def test_the_script_trains_from_nothing_to_the_end(run):
    workdir, out = run
    assert json.loads((workdir / "config.json").read_text())["model"]["name"] == "vit_test"
    assert {path.name for path in (workdir / "checkpoints").iterdir()} == {"2", "4"}
    assert list((workdir / "tensorboard").glob("events*"))
    picture = np.asarray(Image.open(workdir / "images" / "step_00000004.png"))
    assert picture.shape[1] > 3 * 48 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    assert "step 4/4" in out and f"Finished at step 4. Everything is in {workdir}" in out and "pixel_r" in out


@pytest.mark.default_compiler
def test_lines_of_metrics(run):
    records = _lines(run[0])
    assert [(record["step"], record["split"]) for record in records] == [
        (0, "val"),
        (2, "val"),
        (3, "train"),
        (4, "train"),
        (4, "val"),
    ]
    assert LOSSES | {"learning_rate", "samples_per_second", "matmul_fraction", "epoch"} <= records[2].keys()
    assert LOSSES | SCORES <= records[0].keys()
    assert records[1]["epoch"] == 1.0  # 10 tiles, batches of 4: 2 steps an epoch


# What a run promises above all, so it is also tested with the compiler settings that users have.
@pytest.mark.default_compiler
def test_a_killed_run_ends_as_if_it_had_not_been_killed(run, config, tmp_path):
    """2 + 2 steps are 4 to the last bit; the checkpoint lies in the middle of a mean of the log."""
    workdir = shutil.copytree(run[0], tmp_path / "work")
    # As after a kill that came later than the line of step 3.
    shutil.rmtree(workdir / "checkpoints" / "4")
    config.log.image_count = 0
    resumed = loop.train_and_evaluate(config, workdir)
    assert resumed.finished and not resumed.first
    faults.assert_same(workdir, run[0])


@pytest.mark.slow  # compiles the validation for two sizes
def test_validation_does_not_depend_on_the_batch_size(config):
    """5 held-out tiles in batches of 2 (one is padding) or 1: the same numbers."""

    class Silent:
        def validation(self, *_):
            pass

        def pause(self, seconds):
            pass

    config.log.image_count = 0
    _, task, _, state = create(config)
    found = []
    for parts in (2, 4):
        config.train.accum_steps = parts
        validation = Validation(config, task, Inputs.create(config), sharding.create_mesh(config))
        found.append(validation.run(state, Silent()))
    for name, value in found[0].items():
        # A mean over patches of a batch weighs batches, not patches.
        tolerance = 1e-2 if name in ("loss", "contrastive_loss") else 1e-4
        assert value == pytest.approx(found[1][name], rel=tolerance), name


def test_the_count_head_starts_at_the_mean_of_the_tiles(config):
    task, batch = create_task(config), Inputs.create(config).first_batch()
    params = {"encoder": object(), "count_head": {"kernel": 0, "bias": 0}}
    centered = task.center(params, batch)
    assert float(centered["count_head"]["bias"][0]) == pytest.approx(np.log10(batch.matrix_count + 1).mean())
    assert centered["encoder"] is params["encoder"]


@pytest.mark.slow  # another program: the blocks as a loop, computed twice
def test_a_run_goes_on_longer_and_with_less_memory(config, tmp_path):
    save_fresh(config, tmp_path)
    (tmp_path / "config.json").write_text(config_lib.to_json(config))
    config.train.update({"total_steps": 6, "accum_steps": 4})
    config.model.update({"remat": "blocks", "scan": True})
    config.log.image_count = 0
    result = loop.train_and_evaluate(config, tmp_path)
    assert int(result.state.step) == 6 and not result.first
    steps = [line["step"] for line in _lines(tmp_path)]
    assert steps == sorted(steps) and steps[-1] == 6


@pytest.mark.parametrize(
    ("field", "value"),
    [("optim.learning_rate", 1e-3), ("train.seed", 1), ("model.mask_ratio", 0.5), ("train.total_steps", 1)],
)
def test_a_workdir_of_another_run_is_refused(config, tmp_path, field, value):
    before = config_lib.to_json(config)
    (tmp_path / "config.json").write_text(before)
    section, name = field.split(".")
    config[section][name] = value
    with pytest.raises(InputError, match=field):
        loop.train_and_evaluate(config, tmp_path)
    assert (tmp_path / "config.json").read_text() == before


@pytest.mark.parametrize("damage", ["{", "[]", '{"train": {"epochs": 3}}'])
def test_a_workdir_of_another_program_is_refused(config, tmp_path, damage):
    (tmp_path / "config.json").write_text(damage)
    with pytest.raises(InputError, match=tmp_path.name):
        loop.train_and_evaluate(config, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["config.json"]


@pytest.mark.parametrize(
    ("stored", "asked", "allowed"),
    [
        (dict(epochs=200), dict(epochs=300), True),
        (dict(epochs=200), dict(epochs=150), False),
        (dict(epochs=200), dict(epochs=200, total_steps=5000), False),
        (dict(total_steps=100), dict(total_steps=200), True),
        (dict(total_steps=100), dict(total_steps=50), False),
        (dict(total_steps=100), dict(total_steps=100, epochs=200), False),  # the fraction of warm-up
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


@pytest.mark.slow  # trains twice
def test_the_next_batch_is_on_its_way_when_a_log_waits(matrix, config, tmp_path, monkeypatch):
    events, stream, read = [], Inputs.train, TrainState.read_window

    def noted_stream(*arguments):
        for batch in stream(*arguments):
            events.append("batch")
            yield batch

    def noted_read(state):
        events.append("log")
        return read(state)

    monkeypatch.setattr(Inputs, "train", noted_stream)
    monkeypatch.setattr(TrainState, "read_window", noted_read)
    config.train.total_steps, config.log.every_steps = 3, 1
    loop.train_and_evaluate(config, tmp_path / "work")
    assert events == ["batch", "batch", "log", "batch", "log", "log"]


def test_a_run_resumes_after_the_model_it_started_from_is_gone(matrix, config, tmp_path, monkeypatch):
    config.init_from = str(tmp_path / "gone")
    with monkeypatch.context() as patch:
        # As if it were there.
        patch.setattr(initialize, "check_exists", lambda source: None)
        patch.setattr(loop, "read_source", lambda *_, **__: None)
        config.train.total_steps = 2
        loop.train_and_evaluate(config, tmp_path / "new")
    config.train.total_steps = 3
    assert int(loop.train_and_evaluate(config, tmp_path / "new").state.step) == 3


@pytest.mark.parametrize("where", ["nowhere", "."])
def test_parameters_from_nowhere_are_refused(matrix, config, tmp_path, where):
    config.init_from = str(tmp_path / where)
    with pytest.raises(InputError, match="workdir"):
        loop.train_and_evaluate(config, tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.slow  # compiles a program of its own
def test_the_variant_for_a_small_gpu_takes_a_step(tiles):
    """At a toy size; batch and steps are cut. bfloat16 and recomputed blocks are the variant's own."""
    config = pretrain_arabidopsis.get_config("small_gpu")
    config.data.tiles = str(tiles)
    config.model.name, config.model.input_size = "vit_test", (48, 48)
    config.train.global_batch_size, config.train.accum_steps = 4, 2
    before, after, means = take_step(config)
    assert np.isfinite(means["loss"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(after))
    assert (leaves(before)["encoder/norm/bias"] != leaves(after)["encoder/norm/bias"]).any()
