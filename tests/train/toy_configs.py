"""Configs that train in seconds, and functions that their tests share."""

import jax
import numpy as np
import pytest
from ml_collections import ConfigDict

from hicfm_jax.train import loop
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.sharding import create_mesh, parameter_name
from hicfm_jax.train.tasks import create_task
from tests.train import small_run


def toy(config: ConfigDict, tiles, **settings) -> ConfigDict:
    """The config with the smallest model, four steps of two micro-batches, and validations at both ends.

    `settings` are fields by `section__field`.
    """
    config.data.tiles = str(tiles)
    config.model.update({"name": "vit_test", "input_size": (48, 48), "pixel_width": 4, "pixel_depth": 1})
    config.model.scan = True  # is traced and compiled in less time
    config.train.update({"global_batch_size": 4, "accum_steps": 2, "total_steps": 4})
    config.log.update({"every_steps": 2, "eval_every_steps": 4, "image_count": 0})
    for name, value in settings.items():
        section, field = name.split("__")
        config[section][field] = value
    return config


def create(config: ConfigDict, init_from: str = ""):
    """(inputs, task, optimizer, fresh state) of a run."""
    inputs = Inputs.create(config)
    task, optimizer = create_task(config, inputs.target_shapes()), create_optimizer(config)
    state = loop.create_state(config, task, optimizer, create_mesh(config), inputs, init_from)
    return inputs, task, optimizer, state


def save_fresh(config: ConfigDict, workdir):
    """Writes a checkpoint of step 0; returns its parameters."""
    state = create(config)[-1]
    with Checkpoints(workdir, config) as checkpoints:
        checkpoints.save(state)
    return state.params


def take_step(config: ConfigDict):
    """(parameters before, parameters after, logged means) of one training step at a fixed rate.

    Fails if one of its micro-batches was skipped.
    """
    inputs, task, optimizer, state = create(config)
    before = jax.device_get(state.params)
    step = loop.compile_train_step(config, task, optimizer, lambda _: 1e-2, state, create_mesh(config))
    state, means = step(state, inputs.first_batch()).read_window()
    assert int(state.skipped) == 0
    return before, state.params, means


def leaves(params) -> dict[str, np.ndarray]:
    """Parameters by name."""
    return {parameter_name(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)}


def assert_resumes_exactly(config: ConfigDict, workdir, straight: loop.Result, folder, monkeypatch) -> None:
    """A run that crashed before its second checkpoint ends with the numbers of an uninterrupted one."""
    config = config.copy_and_resolve_references()
    config.log.checkpoint_every_steps = 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        small_run.crash_after(patch, 2)
        loop.train_and_evaluate(config, folder)
    resumed = loop.train_and_evaluate(config, folder)
    assert not resumed.first and small_run.metrics(folder) == small_run.metrics(workdir)
    for name, value in leaves(straight.state.params).items():
        np.testing.assert_array_equal(leaves(resumed.state.params)[name], value, err_msg=name)
