"""Training runs of the network that adds to a coverage-aware estimate."""

import numpy as np
import pytest
import scipy.sparse

from configs import enhance_arabidopsis
from hicfm_jax.contacts import ContactMap, simulate
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import MemoryTiles
from hicfm_jax.train import loop
from hicfm_jax.train.tasks import check_config
from tests.train import small_run
from tests.train.toy_configs import assert_resumes_exactly, create, leaves, toy


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Windows along the diagonal of a simulated map, with the context of their chromosome."""
    deep = {"deep": simulate(contacts=20e6, resolution=100_000, seed=2)}
    splits = {
        split: ArrayTiles.from_contact_maps(deep, 64, 32, mode="diagonal", chromosomes=[chromosome])
        for split, chromosome in (("train", "Chr1"), ("val", "Chr5"))
    }
    path = tmp_path_factory.mktemp("enhancement") / "tiles.npz"
    MemoryTiles(splits).save(path)
    return path


def enhancement(tiles, **settings):
    return toy(enhance_arabidopsis.get_config("demo"), tiles, **settings)


@pytest.fixture(scope="module")
def run(tiles, pretrained, tmp_path_factory):
    """(config, workdir, result) from a pretrained transformer."""
    workdir = tmp_path_factory.mktemp("run") / "work"
    config = enhancement(tiles)
    config.init_from = str(pretrained[0])
    return config, workdir, loop.train_and_evaluate(config, workdir)


@pytest.mark.slow  # compiles a whole run, which the other slow tests share
def test_training_starts_at_the_coverage_aware_estimate(run):
    """Before the first step, the map is about as good as the filter that it adds to."""
    first, last = run[2].first, run[2].last
    assert first["map_r"] > first["smoothed_r"] > first["input_r"]
    assert first["map_r"] == pytest.approx(first["coverage_aware_r"], abs=0.02)
    assert first["coverage_aware_r"] == last["coverage_aware_r"] and last["loss"] < first["loss"]


@pytest.mark.slow
def test_the_transformer_starts_as_it_was_pretrained(tiles, pretrained):
    ours, theirs = leaves(create(enhancement(tiles), str(pretrained[0]))[-1].params), leaves(pretrained[1])
    same = [name for name in theirs if name in ours and np.array_equal(ours[name], theirs[name])]
    assert {name.partition("/")[0] for name in same} >= {"encoder", "decoder"} and len(same) > 40


@pytest.mark.slow  # compiles a run of its own twice
def test_a_network_of_own_reads_that_was_stopped_resumes_exactly(tmp_path, monkeypatch):
    """With contexts of downsampled windows, also between chromosomes.

    Without bin attention, which enhance_any_map.py has in test_configs.py.
    """
    rng, sizes = np.random.default_rng(0), dict.fromkeys("AB", 96_000)
    matrices = {pair: np.triu(rng.poisson(3, (96, 96))) for pair in (("A", "A"), ("B", "B"))}
    matrices["A", "B"] = rng.poisson(1, (96, 96))
    matrices = {pair: scipy.sparse.csr_array(counts) for pair, counts in matrices.items()}
    own = {"own": ContactMap(sizes, 1000, matrices)}
    tiles = ArrayTiles.from_contact_maps(own, 64, 32, min_density=0.0, trans=True)
    MemoryTiles({"train": tiles, "val": tiles}).save(tmp_path / "tiles.npz")
    config = toy(enhance_arabidopsis.get_config("own_reads"), tmp_path / "tiles.npz", model__bin_heads=0)
    straight = loop.train_and_evaluate(config, tmp_path / "straight")
    assert not [name for name in leaves(straight.state.params) if name.startswith(("encoder", "decoder"))]
    assert np.isfinite(straight.last["loss"])
    assert straight.last["loss"] != straight.first["loss"]  # pure noise: there is nothing to learn
    assert_resumes_exactly(config, tmp_path / "straight", straight, tmp_path / "stopped", monkeypatch)


@pytest.mark.slow
def test_a_start_that_does_not_fit_is_refused_and_nothing_is_left(tiles, pretrained, run, tmp_path):
    """A transformer for a network without one; a head of another kind, by the fields that differ."""
    for source, fields, named in (
        (pretrained[0], {}, "is a pretrained transformer.*leave init_from empty"),
        (
            run[1],
            {"model__pixel_width": 2},
            "model.transformer=True, config.model.pixel_width=4 to",
        ),
    ):
        config = enhancement(tiles, model__transformer=False, **fields)
        config.init_from = str(source)
        with pytest.raises(InputError, match=named):
            loop.train_and_evaluate(config, tmp_path / "run")
        assert not (tmp_path / "run").exists()


def test_tiles_without_the_context_of_their_chromosome_are_refused(tmp_path):
    config = enhancement(small_run.save_tiles(tmp_path))
    with pytest.raises(InputError, match="tiles.npz has tiles without the context of their chromosome"):
        loop.train_and_evaluate(config, tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("task", "reproducibility"),
        ("data.thin", ()),
        ("data.split", (0.2, 0.8)),  # beside data.thin
        ("model.dispersion", True),  # which needs the loss that trains it
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
        check_config(config)
