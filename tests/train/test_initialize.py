"""Runs that start from other weights: the original's files, converted folders, runs of ours."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict

from hicfm_jax.checkpoints import folder
from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.config import base_config
from hicfm_jax.convert import convert_to_folder, export, load_weights
from hicfm_jax.errors import InputError
from hicfm_jax.models import create_model
from hicfm_jax.train import loop, sharding
from hicfm_jax.train.initialize import read_source, start_from
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.step import TrainState
from hicfm_jax.train.tasks import check_config, create_task
from tests.convert import made_up
from tests.train import small_run

pytestmark = pytest.mark.needs("torch")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A pretraining file of the original after 7 steps."""
    return made_up.save(made_up.trained(steps=7), tmp_path_factory.mktemp("source"))


@pytest.fixture(params=["file", "folder"])
def place(request, source, tmp_path):
    """The file of the original, or the folder made of it."""
    if request.param == "folder":
        convert_to_folder(source, tmp_path / "weights")
    return source if request.param == "file" else tmp_path / "weights"


def _config(tiles, total_steps, **fields):
    config = small_run.config(
        tiles, f"--config.train.total_steps={total_steps}", "--config.log.every_steps=1"
    )
    config.update(fields)
    return config


def _same(tree, expected):
    leaves = flatten_dict(tree, sep="/")
    assert leaves.keys() == expected.keys()
    for path, value in leaves.items():
        np.testing.assert_array_equal(value, expected[path], err_msg=path)


@pytest.mark.slow  # compiles a run for each source
def test_a_run_starts_from_the_parameters_alone(tiles, source, place):
    config = _config(tiles, 1)
    mesh, task, optimizer = sharding.create_mesh(config), create_task(config), create_optimizer(config)
    state = loop.create_state(config, task, optimizer, mesh, Inputs.create(config), place)
    _same(state.params, load_weights(source).params)
    assert int(state.step) == 0
    adam = next(part for part in state.opt_state if hasattr(part, "mu"))
    assert int(adam.count) == 0 and not any(leaf.any() for leaf in jax.tree.leaves((adam.mu, adam.nu)))


@pytest.mark.slow  # three runs of the network
def test_a_converted_workdir_goes_on_where_pytorch_stopped(tiles, source, tmp_path):
    workdir = tmp_path / "weights"
    convert_to_folder(source, workdir)
    with pytest.raises(InputError, match="stopped at step 7 and this run ends at 3"):
        loop.train_and_evaluate(_config(tiles, 3), workdir)
    assert not (workdir / "config.json").exists()
    stopped = loop.train_and_evaluate(_config(tiles, 7), workdir)
    assert int(stopped.state.step) == 7 and stopped.finished
    weights = load_weights(source, with_adam=True)
    _same(stopped.state.params, weights.params)
    adam = next(part for part in stopped.state.opt_state if hasattr(part, "mu"))
    assert int(adam.count) == 7
    _same(adam.mu, weights.adam.mu)
    _same(adam.nu, weights.adam.nu)

    went_on = loop.train_and_evaluate(_config(tiles, 9), workdir)
    assert int(went_on.state.step) == 9
    adam = next(part for part in went_on.state.opt_state if hasattr(part, "mu"))
    assert int(adam.count) == 9
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["split"] == "train"] == [8, 9]

    export(workdir, tmp_path / "mine.pth.tar")  # and back to PyTorch, whose steps go on too
    assert load_weights(tmp_path / "mine.pth.tar", with_adam=True).adam.count == 9


def test_a_converted_workdir_takes_no_second_source(tiles, source, tmp_path):
    convert_to_folder(source, tmp_path / "weights")
    with pytest.raises(InputError, match="init_from"):
        loop.train_and_evaluate(_config(tiles, 8, init_from=str(source)), tmp_path / "weights")


def test_pretraining_fills_a_head_that_is_trained(source, place):
    """Encoder and decoder come from the file, tables resized to the window; the head stays as drawn."""
    config = _config("", 1)
    config.task, config.model.input_size = "resolution", (32, 48)
    model, rng = create_model("vit_test", (32, 48), "resolution"), np.random.default_rng(0)
    shapes = jax.eval_shape(model.init, jax.random.key(1), jnp.zeros((1, 32, 48, 3)))["params"]
    drawn = jax.tree.map(lambda leaf: jnp.asarray(rng.random(leaf.shape, np.float32)), shapes)
    state = TrainState.create(drawn, create_optimizer(base_config()), ["loss"])
    weights = read_source(place, config, go_on=False)
    filled = flatten_dict(start_from(state, weights, go_on=False).params, sep="/")
    before = flatten_dict(state.params, sep="/")
    assert filled.keys() == before.keys()
    expected = load_weights(source, "resolution", (32, 48)).params
    for path, value in filled.items():
        np.testing.assert_array_equal(value, expected.get(path, before[path]), err_msg=path)
    assert before.keys() - expected.keys() == {"map_head/kernel", "map_head/bias"}


def test_weights_of_another_model_are_refused_and_nothing_is_left(tiles, place, tmp_path):
    config = _config(tiles, 1, init_from=str(place))
    config.model.name = "vit_tiny_patch16"
    with pytest.raises(InputError, match="do not fit vit_tiny_patch16"):
        loop.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_head_of_other_tracks_is_refused(tmp_path):
    """The names stand for the order of the head's outputs."""
    config = base_config()
    config.task, config.model.name, config.model.input_size = "epigenome", "vit_test", (32, 64)
    config.model.tracks = ("genes", "TEs")
    check_config(config)
    shapes = parameter_shapes("vit_test", (32, 64), "epigenome", tracks=("genes", "TEs"))
    params = {path: np.zeros(shape, np.float32) for path, shape in shapes.items()}
    meta = {"config": json.loads(json.dumps(config.to_dict()))}
    folder.write(tmp_path / "run", 1, params, None, meta)
    assert read_source(tmp_path / "run", config, go_on=False).head == {"tracks": ("genes", "TEs")}
    config.model.tracks = ("TEs", "genes")
    with pytest.raises(InputError, match="of another kind: set config.model.tracks=.'genes', 'TEs'."):
        read_source(tmp_path / "run", config, go_on=False)
    config.task = "loop"
    with pytest.raises(InputError, match="config.model.tracks .* must be empty except for task=epigenome"):
        check_config(config)
