"""Every file of configs/: its variants are valid, and its demo trains at toy size."""

import runpy

import jax
import numpy as np
import pytest
from PIL import Image

from hicfm_jax.contacts import simulate
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import MemoryTiles
from hicfm_jax.train import loop
from hicfm_jax.train.logging import metric_writer
from hicfm_jax.train.logging.panels import GAP
from hicfm_jax.train.tasks import check_config
from tests.train import small_run
from tests.train.toy_configs import toy

CONFIGS = {path.stem: runpy.run_path(str(path)) for path in sorted(small_run.ROOT.glob("configs/*.py"))}


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Windows along the diagonal of a simulated map, with the context of their chromosome."""
    deep = {"simulated_0": simulate(contacts=2e6, resolution=200_000, seed=2)}
    splits = {
        split: ArrayTiles.from_contact_maps(deep, 64, 16, mode="diagonal", chromosomes=[chromosome])
        for split, chromosome in (("train", "Chr1"), ("val", "Chr4"))
    }
    path = tmp_path_factory.mktemp("configs") / "tiles.npz"
    MemoryTiles(splits).save(path)
    return path


@pytest.mark.parametrize("name", CONFIGS)
def test_every_variant_is_valid(name):
    get_config = CONFIGS[name]["get_config"]
    for variant in CONFIGS[name]["VARIANTS"]:
        check_config(get_config(variant))
    with pytest.raises(InputError, match=f"{name}.py has no variant 'demmo': .*demo"):
        get_config("demmo")


def _marked(name):
    """One config is in the fast tier; each of the others compiles for seconds."""
    return name if name == "finetune_track" else pytest.param(name, marks=pytest.mark.slow)


@pytest.mark.parametrize("name", [_marked(name) for name in CONFIGS])
def test_a_demo_trains(name, tiles, tmp_path, monkeypatch):
    monkeypatch.setattr(metric_writer, "matmul_rate", lambda dtype: 1.0)
    config = toy(CONFIGS[name]["get_config"]("demo"), tiles)
    config.data.mix = config.data.mix and "simulated_0=1"
    if name.startswith("finetune"):
        # Heads alone compile in a fifth of the time; test_finetune_optim.py trains every layer.
        config.optim.trainable, config.optim.trainable_patterns = "none", ("_head/",)
    if name == "finetune_multitask":
        config.log.image_count = 1
    result = loop.train_and_evaluate(config, tmp_path)
    assert result.finished and np.isfinite(result.last["loss"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.state.params))
    if name == "finetune_multitask":  # input, and output and target of each
        picture = np.asarray(Image.open(tmp_path / "images" / "step_00000004.png"))
        assert picture.shape[1] == 7 * 2 * 48 + 6 * GAP
