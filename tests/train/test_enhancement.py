"""Training the enhancing network: from the bar on, from pretraining or not, and on after a crash."""

import jax
import numpy as np
import pytest

from configs import enhance_arabidopsis, pretrain_arabidopsis
from hicfm_jax import config as config_lib
from hicfm_jax.contacts import simulate
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import MemoryTiles
from hicfm_jax.train import loop
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.sharding import create_mesh, parameter_name
from hicfm_jax.train.tasks import create_task
from tests.train import small_run


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A file of tiles along the diagonal that know what their whole chromosome expects."""
    deep = {"deep": simulate(contacts=20e6, resolution=100_000, seed=2)}
    splits = {
        split: ArrayTiles.from_contact_maps(deep, 96, 24, mode="diagonal", chromosomes=[chromosome])
        for split, chromosome in (("train", "Chr1"), ("val", "Chr5"))
    }
    path = tmp_path_factory.mktemp("enhancement") / "tiles.npz"
    MemoryTiles(splits).save(path)
    return path


def small(module, tiles, **model):
    config = module.get_config("demo")
    config.data.tiles = str(tiles)
    config.model.update({"name": "vit_test", "input_size": (48, 48), **model})
    config.train.update({"global_batch_size": 4, "accum_steps": 2, "total_steps": 4})
    config.log.every_steps = 2
    config.log.eval_every_steps = 4
    config.log.image_count = 0
    return config


def enhancement(tiles, **model):
    return small(enhance_arabidopsis, tiles, **{"pixel_width": 8, **model})


@pytest.fixture(scope="module")
def pretrained(tiles, tmp_path_factory):
    """(workdir, parameters) of a pretraining that has just begun."""
    workdir = tmp_path_factory.mktemp("pretrained")
    config = small(pretrain_arabidopsis, tiles)
    inputs, task = Inputs.create(config), create_task(config)
    state = loop.create_state(config, task, create_optimizer(config), create_mesh(config), inputs)
    with Checkpoints(workdir, config) as checkpoints:
        checkpoints.save(state)
    return workdir, state.params


@pytest.fixture(scope="module")
def run(tiles, pretrained, tmp_path_factory):
    """(config, workdir, result) from a pretrained transformer."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    config = enhancement(tiles)
    config.init_from = str(pretrained[0])
    return config, workdir, loop.train_and_evaluate(config, workdir)


@pytest.mark.parametrize("variant", enhance_arabidopsis.VARIANTS)
def test_every_variant_is_valid(variant):
    config_lib.validate(enhance_arabidopsis.get_config(variant))


def test_training_starts_at_the_bar_and_says_where_it_is(run):
    """Before the first step, the map is about as good as the filter that it adds to."""
    first, last = run[2].first, run[2].last
    assert first["map_r"] > first["smoothed_r"] > first["input_r"]
    assert first["map_r"] == pytest.approx(first["coverage_aware_r"], abs=0.02)
    assert first["coverage_aware_r"] == last["coverage_aware_r"] and last["loss"] < first["loss"]


def test_the_transformer_starts_as_it_was_pretrained(tiles, pretrained):
    config = enhancement(tiles)
    inputs = Inputs.create(config)
    task = create_task(config, inputs.target_shapes())
    state = loop.create_state(
        config, task, create_optimizer(config), create_mesh(config), inputs, str(pretrained[0])
    )
    ours, theirs = (
        {parameter_name(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(params)}
        for params in (state.params, pretrained[1])
    )
    same = [name for name in theirs if name in ours and np.array_equal(ours[name], theirs[name])]
    assert {name.partition("/")[0] for name in same} >= {"encoder", "decoder"} and len(same) > 40


def test_a_run_that_crashed_goes_on_as_if_it_had_not(run, tmp_path, monkeypatch):
    """Thinned contexts included."""
    config, workdir, straight = run
    config.log.checkpoint_every_steps = 1
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        small_run.crash_after(patch, 2)
        loop.train_and_evaluate(config, tmp_path)
    resumed = loop.train_and_evaluate(config, tmp_path)
    assert small_run.metrics(tmp_path) == small_run.metrics(workdir)
    pairs = zip(jax.tree.leaves(resumed.state.params), jax.tree.leaves(straight.state.params), strict=True)
    for one, other in pairs:
        np.testing.assert_array_equal(one, other)


def test_without_transformer_or_bin_attention_it_trains_as_well(tiles, tmp_path):
    config = enhancement(tiles, transformer=False, bin_heads=0)
    config.train.update({"total_steps": 1, "accum_steps": 1})
    result = loop.train_and_evaluate(config, tmp_path)
    names = {parameter_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(result.state.params)}
    assert not [name for name in names if name.startswith(("encoder", "decoder"))]
    assert np.isfinite(result.last["loss"])


def test_tiles_that_do_not_know_their_chromosome_are_refused(tmp_path):
    config = enhancement(small_run.save_tiles(tmp_path))
    with pytest.raises(InputError, match="tiles.npz has tiles that do not carry the context"):
        loop.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_start_that_does_not_fit_is_refused_and_nothing_is_left(tiles, pretrained, run, tmp_path):
    """A transformer for a network without one; a head of another kind, by the fields that differ."""
    for source, fields, named in (
        (pretrained[0], dict(transformer=False), "is a pretrained transformer.*leave init_from empty"),
        (
            run[1],
            dict(pixel_width=4, transformer=False),
            "model.transformer=True, config.model.pixel_width=8 to",
        ),
    ):
        config = enhancement(tiles, **fields)
        config.init_from = str(source)
        with pytest.raises(InputError, match=named):
            loop.train_and_evaluate(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "reproducibility"),
        ("data.thin", ()),
        ("model.residual", "gaussian"),
        ("model.pixel_width", 0),
        ("model.pixel_depth", -1),
        ("model.bin_heads", -1),
        ("targets.map_scaling", "none"),
    ],
)
def test_a_bad_value_is_named(field, value):
    config = enhance_arabidopsis.get_config("demo")
    section, _, name = field.rpartition(".")
    (config[section] if section else config)[name] = value
    named = "model.residual" if field == "task" else field
    with pytest.raises(InputError, match=f"config.{named}"):
        config_lib.validate(config)
