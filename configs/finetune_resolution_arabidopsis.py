"""Fine-tuning to predict deep maps of Arabidopsis thaliana from shallow ones.

    python scripts/train.py --config=configs/finetune_resolution_arabidopsis.py[:VARIANT] \
        --config.init_from=PRETRAINED --config.data.tiles=TILES --workdir=DIR

PRETRAINED is a workdir, or a file of the original's weights. TILES come from a deep map
(`make_tiles.py --tile_size=224 --stride=48`); inputs are downsampled to a sixteenth of its contacts, anew in
every step. Without `--config.data.tiles` it trains on simulated maps. Variants:

  (none)      the original's recipe: 224 x 224, encoder frozen, blr 1e-3 by the batch rule (1.6e-5 at batch
              4), layer decay 0.75 by the original's rule, squared error. Output * log10(1001) is
              log10(deep count + 1), as in the published weights.
  revised     an explicit learning rate, layer decay through encoder and decoder, inputs of many depths, and
              images on one scale for all windows (a cutoff of 100 counts, as the original's inference).
  small_gpu   revised in bfloat16 within 12 GB: eight windows at a time, activations recomputed.
  all_layers  revised, with the encoder trained too.
  demo        3 M parameters, 112 x 112, every layer: a quarter of an hour on two CPU cores, from nothing or
              from the workdir of pretrain_arabidopsis.py:demo. On held-out Chr4 of a real map, after an hour
              of pretraining: squared error of log10 counts 0.030 (smoothed input: 0.035), correlation 0.88
              (0.86); see docs/how-to/finetuning.md.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/finetune_resolution_arabidopsis.py", VARIANTS, variant)


def report(config):
    config.task = "resolution"
    config.data.thin = (1 / 16, 1 / 16)
    config.data.simulate.tile_size = 224
    config.data.simulate.stride = 112
    config.model.input_size = (224, 224)
    config.targets.map_scaling = "log1000"
    config.optim.blr = 1e-3
    config.optim.trainable = "decoder"
    config.optim.layer_decay = 0.75
    config.optim.layer_decay_rule = "original"


def revised(config):
    report(config)
    config.data.thin = (1 / 64, 1 / 4)
    config.data.cutoff = 100.0
    config.data.flips = True
    config.model.center_count = True
    config.optim.clip_norm = 1.0
    config.optim.learning_rate = 1e-4
    config.optim.layer_decay_rule = "full"
    config.optim.warmup_epochs = 5.0
    config.train.global_batch_size = 16
    config.train.accum_steps = 16


def small_gpu(config):
    revised(config)
    config.model.dtype = "bfloat16"
    config.model.remat = "blocks"
    config.train.accum_steps = 2


def all_layers(config):
    revised(config)
    config.optim.trainable = "all"


def demo(config):
    all_layers(config)
    config.data.thin = (1 / 16, 1 / 16)
    config.data.simulate.resolution = 30_000
    config.data.simulate.stride = 48
    config.model.name = "vit_tiny_patch16"
    config.model.input_size = (112, 112)
    config.optim.layer_decay = 1.0  # only three blocks each
    config.optim.learning_rate = 1e-3
    config.optim.min_lr = 2e-5
    config.train.total_steps = 1500
    config.train.global_batch_size = 32
    config.train.accum_steps = 1
    config.log.eval_every_epochs = 4


VARIANTS = {
    "": report,
    "revised": revised,
    "small_gpu": small_gpu,
    "all_layers": all_layers,
    "demo": demo,
}
