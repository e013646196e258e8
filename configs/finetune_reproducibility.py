"""Fine-tuning of embeddings that compare replicates.

    python scripts/train.py --config=configs/finetune_reproducibility.py[:demo] \
        --config.init_from=PRETRAINED --config.data.tiles=TILES --workdir=DIR

The replicate of a window, another downsampling of it, has to be found among all windows of the batch
(contrastive loss; `--config.targets.replicate_loss=triplet` is the original's). The variant `demo` (3 M
parameters, 112 x 112, minutes on two CPU cores) runs on simulated maps.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/finetune_reproducibility.py", VARIANTS, variant)


def full(config):
    config.task = "reproducibility"
    config.data.thin = (5e-4, 0.5)  # down to a contact per bin
    config.targets.replicate_loss = "contrastive"
    config.data.simulate.tile_size = 224
    config.data.simulate.stride = 112
    config.data.simulate.train_assays = 8
    config.model.input_size = (224, 224)
    config.optim.learning_rate = 1e-4
    config.optim.clip_norm = 1.0
    config.optim.layer_decay = 0.75
    config.optim.warmup_epochs = 5.0
    config.train.global_batch_size = 16
    config.train.accum_steps = 1


def demo(config):
    full(config)
    config.data.simulate.resolution = 30_000
    config.data.simulate.tile_size = 112
    config.data.simulate.stride = 48
    config.model.name = "vit_tiny_patch16"
    config.model.input_size = (112, 112)
    config.optim.layer_decay = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.min_lr = 2e-5
    config.train.total_steps = 300
    config.train.global_batch_size = 32
    config.log.eval_every_epochs = 4


VARIANTS = {"": full, "demo": demo}
