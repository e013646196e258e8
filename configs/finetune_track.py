"""Fine-tuning to predict a track from a contact map, one value per bin.

    python scripts/train.py --config=configs/finetune_track.py[:demo] \
        --config.init_from=PRETRAINED --config.data.tiles=TILES --workdir=DIR

Tiles have a target `track`, such as a ChIP-seq or accessibility signal of their rows; log10(1 + signal) is
predicted with a Poisson loss. The encoder is frozen except for its last norm, an example of choosing
parameters by name. The variant `demo` (3 M parameters, 112 x 112, minutes on two CPU cores) runs on
simulated maps with a track computed from the map itself, the coverage of each row: it shows that training
works, and nothing about biology.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/finetune_track.py", VARIANTS, variant)


def full(config):
    config.task = "finetune"
    config.data.cutoff = 100.0
    config.data.simulate.tile_size = 224
    config.data.simulate.stride = 112
    config.model.input_size = (224, 224)
    config.model.center_count = True
    config.targets.map_weight = 0.0
    config.targets.embedding_weight = 0.0
    config.targets.track_loss = "poisson"
    config.targets.track_scaling = "log10"
    config.optim.clip_norm = 1.0
    config.optim.learning_rate = 1e-4
    config.optim.trainable = "decoder"
    config.optim.trainable_patterns = ("^encoder/norm/",)
    config.optim.layer_decay = 0.75
    config.optim.warmup_epochs = 5.0
    config.train.global_batch_size = 16
    config.train.accum_steps = 16


def demo(config):
    full(config)
    config.data.derive = ("track",)
    config.data.simulate.resolution = 30_000
    config.data.simulate.stride = 48
    config.model.name = "vit_tiny_patch16"
    config.model.input_size = (112, 112)
    config.targets.track_loss = "mse"  # the derived track is a logarithm already
    config.targets.track_scaling = "none"
    config.optim.trainable = "all"  # it may start from random parameters
    config.optim.trainable_patterns = ()
    config.optim.layer_decay = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.min_lr = 2e-5
    config.train.total_steps = 300
    config.train.global_batch_size = 32
    config.train.accum_steps = 1
    config.log.eval_every_epochs = 4


VARIANTS = {"": full, "demo": demo}
