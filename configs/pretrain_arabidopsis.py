"""Pretraining on Arabidopsis thaliana.

    python scripts/train.py --config=configs/pretrain_arabidopsis.py[:VARIANT] \
        --config.data.tiles=TILES --workdir=DIR

Without `--config.data.tiles` it trains on four simulated maps and validates on two others, on a chromosome
that is not used for training. Variants:

  (none)       ViT-L/16, 448 x 448, the original's objective and recipe at batch 1 x 4. Its learning rate is
               proportional to the batch (2.3e-6 here): to learn, it needs
               --config.train.global_batch_size=1024 and the machines for that.
  revised      the same for one epoch.
  small_batch  the same network for batches of 4 to 64: an explicit learning rate, and the error of log10
               counts in addition to the original's losses (docs/explanation/pretraining.md compares them).
  small_gpu    small_batch in bfloat16 within 12 GB: four windows at a time, activations recomputed.
  one_gpu      small_batch at 224 x 224 in bfloat16, 2000 steps of 32 windows, to initialize
               enhance_arabidopsis.py; not trained to the end yet.
  demo         3 M parameters, 112 x 112, 600 steps: five minutes on two CPU cores.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/pretrain_arabidopsis.py", VARIANTS, variant)


def full(config):
    """`base_config` is this recipe."""


def revised(config):
    config.train.epochs = 1
    config.optim.warmup_epochs = 0.5  # the same half of training


def small_batch(config):
    config.data.flips = True
    config.loss.count_weight = 2.0
    config.loss.contrastive_weight = 0.1
    config.loss.log_weight = 40.0
    config.model.center_count = True
    config.optim.clip_norm = 1.0
    config.optim.learning_rate = 1e-4
    config.optim.warmup_epochs = 5.0
    config.train.global_batch_size = 16
    config.train.accum_steps = 16


def small_gpu(config):
    small_batch(config)
    config.model.dtype = "bfloat16"
    config.model.remat = "blocks"
    config.train.accum_steps = 4


def one_gpu(config):
    small_batch(config)
    config.data.simulate.tile_size = 448
    config.model.input_size = (224, 224)
    config.model.dtype = "bfloat16"
    config.model.scan = True
    config.train.total_steps = 2000
    config.train.global_batch_size = 32
    config.train.accum_steps = 1
    config.log.eval_every_steps = 500


def demo(config):
    small_batch(config)
    config.data.simulate.resolution = 30_000
    config.data.simulate.tile_size = 224
    config.data.simulate.stride = 48
    config.model.name = "vit_tiny_patch16"
    config.model.input_size = (112, 112)
    config.optim.learning_rate = 2e-3
    config.optim.warmup_epochs = 10.0
    config.optim.min_lr = 2e-5
    config.train.total_steps = 600
    config.train.global_batch_size = 32
    config.train.accum_steps = 1
    config.log.eval_every_epochs = 4


VARIANTS = {
    "": full,
    "revised": revised,
    "small_batch": small_batch,
    "small_gpu": small_gpu,
    "one_gpu": one_gpu,
    "demo": demo,
}
