"""Enhancement of Arabidopsis thaliana maps to the depth of a deeper experiment.

    python scripts/train.py --config=configs/enhance_arabidopsis.py[:VARIANT] \
        --config.init_from=PRETRAINED --config.data.tiles=TILES --workdir=DIR

TILES come from a deep map (`make_tiles.py --mode=diagonal --tile_size=448 --stride=48`), PRETRAINED is a
workdir of pretrain_arabidopsis.py. Inputs are downsampled to 1/320 to 1/8 of the contacts, anew in every
step, and one checkpoint serves all depths between. The network corrects a coverage-aware estimate pixel by
pixel (`model.residual`); docs/explanation/enhancement.md measures the effect of each part. Without
`--config.data.tiles` it trains on simulated maps. Variants:

  (none)     ViT-L/16, 224 x 224, bfloat16, one GPU; not trained to the end yet.
  demo       4 M parameters, 224 x 224: about twenty minutes on two CPU cores.
  own_reads  No deep map: TILES come from the shallow map itself, of whose reads a part, drawn anew in every
             step, is the input and the rest the target. No transformer, and a standard deviation of every
             pixel: twenty to thirty minutes on two CPU cores.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/enhance_arabidopsis.py", VARIANTS, variant)


def large(config):
    config.task = "resolution"
    config.data.thin = (1 / 320, 1 / 8)
    config.data.cutoff = 100.0
    config.data.flips = True
    config.data.simulate.resolution = 30_000
    config.data.simulate.tile_size = 448
    config.data.simulate.stride = 112
    config.model.input_size = (224, 224)
    config.model.residual = "coverage"
    config.model.dtype = "bfloat16"
    config.model.scan = True
    config.targets.map_scaling = "log10"
    config.targets.map_loss = "log_mse"
    config.targets.map_weight = 40.0  # the loss ends near 1, so that clip_norm means the same as elsewhere
    config.optim.b2 = 0.99
    config.optim.clip_norm = 1.0
    config.optim.learning_rate = 1e-3  # of the pixel path; layer decay makes the transformer's much lower
    config.optim.layer_decay = 0.75
    config.optim.warmup_epochs = 5.0
    config.train.total_steps = 2000
    config.train.global_batch_size = 16
    config.train.accum_steps = 1
    config.log.eval_every_steps = 200


def demo(config):
    large(config)
    config.model.name = "vit_tiny_patch16"
    config.model.dtype = "float32"
    config.model.scan = False
    config.optim.layer_decay = 1.0  # only three blocks each
    config.optim.learning_rate = 2e-3
    config.optim.min_lr = 2e-5
    config.train.total_steps = 800
    config.train.global_batch_size = 4
    config.log.eval_every_steps = 100


def own_reads(config):
    demo(config)
    config.data.thin = ()
    config.data.split = (0.2, 0.8)
    config.model.transformer = False
    config.model.dispersion = True
    config.model.unsmoothed = True
    config.model.pixel_width = 16
    config.targets.map_loss = "quasi_poisson"
    config.targets.map_weight = 1.0
    config.train.total_steps = 900


VARIANTS = {"": large, "demo": demo, "own_reads": own_reads}
