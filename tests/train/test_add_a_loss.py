"""A new loss is a function and a line in a table."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from configs import finetune_resolution_arabidopsis, pretrain_arabidopsis
from hicfm_jax.errors import InputError
from hicfm_jax.models import PretrainOutput
from hicfm_jax.models.preprocess import SCALINGS
from hicfm_jax.train.losses import LOSSES, PRETRAIN_LOSSES, pretrain_losses
from hicfm_jax.train.losses.finetuning_losses import mean_per_example
from hicfm_jax.train.tasks import check_config, create_task
from tests.train import small_run
from tests.train.toy_configs import leaves, take_step, toy


def huber(output, target, scaling):
    """The file of a new loss: Huber's with a threshold of 0.1 on the output's scale, `[B]`."""
    return mean_per_example(optax.losses.huber_loss(output, scaling.scale(target), delta=0.1))


@pytest.mark.slow  # compiles a training step
def test_a_target_is_trained_by_a_new_loss(tmp_path, monkeypatch):
    monkeypatch.setitem(LOSSES, "toy_huber", huber)
    config = toy(
        finetune_resolution_arabidopsis.get_config(),
        small_run.save_tiles(tmp_path),
        targets__map_loss="toy_huber",
        optim__trainable="none",
        optim__trainable_patterns=("_head/",),
        train__accum_steps=1,
    )
    check_config(config)
    before, after, means = take_step(config)
    assert means.keys() == {"loss", "map_loss"} and 0 < means["loss"] == means["map_loss"] < np.inf
    moved = [name for name, value in leaves(after).items() if (value != leaves(before)[name]).any()]
    assert moved == ["map_head/bias", "map_head/kernel"]


def test_a_new_loss_by_hand():
    """Quadratic up to the threshold, linear beyond."""
    target = jnp.zeros((2, 3))
    output = jnp.array([[0.0, 0.1, 0.0], [1.0, 0.0, 0.0]])
    np.testing.assert_allclose(huber(output, target, SCALINGS["none"]), [0.005 / 3, 0.095 / 3], rtol=1e-6)


def test_a_name_without_an_entry_is_refused():
    config = finetune_resolution_arabidopsis.get_config()
    config.targets.map_loss = "none_such"
    with pytest.raises(InputError, match="map_loss is 'none_such' but must be one of mse, cosine"):
        check_config(config)


def edge_loss(windows):
    """The function of a new term of pretraining."""
    edge = windows.images[:, 0].mean()
    return {"edge_loss": edge, "edge_square": edge**2}


@pytest.mark.slow  # compiles losses
def test_a_new_term_of_pretraining_is_logged_and_weighted(monkeypatch):
    """Names of metrics are those that the term returns."""
    monkeypatch.setitem(PRETRAIN_LOSSES, "edge", edge_loss)
    output = PretrainOutput(jnp.zeros((1, 6, 768)), jnp.zeros(1), jnp.ones((1, 6)))
    arguments = (output, jnp.ones((1, 32, 48, 3)), jnp.ones((1, 32, 48)), jnp.ones(1))
    # One program takes less time than one for each operation.
    without, weighted = jax.jit(
        lambda *given: (pretrain_losses(*given), pretrain_losses(*given, edge_weight=2.0))
    )(*arguments)
    assert float(without["edge_loss"]) == 1
    assert float(weighted["loss"]) == pytest.approx(float(without["loss"]) + 2)
    with pytest.raises(TypeError, match="egde_weight"):
        pretrain_losses(*arguments, egde_weight=2.0)
    config = pretrain_arabidopsis.get_config("demo")
    assert {"loss", "ssim_loss", "edge_loss", "edge_square"} <= set(create_task(config).metrics)
