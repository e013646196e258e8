"""Accumulation, and what happens to numbers that are not finite."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from benchmarks.compile_only import compile_step
from benchmarks.step import step_config
from configs import pretrain_arabidopsis
from hicfm_jax.batch import Batch
from hicfm_jax.config import base_config
from hicfm_jax.models.presets import PRESETS
from hicfm_jax.train.optim import create_optimizer, merge
from hicfm_jax.train.step import TrainState, accumulate, all_finite, create_train_step
from hicfm_jax.train.tasks import create_task
from tests.train import small_run


def _loss(params, batch, keys):
    """Squared distance of a weight from the counts; the gradient alone is NaN where a depth is negative."""
    error = jnp.mean((params["w"] - batch.counts[:, 0, 0]) ** 2)
    sound = jnp.where(batch.total_count.min() < 0, 0.0, 1.0)
    return error + 0.0 * jnp.sqrt(sound * jnp.sum(params["w"] ** 2)), {"loss": error}


def _batch(values, depth=None):
    values = np.asarray(values, np.float32)
    count = len(values)
    return Batch(
        counts=values.reshape(-1, 1, 1),
        total_count=np.ones(count, np.float32) if depth is None else np.asarray(depth, np.float32),
        diag=np.zeros(count, np.int32),
        matrix_count=np.ones(count, np.float32),
        mask=np.ones(count, np.float32),
    )


@pytest.fixture
def step():
    optimizer = create_optimizer(base_config())
    state = TrainState.create({"w": jnp.ones((1, 1))}, optimizer, ["loss"])
    return state, jax.jit(create_train_step(_loss, optimizer, lambda _: 0.1, 2, jax.random.key(0)))


@pytest.mark.slow  # compiles two steps
def test_accumulation_equals_the_whole_batch():
    params, keys = {"w": jnp.ones((1, 1))}, jax.random.split(jax.random.key(0), 4)
    whole, _, _ = accumulate(_loss, params, _batch([1, 2, 3, 6]), keys, 1)
    parts, metrics, good = accumulate(_loss, params, _batch([1, 2, 3, 6]), keys, 4)
    np.testing.assert_allclose(parts["w"], whole["w"], rtol=1e-6)
    assert float(good) == 4 and float(metrics["loss"]) == pytest.approx((0 + 1 + 4 + 25) / 4)


@pytest.mark.slow  # compiles the network twice
def test_pretraining_in_parts_hides_the_same_patches():
    config = pretrain_arabidopsis.get_config("demo")
    config.model.name, config.model.input_size = "vit_test", (48, 48)
    task = create_task(config)
    tiles = small_run.make_tiles(4, 0)
    batch = Batch(
        counts=tiles.counts[:, :48, :48],
        total_count=tiles.total_count,
        diag=tiles.diag,
        matrix_count=tiles.matrix_count,
        mask=np.ones(4, np.float32),
    )
    params, keys = jax.jit(task.init)(jax.random.key(0)), jax.random.split(jax.random.key(1), 4)
    # The gradient of all parameters compiles for longer.
    trained = {name: params[name] for name in ("count_head", "pixel_head")}

    def loss_of_trained(trained, *rest):
        return task.loss(merge(params, trained), *rest)

    steps = jax.jit(accumulate, static_argnums=(0, 4))
    whole, loss, _ = steps(loss_of_trained, trained, batch, keys, 1)
    parts, mean, good = steps(loss_of_trained, trained, batch, keys, 2)
    assert good == 2
    for name in loss:
        np.testing.assert_allclose(mean[name], loss[name], rtol=1e-5, err_msg=name)
    difference = optax.tree.norm(optax.tree.sub(parts, whole))
    assert difference < 1e-4 * optax.tree.norm(whole)


@pytest.mark.parametrize(
    "bad", [_batch([1, 2, np.nan, 6]), _batch([1, 2, np.inf, 6]), _batch([1, 2, 3, 6], [1, 1, -1, 1])]
)
def test_a_bad_micro_batch_is_dropped_and_the_others_count(step, bad):
    state, train_step = step
    after = train_step(state, bad)
    expected = train_step(state, _batch([1, 2, 1, 2]))  # the good half twice: the same mean
    np.testing.assert_allclose(after.params["w"], expected.params["w"], rtol=1e-6)
    assert int(after.skipped) == 1 and int(after.step) == 1
    assert after.read_window()[1]["loss"] == pytest.approx(0.5)


def test_a_step_of_bad_micro_batches_changes_nothing_but_the_counters(step):
    state, train_step = step
    after = train_step(state, _batch([np.nan] * 4))
    np.testing.assert_array_equal(after.params["w"], state.params["w"])
    for new, old in zip(jax.tree.leaves(after.opt_state), jax.tree.leaves(state.opt_state), strict=True):
        np.testing.assert_array_equal(new, old)
    assert int(after.step) == 1 and int(after.skipped) == 2
    assert int(train_step(after, _batch([1, 2, 3, 4])).skipped) == 2


@pytest.mark.parametrize("devices", [1, 2])
@pytest.mark.parametrize("shape", [(), (3,), (2, 64, 64), (64, 128)])
def test_one_number_that_is_not_finite_is_found(shape, devices, monkeypatch):
    monkeypatch.setattr(jax, "device_count", lambda: devices)
    tree = {"sound": np.ones((5, 2), np.float32), "other": np.full(shape, -1e9, np.float32)}
    assert all_finite(tree)
    for bad in (np.nan, np.inf, -np.inf, 1e20):
        tree["other"].flat[-1] = bad
        assert not all_finite(tree), bad
    tree["other"].flat[0] = -1e20  # does not cancel the last number
    assert not all_finite(tree)


def test_reading_the_window_starts_a_new_one(step):
    state, train_step = step
    state, means = train_step(state, _batch([1, 2, 3, 4])).read_window()
    assert means["loss"] == pytest.approx((0 + 1 + 4 + 9) / 4)
    assert np.isnan(state.read_window()[1]["loss"])


@pytest.mark.slow  # compiles a step
def test_an_update_takes_the_place_of_what_it_replaces(monkeypatch):
    """Beside the state there are gradients and their sums, and no copy of anything."""
    monkeypatch.setitem(
        PRESETS, "vit_tiny_patch16", PRESETS["vit_tiny_patch16"] | dict(depth=1, decoder_depth=1)
    )
    config = step_config("vit_tiny_patch16", "pretrain", (32, 32), 2, "float32", "all")
    config.train.accum_steps = 2
    memory = compile_step(config)
    gradients = memory["state"] / 3  # parameters and two moments
    assert memory["temporaries"] < 2.5 * gradients
