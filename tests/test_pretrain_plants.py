"""The species mixture as an experiment: what it sets, and a run of its demo."""

import json

import pytest

from configs import pretrain_arabidopsis, pretrain_plants
from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream import mixing
from tests.run_script import run_script
from tests.train import faults, small_run


@pytest.mark.parametrize("variant", pretrain_plants.VARIANTS)
def test_only_the_mixture_differs_from_arabidopsis(variant):
    config = pretrain_plants.get_config(variant)
    config_lib.validate(config)
    assert config.data.mix
    config.data.mix = ""
    assert config.to_dict() == pretrain_arabidopsis.get_config(variant).to_dict()


def test_each_species_gets_a_third_however_many_maps_it_has():
    mix = mixing.parse_mix(pretrain_plants.get_config().data.mix)
    matches = mixing.match_assays(mix, ["arabidopsis", "rice_leaf", "rice_root", "maize"])
    assert sorted(map(sorted, matches.values())) == [["arabidopsis"], ["maize"], ["rice_leaf", "rice_root"]]
    assert len(set(mix.values())) == 1


def test_an_unknown_variant_is_named():
    with pytest.raises(InputError, match="pretrain_plants.py has no variant 'big': take one of .*demo"):
        pretrain_plants.get_config("big")


@pytest.mark.slow  # simulates six maps
def test_the_demo_runs_from_nothing(tmp_path, monkeypatch):
    """Of a matrix: the network is that of pretrain_arabidopsis.py, see above."""
    faults.with_a_matrix(monkeypatch)
    workdir = tmp_path / "work"
    flags = small_run.flags(
        "",
        workdir,
        "--config=configs/pretrain_plants.py:demo",
        "--config.data.simulate.contacts=1000000",
        "--config.data.simulate.tile_size=64",
        "--config.data.simulate.stride=64",
        "--config.data.simulate.resolution=100000",
        "--config.train.total_steps=4",
        "--config.log.every_steps=1",
        "--config.log.checkpoint_every_steps=0",
    )
    done = run_script("train.py", *flags)
    assert done.returncode == 0, done.stderr
    assert json.loads((workdir / "config.json").read_text())["data"]["mix"].startswith("simulated_0=1,")
    lines = small_run.metrics(workdir)
    assert [line["step"] for line in lines if line["split"] == "train"] == [1, 2, 3, 4]
