"""Parity of fine-tuning's optimizer with the original, and frozen parameters."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.batch import Batch
from hicfm_jax.config import base_config
from hicfm_jax.errors import InputError
from hicfm_jax.models import create_model
from hicfm_jax.models.heads import FIXED
from hicfm_jax.train.losses import target_losses
from hicfm_jax.train.losses.finetuning_losses import finetune_losses
from hicfm_jax.train.optim import (
    create_optimizer,
    create_select,
    decayed,
    layer_scale,
    merge,
    warmup_cosine,
)
from hicfm_jax.train.sharding import parameter_name
from hicfm_jax.train.step import TrainState, create_train_step
from tests.models.original_names import head_to_ours
from tests.train.golden_model import named_leaves

TARGETS = {"map": "target_2d", "track": "target_1d", "embedding": "target_embed"}
RECORDED = {"loss": "loss", "map_loss": "output_2d_loss", "track_loss": "output_1d_loss"}
MODES = {"1": "decoder", "2": "all"}


@pytest.fixture(scope="module")
def golden_run(golden):
    """(arrays, facts, parameters at the start by the original's names)."""
    arrays, manifest = golden("upstream_tiny_optim")
    heads, _ = golden("upstream_tiny_heads")
    facts = manifest["finetune"]
    names = {*facts["modes"]["2"]["parameters"], *facts["modes"]["2"]["not_in_optimizer"]}
    return arrays, facts, {name: heads[f"state/{name}"] for name in names}


def _config(mode, facts):
    config = base_config()
    config.task, config.model.name, config.model.input_size = "finetune", "vit_test", (64, 96)
    config.optim.trainable = MODES[mode]
    config.optim.layer_decay, config.optim.layer_decay_rule = facts["layer_decay"], "original"
    return config


def _one_by_one(state, value):
    """Our name for every original name, by converting one array at a time."""
    found = {}
    for name, array in state.items():
        tree = head_to_ours({name: np.full_like(array, value)})
        for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
            found[name] = parameter_name(path), leaf
    return found


@pytest.mark.parametrize("mode", MODES)
def test_rates_and_decay_of_every_parameter(golden_run, mode):
    _, facts, start = golden_run
    ours = _one_by_one(start, 1.0)
    trained = {
        name: group
        for name, group in facts["modes"][mode]["parameters"].items()
        if not name.startswith("vit_backbone.head.")  # the unused classifier, which has no gradient
    }
    select = create_select(_config(mode, facts))
    selected = select(head_to_ours(start))
    assert {ours[name][0] for name in trained} == {
        parameter_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(selected)
    }
    for name, group in trained.items():
        place, leaf = ours[name]
        assert layer_scale(place, facts["layer_decay"], "original", 2, 2) == group["lr_scale"], name
        assert decayed({"x": leaf})["x"] == (group["weight_decay"] > 0), name


def _batches(arrays):
    for step in range(2):
        part = slice(2 * step, 2 * step + 2)

        def flat(name, part=part):
            value = arrays[name][part]
            return value.reshape(-1, *value.shape[2:])

        targets = {ours: flat(f"finetune/{theirs}") for ours, theirs in TARGETS.items()}
        images = flat("pretrain/imgs").transpose(0, 2, 3, 1)
        yield Batch(
            counts=np.zeros(4, np.float32),
            total_count=flat("pretrain/total_count"),
            diag=np.zeros(4, np.int32),
            matrix_count=np.zeros(4, np.float32),
            mask=np.ones(4, np.float32),
            targets={**targets, "images": images},
        )


# The optimizer's numbers are essential: the decoder's alone compile in half the time of all layers.
@pytest.mark.parametrize("mode", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_two_steps_of_the_original(golden_run, mode):
    """Losses, rates and every parameter; frozen ones are unchanged to the bit and have no moments."""
    arrays, facts, start = golden_run
    config = _config(mode, facts)
    recorded = facts["modes"][mode]
    optimizer, select = create_optimizer(config), create_select(config)
    model, specs = create_model("vit_test", (64, 96), "finetune"), target_losses(config)

    def loss(params, batch, _):
        output = model.apply({"params": params}, batch.targets["images"], batch.total_count)
        outputs = {name: getattr(output, name) for name in TARGETS}
        parts = finetune_losses(outputs, batch.targets, specs, batch.mask)
        return parts["loss"], parts

    by_epoch = warmup_cosine(recorded["lr_peak"], facts["min_lr"], facts["warmup_epochs"], facts["epochs"])

    def schedule(step):
        return by_epoch(facts["epoch"] + 2 * step / 4)

    step = jax.jit(create_train_step(loss, optimizer, schedule, 2, jax.random.key(0), select=select))
    params = jax.tree.map(jnp.asarray, head_to_ours(start))
    before = named_leaves(params)
    state = TrainState.create(params, optimizer, ["loss", *(f"{name}_loss" for name in TARGETS)], select)
    for number, batch in enumerate(_batches(arrays), start=1):
        rates = arrays[f"finetune{mode}/lr"][number - 1]
        np.testing.assert_allclose(float(schedule(number - 1)), rates[0], rtol=1e-6)
        state = step(state, batch)
        state, means = state.read_window()
        for name, theirs in RECORDED.items():
            expected = arrays[f"finetune{mode}/{theirs}"][2 * number - 2 : 2 * number].mean()
            assert means[name] == pytest.approx(expected, rel=1e-5), name
        prefix = f"finetune{mode}/params_step{number}/"
        after = {name[len(prefix) :]: arrays[name] for name in arrays.files if name.startswith(prefix)}
        spread = recorded["float64_spread"][number - 1]["per_parameter"]
        ours = named_leaves(state.params)
        for name, value in after.items():
            tree = named_leaves(head_to_ours({name: value}))
            for path, expected in tree.items():
                tolerance = max(1e-6, spread[name])
                np.testing.assert_allclose(ours[path], expected, rtol=1e-5, atol=tolerance, err_msg=path)
    moments = named_leaves(state.opt_state[0].mu)
    frozen = before.keys() - moments.keys()
    assert frozen >= set(FIXED) and ("encoder/cls_token" in frozen) == (mode == "1")
    for path in frozen:
        np.testing.assert_array_equal(ours[path], before[path])


@functools.cache
def _shapes():
    model = create_model("vit_test", (32, 32), "finetune")
    return jax.eval_shape(lambda: model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3))))["params"]


def _names(config):
    selected = create_select(config)(_shapes())
    return {parameter_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(selected)}


def test_patterns_train_and_freeze_parameters():
    config = base_config()
    config.optim.trainable = "none"
    config.optim.trainable_patterns = ("^map_head/",)
    assert _names(config) == {"map_head/kernel", "map_head/bias"}
    config.optim.trainable = "decoder"
    config.optim.trainable_patterns = ("encoder/blocks/block_1/", "decoder/pos_embed")
    config.optim.frozen_patterns = ("/bias$",)
    names = _names(config)
    assert "encoder/blocks/block_1/attn/qkv/kernel" in names and "decoder/pos_embed" in names
    assert "encoder/blocks/block_0/attn/qkv/kernel" not in names
    assert not [name for name in names if name.endswith("/bias")]


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"trainable": "none"}, "trainable"),
        ({"trainable_patterns": ("map_haed",)}, "map_haed"),
        ({"frozen_patterns": ("block_9/",)}, "block_9/"),
    ],
)
def test_settings_that_train_or_match_nothing_are_refused(settings, word):
    config = base_config()
    config.optim.update(settings)
    with pytest.raises(InputError, match=word):
        _names(config)


def test_full_layer_decay_is_a_ladder_through_both_halves():
    """ViT-L: 24 encoder blocks, 8 decoder blocks, full rate for norm and heads."""

    def steps(name):
        return round(np.log(layer_scale(name, 0.75, "full", 24, 8)) / np.log(0.75))

    assert steps("map_head/kernel") == steps("decoder/norm/scale") == 0
    assert steps("decoder/blocks/block_7/mlp/fc1/kernel") == 1
    assert steps("decoder/blocks/block_0/mlp/fc1/kernel") == 8
    assert steps("encoder/blocks/block_23/mlp/fc1/kernel") == 9
    assert steps("encoder/blocks/block_0/mlp/fc1/kernel") == 32
    assert steps("encoder/patch_embed/kernel") == steps("encoder/pos_embed") == 33


def test_merge_replaces_selected_parameters():
    params = {"a": {"b": 1, "c": 2}, "d": 3}
    assert merge(params, {"a": {"c": 20}}) == {"a": {"b": 1, "c": 20}, "d": 3}
