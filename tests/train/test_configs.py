"""Every file of configs/: its variants are valid, and its demo trains at toy size."""

import runpy

import jax
import numpy as np
import pytest
from PIL import Image

from hicfm_jax.errors import InputError
from hicfm_jax.train import loop
from hicfm_jax.train.logging.panels import GAP, MARGIN
from hicfm_jax.train.tasks import check_config
from tests.train import small_run
from tests.train.toy_configs import toy

CONFIGS = {path.stem: runpy.run_path(str(path)) for path in sorted(small_run.ROOT.glob("configs/*.py"))}


@pytest.mark.parametrize("name", CONFIGS)
def test_every_variant_is_valid(name):
    get_config = CONFIGS[name]["get_config"]
    for variant in CONFIGS[name]["VARIANTS"]:
        check_config(get_config(variant))
    with pytest.raises(InputError, match=f"{name}.py has no variant 'demmo': .*demo"):
        get_config("demmo")


# Trained in test_loop.py, test_enhancement.py and test_tracks.py; pretrain_plants.py differs from
# pretrain_arabidopsis.py by its mixture alone (tests/test_pretrain_plants.py).
ELSEWHERE = ("pretrain_arabidopsis", "pretrain_plants", "enhance_arabidopsis", "finetune_track")


@pytest.mark.slow  # each config compiles for seconds
@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in ELSEWHERE])
def test_a_demo_trains(name, tmp_path):
    config = toy(CONFIGS[name]["get_config"]("demo"), small_run.save_tiles(tmp_path))
    if name in ("finetune_loop", "enhance_any_map"):  # windows with the context of their chromosome
        config.data.tiles = ""
        config.data.simulate.update({"resolution": 200_000, "tile_size": 64, "stride": 32, "train_assays": 1})
    elif name.startswith("finetune"):
        # Heads alone compile in a fifth of the time; test_finetune_optim.py trains every layer.
        head = "decoder/norm/" if name == "finetune_reproducibility" else "_head/"
        config.optim.trainable, config.optim.trainable_patterns = "none", (head,)
    if name == "finetune_multitask":
        config.log.image_count = 1
    result = loop.train_and_evaluate(config, tmp_path / "work")
    assert result.finished and np.isfinite(result.last["loss"])
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(result.state.params))
    if name == "finetune_multitask":  # input, and output and target of each
        picture = np.asarray(Image.open(tmp_path / "work" / "images" / "step_00000004.png"))
        assert picture.shape[1] == MARGIN + 7 * 2 * 48 + 6 * GAP
