"""How a validation keeps the devices busy."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.train import sharding, validation
from hicfm_jax.train.inputs import Inputs
from tests.train import faults, small_run


class NoWriter:
    """Instead of a `MetricWriter`."""

    def validation(self, *_):
        pass

    def pause(self, seconds):
        pass


@pytest.mark.slow  # compiles a validation
def test_sums_are_fetched_while_other_batches_run(tmp_path, monkeypatch):
    monkeypatch.setattr(validation, "IN_FLIGHT", 2)
    config = small_run.config(small_run.save_tiles(tmp_path), "--config.train.accum_steps=4")
    config.log.image_count = 0
    task, order = faults.matrix_task(config), []
    params = task.init(jax.random.key(0))
    state = types.SimpleNamespace(params=params, step=0)
    judge = validation.Validation(config, task, Inputs.create(config), sharding.create_mesh(config))
    evaluate, get = judge.evaluate, jax.device_get
    judge.evaluate = lambda *arguments: order.append("give") or evaluate(*arguments)
    monkeypatch.setattr(jax, "device_get", lambda tree: order.append("fetch") or get(tree))
    metrics = judge.run(state, NoWriter())
    # 5 tiles one by one: never more than 2 under way, and none fetched before the next one is given.
    assert order == ["give", "give", "fetch", "give", "fetch", "give", "fetch", "give", "fetch", "fetch"]

    config.train.accum_steps = 1
    judge = validation.Validation(config, task, Inputs.create(config), sharding.create_mesh(config))
    assert metrics == pytest.approx(judge.run(state, NoWriter()), rel=1e-6)
    assert np.isfinite(metrics["loss"]) and jnp.isfinite(params["layer"]["kernel"]).all()
