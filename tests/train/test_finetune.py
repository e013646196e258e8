"""Fine-tuning runs: every config, what is trained, what is refused, and going on after a crash."""

import dataclasses
import importlib
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from configs import finetune_resolution_arabidopsis, pretrain_arabidopsis
from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.source import MemoryTiles
from hicfm_jax.train import loop
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.logging.panels import GAP
from hicfm_jax.train.logging.run_summary import summary
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.sharding import create_mesh, parameter_name
from hicfm_jax.train.tasks import create_task
from tests.train import small_run

CONFIGS = ("finetune_resolution_arabidopsis", "finetune_multitask", "finetune_track")
VARIANTS = [
    (name, variant) for name in CONFIGS for variant in importlib.import_module(f"configs.{name}").VARIANTS
]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("finetune"))


def _small(config, tiles, **train):
    config.data.tiles = str(tiles)
    config.model.name = "vit_test"
    config.model.input_size = (48, 48)
    config.train.update({"global_batch_size": 4, "accum_steps": 2, "total_steps": 4, **train})
    config.log.every_steps = 2
    config.log.eval_every_epochs = 1
    config.log.image_count = 2
    return config


def _resolution(tiles, **train):
    return _small(finetune_resolution_arabidopsis.get_config(), tiles, **train)


def _leaves(params):
    return {parameter_name(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)}


@pytest.fixture(scope="module")
def pretrained(tiles, tmp_path_factory):
    """(workdir, parameters) of a pretraining that has just begun."""
    workdir = tmp_path_factory.mktemp("pretrained")
    config = _small(pretrain_arabidopsis.get_config("demo"), tiles)
    inputs, task = Inputs.create(config), create_task(config)
    state = loop.create_state(config, task, create_optimizer(config), create_mesh(config), inputs)
    with Checkpoints(workdir, config) as checkpoints:
        checkpoints.save(state)
    return workdir, state.params


@pytest.fixture(scope="module")
def run(tiles, pretrained, tmp_path_factory):
    """(config, workdir, result) of the report's recipe, from a pretrained encoder."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    config = _resolution(tiles)
    config.init_from = str(pretrained[0])
    config.optim.learning_rate = 1e-3
    return config, workdir, loop.train_and_evaluate(config, workdir)


@pytest.mark.parametrize(("name", "variant"), VARIANTS)
def test_every_variant_is_valid(name, variant):
    config_lib.validate(importlib.import_module(f"configs.{name}").get_config(variant))
    with pytest.raises(InputError, match="demo"):
        importlib.import_module(f"configs.{name}").get_config("demmo")


@pytest.mark.parametrize("name", CONFIGS[1:])
def test_a_demo_takes_a_step(name, tiles, tmp_path):
    """At a toy size; the report's recipe takes its steps in `run`."""
    config = _small(
        importlib.import_module(f"configs.{name}").get_config("demo"), tiles, total_steps=1, accum_steps=1
    )
    config.log.image_count = 2 if name == "finetune_multitask" else 0
    # Heads alone: a fifth of the time to compile; every layer is trained in test_finetune_optim.py.
    config.optim.trainable, config.optim.trainable_patterns = "none", ("_head/",)
    result = loop.train_and_evaluate(config, tmp_path)
    assert result.finished and np.isfinite(result.last["loss"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.state.params))
    if name == "finetune_multitask":  # input, and output and target of each
        picture = np.asarray(Image.open(tmp_path / "images" / "step_00000001.png"))
        assert picture.shape[1] == 7 * 2 * 48 + 6 * GAP


def test_a_frozen_encoder_stays_the_pretrained_one_to_the_bit(run, pretrained):
    _, _, result = run
    before, after = _leaves(pretrained[1]), _leaves(result.state.params)
    encoder = [name for name in before if name.startswith("encoder/")]
    assert len(encoder) > 20
    for name in encoder:
        np.testing.assert_array_equal(after[name], before[name], err_msg=name)
    moved = [name for name in after if name in before and (after[name] != before[name]).any()]
    assert moved and all(name.startswith("decoder/") for name in moved)
    moments = _leaves(result.state.opt_state[0].mu)
    assert "map_head/kernel" in moments and not [name for name in moments if name.startswith("encoder/")]


def test_what_a_run_leaves(run):
    """Pictures of input, output, target; scores beside those of the input; the scaling."""
    config, workdir, result = run
    picture = np.asarray(Image.open(workdir / "images" / "step_00000004.png"))
    assert picture.shape[1] > 3 * 48 and len(np.unique(picture.reshape(-1, 3), axis=0)) > 50
    judged = {f"{who}_{what}" for who in ("map", "input", "smoothed") for what in ("r", "mse", "r_distance")}
    assert judged | {"loss", "map_loss"} <= result.last.keys()
    # The input and what it is compared with never change: nor do its scores.
    assert result.first["input_r"] == result.last["input_r"] < 1
    assert json.loads((workdir / "config.json").read_text())["targets"]["map_scaling"] == "log1000"
    meta = json.loads((workdir / "checkpoints" / "4" / "meta" / "metadata").read_text())
    assert meta["config"]["targets"]["map_scaling"] == "log1000"
    assert "smoothed_r" in summary(config, str(workdir), result.finished, 4)


def test_a_run_that_crashed_goes_on_as_if_it_had_not(run, tmp_path, monkeypatch):
    """Thinned inputs, frozen parts and accumulation included: every number is the same."""
    config, workdir, straight = run
    config.log.checkpoint_every_steps = 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        small_run.crash_after(patch, 2)
        loop.train_and_evaluate(config, tmp_path)
    resumed = loop.train_and_evaluate(config, tmp_path)
    assert not resumed.first and small_run.metrics(tmp_path) == small_run.metrics(workdir)
    for a, b in zip(
        jax.tree.leaves(resumed.state.params), jax.tree.leaves(straight.state.params), strict=True
    ):
        np.testing.assert_array_equal(a, b)


def _task(tiles, task, **settings):
    """A config by `section__field` of what differs from the report's recipe."""
    config = _resolution(tiles)
    config.task = task
    for name, value in settings.items():
        section, field = name.split("__")
        config[section][field] = value
    return config


def test_reproducibility_tells_replicates_from_other_windows(tiles, tmp_path):
    config = _task(tiles, "reproducibility", data__thin=(0.25, 0.5), optim__learning_rate=3e-3)
    config.log.image_count, config.train.accum_steps = 0, 1
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


def _scores(config):
    """A validation of a fresh model."""
    inputs = Inputs.create(config)
    task = create_task(config, inputs.target_shapes())
    params, evaluate = jax.jit(task.init)(jax.random.key(0)), jax.jit(task.evaluate)
    sums = {}
    for batch in inputs.validation():
        for name, value in evaluate(params, batch, jnp.zeros(2)).items():
            sums[name] = sums.get(name, 0.0) + float(value)
    return task.finish(sums)


def test_any_stored_targets_are_used(labelled):
    settings = dict(
        data__thin=(),
        targets__map_scaling="none",
        targets__track_weight=0.0,
        model__input_size=(64, 64),
    )
    scores = _scores(_task(labelled, "finetune", **settings))
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
        loop.train_and_evaluate(_task(tiles, task, **settings), tmp_path / "work")
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "work").exists()


def test_a_target_of_another_length_is_refused(tiles):
    config = _task(tiles, "finetune")
    with pytest.raises(InputError, match=r"embedding.*\(7,\).*\(16,\)"):
        create_task(config, {"embedding": (7,)})
