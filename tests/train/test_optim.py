"""Parity of optimizer steps and learning rates with the original."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hicfm_jax.batch import Batch
from hicfm_jax.config import base_config, peak_learning_rate
from hicfm_jax.models import create_model
from hicfm_jax.train.losses import pretrain_losses
from hicfm_jax.train.optim import clip_by_norm, create_optimizer, create_schedule, decayed, warmup_cosine
from hicfm_jax.train.sharding import parameter_name
from hicfm_jax.train.step import TrainState, create_train_step
from tests.models.original_names import to_ours
from tests.train.golden_model import load_params, named_leaves, spreads


def _golden_batches(arrays):
    """Global batches of 2 x 2 examples; images and noise are passed as targets."""
    for step in range(3):
        part = slice(2 * step, 2 * step + 2)

        def flat(name, part=part):
            value = arrays[f"pretrain/{name}"][part]
            return jnp.asarray(value.reshape(-1, *value.shape[2:]))

        yield Batch(
            counts=flat("imgs_mask")[:, 0, 0],
            total_count=flat("total_count"),
            diag=flat("diag").astype(jnp.int32),
            matrix_count=flat("matrix_count"),
            mask=jnp.ones(4),
            targets={"images": flat("imgs").transpose(0, 2, 3, 1), "noise": flat("noise")},
        )


def _golden_loss(params, batch, _):
    images = batch.targets["images"]
    output = create_model("vit_test", (64, 96)).apply(
        {"params": params}, images, batch.total_count, batch.diag, noise=batch.targets["noise"]
    )
    parts = pretrain_losses(output, images, batch.counts, batch.matrix_count)
    return parts["loss"], {
        name: parts[name] for name in ("loss", "ssim_loss", "count_loss", "contrastive_loss")
    }


@pytest.mark.slow  # compiles a training step of its own
def test_three_steps_of_the_original(golden):
    """Accumulation over 2 micro-batches, AdamW, warm-up and cosine, three steps."""
    optim, manifest = golden("upstream_tiny_optim")
    start, _ = golden("upstream_tiny_pretrain")
    facts = manifest["pretrain"]
    optimizer = create_optimizer(base_config())
    by_epoch = warmup_cosine(facts["lr_peak"], facts["min_lr"], facts["warmup_epochs"], facts["epochs"])

    def schedule(step):
        return by_epoch(facts["epoch"] + 2 * step / 6)

    step = jax.jit(create_train_step(_golden_loss, optimizer, schedule, 2, jax.random.key(0)))
    state = TrainState.create(
        load_params(start), optimizer, ["loss", "ssim_loss", "count_loss", "contrastive_loss"]
    )
    for number, batch in enumerate(_golden_batches(optim), start=1):
        rates = optim["pretrain/lr"][number - 1]
        np.testing.assert_allclose(schedule(number - 1), rates, rtol=1e-6)
        state = step(state, batch)
        state, means = state.read_window()
        for name, value in means.items():
            recorded = optim[f"pretrain/{name}"][2 * number - 2 : 2 * number].mean()
            # abs: a float32 rounding of a count near 7 moves its small squared error by about 1e-6.
            assert value == pytest.approx(recorded, rel=1e-5, abs=1e-6), (number, name)
        spread = spreads(facts["float64_spread"][number - 1]["per_parameter"])
        ours = named_leaves(state.params)
        for path, expected in named_leaves(load_params(optim, f"pretrain/params_step{number}/")).items():
            np.testing.assert_allclose(
                ours[path], expected, rtol=1e-5, atol=max(1e-6, spread[path]), err_msg=f"step {number} {path}"
            )
    moments = state.opt_state[0]
    for ours, name in ((moments.mu, "exp_avg"), (moments.nu, "exp_avg_sq")):
        ours = named_leaves(ours)
        for path, expected in named_leaves(load_params(optim, f"pretrain/{name}/")).items():
            np.testing.assert_allclose(
                ours[path], expected, rtol=0, atol=1e-4 * np.abs(expected).max(), err_msg=f"{name} {path}"
            )


def test_rates_of_the_original_over_a_whole_run(golden):
    arrays, _ = golden("upstream_tiny_optim")
    epochs, rates = arrays["lr_table"][:, 0], arrays["lr_table"][:, 1]
    ours = warmup_cosine(3e-3, 1e-6, 10, 100)(epochs)
    np.testing.assert_allclose(ours, rates, rtol=2e-6, atol=1e-10)


def test_groups_of_the_original(golden):
    """Weight decay falls on exactly the parameters that the original decays."""
    _, manifest = golden("upstream_tiny_optim")
    start, _ = golden("upstream_tiny_pretrain")
    for group in manifest["checkpoint"]["groups"]:
        marked = {name: np.ones_like(start[f"state/{name}"]) for name in group["params"]}
        tree = to_ours(marked)
        flags = {
            parameter_name(path): flag for path, flag in jax.tree_util.tree_leaves_with_path(decayed(tree))
        }
        assert flags and all(flag == (group["weight_decay"] > 0) for flag in flags.values())


def test_schedule_of_a_config():
    config = base_config()
    config.train.global_batch_size = 1024
    assert peak_learning_rate(config) == pytest.approx(6e-4)
    schedule = create_schedule(config, total_steps=1000)
    assert float(schedule(0)) == 0
    assert float(schedule(250)) == pytest.approx(3e-4)
    assert float(schedule(500)) == pytest.approx(6e-4)
    assert float(schedule(1000)) == pytest.approx(config.optim.min_lr, rel=1e-3)
    config.optim.learning_rate = 1e-3
    assert float(create_schedule(config, 1000)(500)) == pytest.approx(1e-3)


def test_the_batch_rule_gives_a_small_batch_a_tiny_rate():
    """Batch 1 x 4 has 2.3e-6 by the original's rule, too little to learn."""
    assert peak_learning_rate(base_config()) == pytest.approx(2.34e-6, rel=1e-2)


@pytest.mark.parametrize("scale", [1e-4, 1.0])
def test_gradients_are_clipped_as_by_optax(scale):
    keys = jax.random.split(jax.random.key(0), 2)
    tree = {
        "kernel": scale * jax.random.normal(keys[0], (192, 576)),
        "bias": jax.random.normal(keys[1], (7,)),
    }
    tree["bias"] *= scale
    ours, theirs = clip_by_norm(1.0), optax.clip_by_global_norm(1.0)
    assert ours.init(tree) == theirs.init(tree)  # so that older checkpoints fit
    found, expected = (each.update(tree, optax.EmptyState())[0] for each in (ours, theirs))
    for name in tree:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-6)
    assert optax.tree.norm(found) == pytest.approx(min(1.0, float(optax.tree.norm(tree))), rel=1e-5)
