"""Fine-tuning on several tracks with missing values, and their prediction."""

import json

import jax
import numpy as np
import pytest

from configs import finetune_track
from hicfm_jax.errors import InputError
from hicfm_jax.infer.tasks.epigenome import predict_tracks
from hicfm_jax.tiles.build.targets import Targets, TrackInfo
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import MemoryTiles
from hicfm_jax.train import loop
from hicfm_jax.train.inputs import Inputs, with_tracks
from hicfm_jax.train.tasks import create_task
from tests.tiles.toy_maps import dense_to_map
from tests.train.toy_configs import assert_resumes_exactly, toy

SIZE = 48
BINS = {"A": 400, "B": 200}


def _chromosome(size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A map and two tracks: its bins' compartment, and 1000 times their visibility, unknown for a tenth."""
    rng = np.random.default_rng(seed)
    compartment = (np.sin(np.arange(size) / 4) > 0).astype(np.float32)
    visibility = rng.gamma(9, 1 / 9, size)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    mean = 400 / (1 + distance) * np.exp(np.outer(compartment, compartment))
    upper = np.triu(rng.poisson(mean * np.outer(visibility, visibility)))
    unknown = np.where(rng.random(size) < 0.1, np.nan, 1000 * visibility)
    return upper + np.triu(upper, 1).T, np.stack([compartment, unknown]).astype(np.float32)


@pytest.fixture(scope="module")
def chromosomes():
    return {name: _chromosome(size, seed) for seed, (name, size) in enumerate(BINS.items())}


@pytest.fixture(scope="module")
def toy_map(chromosomes):
    return dense_to_map({name: matrix for name, (matrix, _) in chromosomes.items()})


@pytest.fixture(scope="module")
def tiles(chromosomes, toy_map, tmp_path_factory):
    values = {name: tracks for name, (_, tracks) in chromosomes.items()}
    tracks = [TrackInfo("compartment", "", 0.5, 0.5), TrackInfo("visibility", "reads", 1000.0, 333.0)]
    targets = Targets(tuple(tracks), {"x": values})
    path = tmp_path_factory.mktemp("tracks") / "tiles.npz"
    MemoryTiles(
        {
            split: ArrayTiles.from_contact_maps(
                {"x": toy_map}, SIZE, 4, chromosomes=[name], mode="diagonal", targets=targets
            )
            for split, name in (("train", "A"), ("val", "B"))
        }
    ).save(path)
    return path


def _config(tiles, **settings):
    """Without a transformer, which compiles in a second."""
    config = toy(finetune_track.get_config("convolutions"), tiles, **settings)
    config.data.thin = (0.25, 1.0)
    config.model.pixel_width = 16
    return config


@pytest.fixture(scope="module")
def run(tiles, tmp_path_factory):
    """A run of some seconds: config, workdir and result."""
    workdir = tmp_path_factory.mktemp("tracks") / "work"
    more = dict(train__total_steps=60, train__global_batch_size=16, log__eval_every_steps=60)
    config = _config(tiles, optim__learning_rate=5e-3, **more)
    return config, workdir, loop.train_and_evaluate(config, workdir)


@pytest.mark.slow  # a run compiles for seconds
def test_several_tracks_are_learned_in_spite_of_missing_values(run):
    _, workdir, result = run
    assert result.first["loss"] == pytest.approx(1, abs=0.3)  # in standard deviations, about the mean
    assert result.last["loss"] < 0.5
    assert result.last["track_compartment_r"] > 0.6 and result.last["track_visibility_r"] > 0.6
    both = result.last["track_compartment_r"] + result.last["track_visibility_r"]
    assert result.last["track_r"] == pytest.approx(both / 2)
    model = json.loads((workdir / "config.json").read_text())["model"]
    assert model["tracks"] == ["compartment", "visibility"] and model["track_means"] == [0.5, 1000.0]


@pytest.mark.slow
def test_the_trained_network_predicts_tracks_in_their_units(run, toy_map, chromosomes):
    _, workdir, _ = run
    found = predict_tracks(toy_map, workdir, chromosomes=["B"], stride=8)
    assert list(found) == ["compartment", "visibility"]
    for track, true in zip(found.values(), chromosomes["B"][1], strict=True):
        assert np.isnan(track["A"]).all() and np.isfinite(track["B"]).all()
        known = np.isfinite(true)
        assert np.corrcoef(track["B"][known], true[known])[0, 1] > 0.6
    assert np.median(found["visibility"]["B"]) == pytest.approx(1000, rel=0.2)


@pytest.mark.slow  # compiles a run of its own
def test_a_run_that_crashed_resumes_exactly(tiles, tmp_path, monkeypatch):
    config = _config(tiles)
    straight = loop.train_and_evaluate(config, tmp_path / "straight")
    assert_resumes_exactly(config, tmp_path / "straight", straight, tmp_path / "crashed", monkeypatch)


def test_names_of_tracks_are_those_of_the_tiles(tiles):
    config = _config(tiles)
    inputs = Inputs.create(config)
    config.model.tracks = ("compartment", "visibility")
    assert with_tracks(config, inputs).model.track_sds == (0.5, 333.0)
    config.model.tracks = ("visibility", "compartment")
    with pytest.raises(InputError, match="has the tracks compartment, visibility: leave it empty"):
        with_tracks(config, inputs)
    config.model.tracks, inputs.source.tracks = (), ()
    assert with_tracks(config, inputs).model.tracks == ("track_1", "track_2")


def test_windows_that_are_cut_from_larger_tiles_are_refused(tiles):
    with pytest.raises(InputError, match="tiles of 48 x 48 bins.*--mode=diagonal --tile_size=32,32"):
        Inputs.create(_config(tiles, model__input_size=(32, 32)))


@pytest.mark.slow  # compiles the gradient of two transformers
@pytest.mark.parametrize("variant", ["demo", "original"])
def test_other_variants_have_a_finite_gradient(variant, tiles):
    config = toy(finetune_track.get_config(variant), tiles)
    inputs = Inputs.create(config)
    config = with_tracks(config, inputs)
    task = create_task(config, inputs.target_shapes())
    batch = jax.tree.map(lambda value: value[:2], inputs.first_batch())
    params = task.init(jax.random.key(0))
    gradient = jax.jit(jax.grad(lambda params: task.loss(params, batch, None)[0]))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))
    assert any(np.any(leaf != 0) for leaf in jax.tree.leaves(gradient["track_heads_1"]))
