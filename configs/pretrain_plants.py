"""Pretraining on several plant species with a fixed fraction of samples each.

    python scripts/make_tiles.py --input=arabidopsis=FILE --input=rice=FILE --input=maize=FILE \
        --val_chromosomes=arabidopsis:Chr4,rice:chr4,maize:chr4 --resolution=BP --output=TILES
    python scripts/train.py --config=configs/pretrain_plants.py:small_batch \
        --config.data.tiles=TILES --workdir=DIR

Sources of such maps: docs/reference/public_data.md; species of different resolutions:
docs/how-to/make_tiles.md. By number of tiles, maize would be 97 % of the samples at 10 kb; `data.mix` gives
each species a third. Its names are patterns: arabidopsis_leaf and arabidopsis_root together are the third of
their species. Every assay to train on must match one of them, so set
--config.data.mix='brassica*=2,rice*=1' for other species, or --config.data.mix= for the mix that
make_tiles.py stored in a dataset. Variants:

  (none), revised, small_batch, small_gpu, one_gpu   those of pretrain_arabidopsis.py with several species.
  demo   needs no tiles. No other species can be simulated yet, so this mixes Arabidopsis maps of four
         depths, half of the samples from the deepest; takes as long as pretrain_arabidopsis.py:demo.
"""

import pathlib
import runpy

from hicfm_jax.config import from_variant

# Configs are loaded as files, not as modules of a package.
VARIANTS = runpy.run_path(str(pathlib.Path(__file__).with_name("pretrain_arabidopsis.py")))["VARIANTS"]

_SPECIES = "arabidopsis*=1,rice*=1,maize*=1"
_SIMULATED = "simulated_0=1,simulated_[123]=1"


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    config = from_variant("configs/pretrain_plants.py", VARIANTS, variant)
    config.data.mix = _SIMULATED if variant == "demo" else _SPECIES
    return config
