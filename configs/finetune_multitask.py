"""Fine-tuning on a map, a track and an embedding at once.

    python scripts/train.py --config=configs/finetune_multitask.py[:demo] \
        --config.init_from=PRETRAINED --config.data.tiles=TILES --workdir=DIR

Tiles may have any of the targets `map`, `track` and `embedding`; those that they have are trained. Inputs
are downsampled, so that the deep map is a target where the tiles have no map. The variant `demo` (3 M
parameters, 112 x 112, minutes on two CPU cores) runs on simulated maps, whose track and embedding are
computed from the map itself (coverage of each row, decay with distance): it shows that training works, and
nothing about biology.
"""

from hicfm_jax.config import from_variant


def get_config(variant: str = ""):
    """The experiment; `variant` is what follows the colon on the command line."""
    return from_variant("configs/finetune_multitask.py", VARIANTS, variant)


def full(config):
    config.task = "finetune"
    config.data.thin = (1 / 16, 1 / 4)
    config.data.cutoff = 100.0
    config.data.flips = False  # a track is read along the rows
    config.data.simulate.tile_size = 224
    config.data.simulate.stride = 112
    config.model.input_size = (224, 224)
    config.model.center_count = True
    config.targets.map_scaling = "log1000"
    config.targets.embedding_loss = "cosine"
    config.optim.clip_norm = 1.0
    config.optim.learning_rate = 1e-4
    config.optim.layer_decay = 0.75
    config.optim.warmup_epochs = 5.0
    config.train.global_batch_size = 16
    config.train.accum_steps = 16


def demo(config):
    full(config)
    config.data.derive = ("track", "embedding")
    config.data.simulate.resolution = 30_000
    config.data.simulate.stride = 48
    config.model.name = "vit_tiny_patch16"
    config.model.input_size = (112, 112)
    config.optim.layer_decay = 1.0
    config.optim.learning_rate = 1e-3
    config.optim.min_lr = 2e-5
    config.train.total_steps = 300
    config.train.global_batch_size = 32
    config.train.accum_steps = 1
    config.log.eval_every_epochs = 4


VARIANTS = {"": full, "demo": demo}
