"""Fine-tuning runs: what is trained, what is written, what is refused, and exact resume."""

import dataclasses
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import finetune_resolution_arabidopsis
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.source import MemoryTiles
from hicfm_jax.train import loop
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.tasks import create_task
from hicfm_jax.train.workdir import summary
from tests.train import small_run
from tests.train.toy_configs import assert_resumes_exactly, leaves, toy


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("finetune"))


def resolution(tiles, task="resolution", **settings):
    """The report's recipe at toy size, as another task if given."""
    config = toy(finetune_resolution_arabidopsis.get_config(), tiles, **settings)
    config.task = task
    return config


@pytest.fixture(scope="module")
def run(tiles, pretrained, tmp_path_factory):
    """(config, workdir, result) of the report's recipe, from a pretrained encoder."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    config = resolution(tiles, optim__learning_rate=1e-3, log__image_count=2)
    config.init_from = str(pretrained[0])
    return config, workdir, loop.train_and_evaluate(config, workdir)


@pytest.mark.slow  # compiles a whole run, which the next two tests share
def test_a_frozen_encoder_stays_the_pretrained_one_to_the_bit(run, pretrained):
    _, _, result = run
    before, after = leaves(pretrained[1]), leaves(result.state.params)
    encoder = [name for name in before if name.startswith("encoder/")]
    assert len(encoder) > 20
    for name in encoder:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    moved = [name for name in after if name in before and (after[name] != before[name]).any()]
    assert moved and all(name.startswith("decoder/") for name in moved)
    moments = leaves(result.state.opt_state[0].mu)
    assert "map_head/kernel" in moments and not [name for name in moments if name.startswith("encoder/")]


@pytest.mark.slow
def test_what_a_run_leaves(run):
    """Pictures of input, output and target; scores beside those of the input; the scaling."""
    config, workdir, result = run
    picture = np.asarray(Image.open(workdir / "images" / "step_00000004.png"))
    assert picture.shape[1] > 3 * 48 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    judged = {f"{who}_{what}" for who in ("map", "input", "smoothed") for what in ("r", "mse", "r_distance")}
    assert judged | {"loss", "map_loss"} <= result.last.keys()
    # The input and its references never change: nor do their scores.
    assert result.first["input_r"] == result.last["input_r"] < 1
    assert json.loads((workdir / "config.json").read_text())["targets"]["map_scaling"] == "log1000"
    meta = json.loads((workdir / "checkpoints" / "4" / "meta" / "metadata").read_text())
    assert meta["config"]["targets"]["map_scaling"] == "log1000"
    assert "smoothed_r" in summary(config, str(workdir), result.finished, 4)


@pytest.mark.slow
def test_a_run_that_crashed_resumes_exactly(run, tmp_path, monkeypatch):
    """Downsampled inputs, frozen parts and accumulation included."""
    config, workdir, straight = run
    assert_resumes_exactly(config, workdir, straight, tmp_path, monkeypatch)


@pytest.mark.slow  # compiles a run of its own
def test_reproducibility_separates_replicates_from_other_windows(tiles, tmp_path):
    settings = dict(data__thin=(0.25, 0.5), optim__learning_rate=3e-3, train__accum_steps=1)
    config = resolution(tiles, "reproducibility", **settings)
    result = loop.train_and_evaluate(config, tmp_path)
    assert result.last["replicate_cosine"] > result.last["other_cosine"]
    assert 0 <= result.last["told_apart"] <= 1 and result.last["loss"] < config.targets.margin


@pytest.fixture(scope="module")
def labelled(tmp_path_factory):
    """Tiles that store a map of calls, a track and an embedding each."""

    def add(tiles):
        calls = (tiles.counts > 40).astype(np.float32)
        track = np.log10(1 + tiles.counts.mean(axis=2, dtype=np.float32))
        embedding = track[:, :16]  # of a whole tile: as wide as the decoder of `vit_test`
        return dataclasses.replace(tiles, targets={"map": calls, "track": track, "embedding": embedding})

    path = tmp_path_factory.mktemp("labelled") / "tiles.npz"
    splits = {"train": add(small_run.make_tiles(10, 0)), "val": add(small_run.make_tiles(5, 1))}
    MemoryTiles(splits).save(path)
    return path


def test_any_stored_targets_are_used(labelled):
    config = resolution(
        labelled,
        "finetune",
        data__thin=(),
        targets__map_scaling="none",
        targets__track_weight=0.0,
        model__input_size=(64, 64),
    )
    inputs = Inputs.create(config)
    task = create_task(config, inputs.target_shapes())
    assert set(task.metrics) == {"loss", "map_loss", "embedding_loss"}
    params = jax.eval_shape(task.init, jax.random.key(0))
    sums = jax.eval_shape(task.evaluate, params, next(inputs.validation()), jnp.zeros(2))
    scores = task.finish(dict.fromkeys(sums, 1.0))
    assert {"map_r", "embedding_cosine"} <= scores.keys()
    assert "track_r" not in scores and "input_r" not in scores


@pytest.mark.parametrize(
    ("task", "settings", "words"),
    [
        ("finetune", {"data__thin": ()}, ["no target", "data.thin"]),
        ("loop", {"data__thin": (), "targets__map_weight": 0.0}, ["loop", "map"]),
        ("epigenome", {"data__thin": ()}, ["epigenome", "track"]),
        ("embedding", {}, ["embedding"]),
    ],
)
def test_a_task_without_its_target_is_refused(tiles, tmp_path, task, settings, words):
    with pytest.raises(InputError) as error:
        loop.train_and_evaluate(resolution(tiles, task, **settings), tmp_path / "work")
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "work").exists()


def test_a_target_of_another_length_is_refused(tiles):
    with pytest.raises(InputError, match=r"embedding.*\(7,\).*\(16,\)"):
        create_task(resolution(tiles, "finetune"), {"embedding": (7,)})
