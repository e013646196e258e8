"""Losses and scalings of fine-tuning: minima, gradients, padding and zeros."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.models.preprocess import SCALINGS, target_scaling
from hicfm_jax.train.losses import LOSSES, NEED_LOG_SCALING, target_losses
from hicfm_jax.train.losses.finetuning_losses import (
    TargetLoss,
    contrastive_replicate_loss,
    cosine,
    finetune_losses,
    triplet_loss,
)
from hicfm_jax.train.tasks import check_config

RNG = np.random.default_rng(0)
COUNTS = jnp.asarray(RNG.poisson(20, (3, 16, 32)), jnp.float32)


def test_an_unknown_scaling_is_named():
    with pytest.raises(InputError, match="log2"):
        target_scaling("log2")


@pytest.mark.parametrize("name", SCALINGS)
def test_a_scaling_is_undone(name):
    scaling = target_scaling(name)
    undone = jax.jit(lambda counts: scaling.unscale(scaling.scale(counts)))(COUNTS)
    np.testing.assert_allclose(undone, COUNTS, rtol=1e-4, atol=1e-4)


def test_the_published_scale_of_resolution():
    """Output 1 is a count of 1000; an output below zero is no contact."""
    scaling = target_scaling("log1000")
    assert float(scaling.scale(1000)) == pytest.approx(1)
    assert float(scaling.unscale(jnp.float32(1))) == pytest.approx(1000, rel=1e-5)
    assert float(scaling.unscale(jnp.float32(-0.3))) == 0


ANY_TARGET = [loss for loss in LOSSES if loss != "bernoulli"]  # which takes probabilities
_COMBINATIONS = [
    (loss, name)
    for loss in ANY_TARGET
    for name in SCALINGS
    if loss not in NEED_LOG_SCALING or name in ("log10", "log1000")  # target_losses refuses the others
]


@pytest.mark.parametrize(("loss", "name"), _COMBINATIONS)
def test_the_loss_is_zero_at_the_target_and_positive_elsewhere(loss, name):
    scaling = SCALINGS[name]
    value = jax.jit(lambda output: LOSSES[loss](output, COUNTS, scaling))
    perfect = np.asarray(scaling.scale(COUNTS))
    np.testing.assert_allclose(value(perfect), 0, atol=2e-5)
    assert (value(perfect + 0.1 * RNG.normal(size=COUNTS.shape)) > 1e-6).all()


@pytest.mark.parametrize("loss", ANY_TARGET)
def test_every_loss_has_a_gradient_at_negative_outputs(loss):
    """Every pixel of an output that is too low has a gradient that raises it."""
    scaling = target_scaling("none" if loss == "log_mse" else "log1000")
    output = np.full(COUNTS.shape, -0.2, np.float32)
    output[:, 0] = -0.1
    gradient = jax.jit(jax.grad(lambda o: LOSSES[loss](o, COUNTS, scaling).sum()))(output)
    low = gradient[:, 1:] if loss == "cosine" else gradient
    assert np.isfinite(gradient).all() and (low < 0).mean() > (0.3 if loss == "cosine" else 0.999)


def test_bernoulli_deviance_is_the_cross_entropy_of_loops():
    """By hand; 0 at the target, finite at certain mistakes, and no gradient that is not."""
    target, soft = np.array([[[1, 0, 0, 0]], [[0.3, 0.6, 0.1, 0.9]]], np.float32)
    loss = jax.jit(lambda output, target: LOSSES["bernoulli"](output, target, SCALINGS["none"]))
    value = loss(np.array([[0.5, 0.5, 0.25, 0.0]], np.float32), target)
    np.testing.assert_allclose(value, (2 * np.log(2) - np.log(0.75)) / 4, rtol=1e-4)
    np.testing.assert_allclose(loss(target, target), 0, atol=1e-5)
    gradient = jax.jit(jax.grad(lambda output: loss(output, target).sum()))(1 - target)
    assert np.isfinite(gradient).all()
    np.testing.assert_allclose(loss(soft, soft), 0, atol=1e-6)


def test_poisson_finds_the_mean_and_squares_of_logs_do_not():
    """Half the pixels hold 0, half 100: the mean is 50, that of the logarithms about 9."""
    scaling, target = target_scaling("log10"), jnp.array([[0.0, 100.0] * 50])

    grid = np.linspace(0.1, 2.5, 2401, dtype=np.float32)

    def best(loss):
        one = jax.vmap(lambda o: LOSSES[loss](jnp.full_like(target, o), target, scaling)[0])
        values = np.asarray(jax.jit(one)(grid))
        return float(scaling.unscale(grid[values.argmin()]))

    assert best("poisson") == best("gamma_poisson") == pytest.approx(50, rel=0.01)
    assert best("mse") == pytest.approx(101**0.5 - 1, rel=0.01)


def test_log_mse_is_in_decades_for_every_scaling():
    counts = np.asarray(COUNTS)
    for name in ("log10", "log1000", "none"):
        scaling = target_scaling(name)
        loss = jax.jit(
            lambda tenfold, scaling=scaling: LOSSES["log_mse"](scaling.scale(tenfold), COUNTS, scaling)
        )
        np.testing.assert_allclose(loss(10 * (counts + 1) - 1), 1, rtol=1e-4)


def test_cosine_of_an_empty_target_is_zero_and_has_a_gradient():
    """As in PyTorch: the loss of an all-zero target is 1 and its gradient 0."""
    empty = jnp.zeros_like(COUNTS)
    value = jax.jit(cosine)
    np.testing.assert_array_equal(value(COUNTS, empty), 0)
    assert np.isfinite(jax.jit(jax.grad(lambda x: cosine(x, empty).sum()))(empty)).all()
    np.testing.assert_allclose(value(COUNTS, -3 * np.asarray(COUNTS)), -1, rtol=1e-6)


def _specs(**weights):
    return {name: TargetLoss(LOSSES["mse"], weight, SCALINGS["none"]) for name, weight in weights.items()}


def test_targets_are_weighted_and_summed_and_padding_does_not_count():
    outputs = {"map": np.zeros((2, 4, 4)), "track": np.zeros((2, 4))}
    targets = {"map": np.stack([np.ones((4, 4)), np.full((4, 4), 9.0)]), "track": np.full((2, 4), 2.0)}
    specs = _specs(map=1.0, track=0.5)
    parts = jax.jit(lambda *arrays: finetune_losses(*arrays[:2], specs, arrays[2]))(
        outputs, targets, np.array([1.0, 0.0], np.float32)
    )
    assert {name: float(value) for name, value in parts.items()} == {
        "loss": 3.0,
        "map_loss": 1.0,
        "track_loss": 4.0,
    }


def test_a_target_of_weight_zero_is_not_trained():
    config = config_lib.base_config()
    config.targets.track_weight = 0.0
    assert set(target_losses(config)) == {"map", "embedding"}


def test_triplet_loss_is_zero_beyond_the_margin():
    anchor, everyone = np.eye(3, dtype=np.float32), np.ones(3, np.float32)
    loss = jax.jit(triplet_loss, static_argnums=2)
    assert float(loss(anchor, anchor, 0.5, everyone)) == 0
    assert float(loss(anchor, np.ones((3, 3), np.float32), 0.5, everyone)) == pytest.approx(0.5)
    # The third example is padding: its own triplet and the next one's do not count.
    padded = np.array([1.0, 1.0, 0.0], np.float32)
    assert float(loss(anchor, anchor[[0, 2, 1]], 0.5, padded)) == pytest.approx(0.5)


def test_contrastive_loss_of_replicates_by_hand():
    """Orthogonal windows: each replicate among n with the cosines 1, 0, 0; padding is no candidate."""
    anchor, everyone = np.eye(3, dtype=np.float32), np.ones(3, np.float32)
    loss = jax.jit(contrastive_replicate_loss, static_argnums=2)
    assert float(loss(anchor, anchor, 0.5, everyone)) == pytest.approx(np.log(np.exp(2) + 2) - 2, rel=1e-5)
    assert float(loss(anchor, 7 * anchor, 0.5, everyone)) == pytest.approx(
        float(loss(anchor, anchor, 0.5, everyone))
    )
    padded = np.array([1.0, 1.0, 0.0], np.float32)
    assert float(loss(anchor, anchor, 0.5, padded)) == pytest.approx(np.log(np.exp(2) + 1) - 2, rel=1e-5)
    gradient = jax.jit(jax.grad(lambda one: contrastive_replicate_loss(one, anchor, 0.1, padded)))(anchor)
    assert np.isfinite(gradient).all() and not np.asarray(gradient[2]).any()


@pytest.mark.parametrize(
    ("field", "value", "task"),
    [
        ("targets.replicate_loss", "cosine", "reproducibility"),
        ("targets.temperature", 0.0, "reproducibility"),
        ("targets.map_loss", "none_such", "finetune"),
        ("targets.track_scaling", "log2", "finetune"),
        ("targets.map_weight", -1.0, "finetune"),
        ("data.thin", (0.5,), "resolution"),
        ("data.thin", (0.5, 0.1), "resolution"),
        ("data.thin", (0.0, 0.1), "resolution"),
        ("data.thin", (0.1, 0.5), "pretrain"),
        ("data.thin", (), "reproducibility"),
        ("data.split", (0.5,), "resolution"),
        ("data.split", (0.5, 1.0), "resolution"),
        ("data.split", (0.2, 0.8), "pretrain"),
        ("model.dispersion", True, "resolution"),
        ("data.derive", ("map",), "finetune"),
        ("optim.trainable", "encoder", "finetune"),
        ("optim.layer_decay", 0.0, "finetune"),
        ("optim.layer_decay_rule", "half", "finetune"),
        ("optim.frozen_patterns", ("(",), "finetune"),
        ("task", "embedding", None),
    ],
)
def test_a_bad_value_is_named(field, value, task):
    config = config_lib.base_config()
    config.task = task or value
    if task:
        section, name = field.split(".")
        config[section][name] = value
    with pytest.raises(InputError, match=f"config.{field}"):
        check_config(config)


def test_poisson_needs_a_scale_of_counts():
    config = config_lib.base_config()
    config.targets.map_loss = "poisson"
    with pytest.raises(InputError, match="targets.map_scaling.*log1000"):
        check_config(config)
    config.targets.map_scaling = "log1000"
    check_config(config)


def test_a_triplet_needs_two_windows():
    config = config_lib.base_config()
    config.task, config.data.thin = "reproducibility", (0.5, 0.5)
    with pytest.raises(InputError, match="global_batch_size"):
        check_config(config)


@pytest.mark.parametrize("name", LOSSES)
def test_missing_values_have_no_part_in_a_loss_or_its_gradient(name):
    rng = np.random.default_rng(0)
    scaling = SCALINGS["log10"]
    spec = TargetLoss(LOSSES[name], 1.0, scaling)
    output, target = rng.normal(size=(2, 8)).astype(np.float32), rng.poisson(5, (2, 8)).astype(np.float32)
    with_gaps = target.copy()
    with_gaps[:, 5:] = np.nan
    everyone = np.ones(2, np.float32)

    @jax.jit
    @jax.value_and_grad
    def loss(output, target):
        return finetune_losses({"track": output}, {"track": target}, {"track": spec}, everyone)["loss"]

    value, gradient = loss(output, with_gaps)
    assert np.isfinite(gradient).all() and np.all(gradient[:, 5:] == 0) and np.any(gradient[:, :5] != 0)
    if name != "cosine":  # not a mean over values
        np.testing.assert_allclose(value, loss(output[:, :5], target[:, :5])[0], rtol=1e-5)
    nothing = loss(output, np.full_like(target, np.nan))
    assert all(np.all(part == 0) for part in nothing)


def test_the_loss_of_several_tracks_is_the_mean_of_theirs():
    output = np.zeros((2, 3, 4), np.float32)
    target = np.zeros((2, 3, 4), np.float32)
    target[:, 0], target[:, 1] = 1.0, 2.0
    target[0, 1] = np.nan  # fewer values of a track do not lower its weight
    specs, everyone = _specs(track=1.0), np.ones(2, np.float32)
    losses = jax.jit(lambda *pair: finetune_losses(*({"track": each} for each in pair), specs, everyone))(
        output, target
    )
    assert float(losses["track_loss"]) == pytest.approx((1.0 + 4.0 + 0.0) / 3)
