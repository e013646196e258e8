"""Fine-tuning to predict tracks from a contact map: any number of them, one value per bin each.

    python scripts/train.py --config=configs/finetune_track.py[:VARIANT] \
        --config.init_from=PRETRAINED --config.data.tiles=TILES --workdir=DIR

TILES are cut on the diagonal and have tracks (`make_tiles.py --mode=diagonal --tile_size=128 --stride=4
--track=FILE`). The network has their names and units; bins without a value do not count. Inputs are
downsampled to 1/128 to all of the contacts, anew in every step, and one checkpoint serves all depths between.
Convolutions along the bins (`model.residual`) read the tracks off the ratios to expected contacts, and the
transformer adds to that; docs/how-to/tracks.md measures both. Without `--config.data.tiles` it trains on the
heterochromatin and coverage of simulated maps. Variants:

  (none)       ViT-L/16, 128 x 128, bfloat16, one GPU; not trained to the end yet.
  original     the original's network and windows, 128 x 4000, without convolutions along the bins. TILES:
               `--mode=locus --tile_size=128,4000 --stride=32`, without a depth of its own (data.thin empty).
  demo         3 M parameters: minutes on two CPU cores.
  convolutions the demo without its transformer, 30,000 parameters: a minute or two on two CPU cores.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/finetune_track.py", VARIANTS, variant)


def original(config):
    config.task = "epigenome"
    config.data.simulate.tile_size = 4000
    config.model.input_size = (128, 4000)
    config.optim.blr = 1e-3
    config.optim.trainable = "decoder"
    config.optim.layer_decay = 0.75
    config.optim.layer_decay_rule = "original"


def large(config):
    config.task = "epigenome"
    config.data.thin = (1 / 128, 1.0)
    config.data.cutoff = 100.0
    config.data.flips = True  # a track is reversed with its window, never transposed
    config.data.simulate.resolution = 30_000
    config.data.simulate.tile_size = 128
    config.data.simulate.stride = 16
    config.model.input_size = (128, 128)
    config.model.residual = "coverage"
    config.model.pixel_width = 64
    config.model.pixel_depth = 1
    config.model.dtype = "bfloat16"
    config.model.scan = True
    config.optim.b2 = 0.99
    config.optim.clip_norm = 1.0
    config.optim.learning_rate = 1e-3  # of the convolutions; layer decay makes the transformer's much lower
    config.optim.layer_decay = 0.75
    config.train.total_steps = 500
    config.optim.warmup_epochs = 10.0
    config.train.global_batch_size = 16
    config.train.accum_steps = 1
    config.log.eval_every_steps = 50


def demo(config):
    large(config)
    config.model.name = "vit_tiny_patch16"
    config.model.dtype = "float32"
    config.model.scan = False
    config.optim.layer_decay = 1.0  # only three blocks each
    config.optim.min_lr = 2e-5


def convolutions(config):
    demo(config)
    config.model.transformer = False


VARIANTS = {"": large, "original": original, "demo": demo, "convolutions": convolutions}
