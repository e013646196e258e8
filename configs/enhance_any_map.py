"""The networks that come with the package, which enhance maps without training (hicfm_jax/pretrained).

    python scripts/train.py --config=configs/enhance_any_map.py[:VARIANT] \
        --config.data.tiles=TILES,... --config.data.mix=NAME=WEIGHT,... --workdir=DIR

TILES are several datasets, one for each bin width (`make_tiles.py --mode=diagonal --tile_size=448
--stride=48`). Of each window a part of the reads, 1/1000 to 0.8, drawn anew in every step, is the input and
the rest the target. Weights of the mix are by contacts, not by tiles, of which sparse maps in narrow bins
have many. Variants:

  (none)       Maps of any species; docs/explanation/enhancement.md has the datasets and weights.
  arabidopsis  Continues from `any_map` on one species and bin width.
  tune         The same on one map's own reads: some minutes on two CPU cores.
  demo         Without tiles, on simulated maps: some minutes on two CPU cores.
"""

import pathlib
import runpy

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/enhance_any_map.py", VARIANTS, variant)


def any_map(config):
    _own_reads(config)
    config.data.split = (1 / 1000, 0.8)
    config.targets.map_loss = "gamma_poisson"
    config.train.total_steps = 1200


def arabidopsis(config):
    any_map(config)
    config.init_from = "any_map"
    config.optim.learning_rate = 1e-3
    config.train.total_steps = 400


def demo(config):
    any_map(config)
    config.train.total_steps = 100


def tune(config):
    any_map(config)
    config.init_from = "any_map"
    config.data.split = (0.2, 0.8)
    config.optim.learning_rate = 5e-4
    config.train.total_steps = 100


# Configs are loaded as files, not as modules of a package.
_own_reads = runpy.run_path(str(pathlib.Path(__file__).with_name("enhance_arabidopsis.py")))["own_reads"]
VARIANTS = {"": any_map, "arabidopsis": arabidopsis, "demo": demo, "tune": tune}
