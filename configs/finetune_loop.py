"""Fine-tuning to find loops: a probability for every pixel of a map.

    python scripts/train.py --config=configs/finetune_loop.py[:VARIANT] \
        --config.init_from=PRETRAINED --config.data.tiles=TILES --workdir=DIR

TILES have the target `map`, 1 around the loops of a list (`make_tiles.py --loops=FILE.bedpe`). Lists come
from a caller on deep maps, or from loops planted at known places (`simulate_map.py --loops`). Inputs are
downsampled anew in every step, to 1/64 of the contacts at least. The network works pixel by pixel on the
ratios to expected contacts (`model.residual`). Variants:

  (none)  ViT-L/16 and the pixel path, 224 x 224, bfloat16, one GPU; not trained to the end yet.
  demo    the pixel path alone, 112 x 112, minutes on two CPU cores.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/finetune_loop.py", VARIANTS, variant)


def large(config):
    config.task = "loop"
    config.data.thin = (1 / 64, 1.0)
    config.data.flips = True
    config.data.min_density = 0.0
    config.data.simulate.resolution = 30_000
    config.data.simulate.tile_size = 224
    config.data.simulate.stride = 112
    config.model.input_size = (224, 224)
    config.model.residual = "coverage"
    config.model.dtype = "bfloat16"
    config.model.scan = True
    config.targets.map_loss = "bernoulli"
    config.targets.map_weight = 100.0  # few pixels are loops
    config.optim.b2 = 0.99
    config.optim.clip_norm = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.layer_decay = 0.75
    config.optim.warmup_epochs = 5.0
    config.train.total_steps = 4000
    config.train.global_batch_size = 16
    config.train.accum_steps = 1
    config.log.eval_every_steps = 400


def demo(config):
    large(config)
    config.data.simulate.tile_size = 112
    config.data.simulate.stride = 56
    config.model.name = "vit_tiny_patch16"
    config.model.input_size = (112, 112)
    config.model.transformer = False
    config.model.pixel_width = 24
    config.model.bin_heads = 0
    config.model.dtype = "float32"
    config.model.scan = False
    config.optim.layer_decay = 1.0
    config.optim.learning_rate = 3e-3
    config.optim.min_lr = 2e-5
    config.train.total_steps = 1200
    config.train.global_batch_size = 8
    config.log.eval_every_steps = 200


VARIANTS = {"": large, "demo": demo}
