"""Every setting of a run: its default and its meaning."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from hicfm_jax.errors import InputError

TARGETS = ("map", "track", "embedding")
"""What fine-tuning can regress on; each has its fields in `config.targets`."""

RESIDUALS = ("none", "coverage")  # models/heads.py
REMATS = ("none", "products", "blocks")  # models/vit.py

TARGET_LOSSES = ("mse", "cosine", "poisson", "log_mse")
TARGET_SCALINGS = ("none", "log10", "log1000", "single_cell")  # models/preprocess.py

TASKS = (
    "pretrain",
    "finetune",
    "reproducibility",
    "loop",
    "resolution",
    "epigenome",
    "single_cell",
)


def base_config() -> ConfigDict:
    """The original's pretraining recipe with nothing filled in; experiments start from it.

    Locked: fields can be changed but not added, and a misspelt one is an error that names the
    nearest.
    """
    config = ConfigDict()
    config.task = "pretrain"  # or finetune, resolution, loop, epigenome, single_cell, reproducibility
    config.init_from = ""  # workdir, checkpoint or file of weights that training starts from

    config.data = data = ConfigDict()
    data.tiles = ""  # folder written by make_tiles.py, or .npz, or several A,B; empty: simulated maps
    data.mix = ""  # shares of the samples by assay or pattern, rice*=2,maize=1; empty: that of the tiles
    data.min_density = 0.05  # fraction of non-zero pixels that a crop should have
    data.max_redraws = 8  # further crops of a tile that are tried for it
    data.flips = False  # reverse both axes and transpose, each at random (the original does not)
    data.thin = ()  # share of the contacts in the input: (lowest, highest), log-uniform; empty: all
    data.thin_processes = 0  # that draw what is kept, for a fast GPU; 0: threads (tiles/stream/workers.py)
    data.derive = ()  # targets made from the map itself where tiles have none: track, embedding
    data.cutoff = 0.0  # fine-tuning: largest count of the image, and its scale; 0: each window's maximum
    data.simulate = simulate = ConfigDict()  # used when `tiles` is empty
    simulate.train_assays = 4  # simulated maps to train on
    simulate.val_assays = 2  # simulated maps to validate on
    simulate.resolution = 10_000  # bp
    simulate.contacts = 100_000_000  # of the deepest map
    simulate.tile_size = 448  # bins
    simulate.stride = 224  # bins

    config.model = model = ConfigDict()
    model.name = "vit_large_patch16"  # a key of models.presets.PRESETS
    model.input_size = (448, 448)  # window in bins, multiples of 16
    model.mask_ratio = 0.75  # share of patches that the encoder may not see
    model.mask_combine = "sum"  # how mirror-image patches share noise: sum (original) | mean
    model.center_count = False  # start count, map and track heads at the mean of the first batch's targets
    model.residual = "none"  # coverage: add to a smooth, coverage-aware estimate, pixel by pixel (resolution)
    model.transformer = True  # with a residual: False leaves encoder and decoder out, and only that path
    model.pixel_width = 32  # of that path: channels of its convolutions
    model.pixel_depth = 2  # of that path: residual convolutions at the end
    model.bin_heads = 4  # of that path: averages over bins with alike contacts; 0: none
    model.dtype = "float32"  # of the products: float32 | bfloat16; parameters stay float32
    model.scan = False  # run the blocks as one loop: compiles faster, needs more memory
    model.remat = "none"  # none | products | blocks: what is computed again to save memory (models/vit.py)

    config.loss = loss = ConfigDict()
    loss.alpha = 1.0  # weight of SSIM and count loss
    loss.count_weight = 1.0  # weight of the count loss within it
    loss.contrastive_weight = 1.0  # weight of the contrastive loss
    loss.temperature = 1.0  # of the contrastive loss; the original has none
    loss.center_targets = False  # contrast deviations from the window's mean patch
    loss.pixel_weight = 0.0  # of the pixel error in units of each patch's variance; the original has none
    loss.log_weight = 0.0  # of the squared error of log10(1 + counts); the original has none

    config.targets = targets = ConfigDict()  # of fine-tuning; those that the tiles have are used
    targets.map_loss = "mse"  # mse | cosine (original) | poisson | log_mse; see finetune_losses.py
    targets.map_weight = 1.0  # 0: not trained
    targets.map_scaling = "none"  # what outputs stand for: none | log10 | log1000 | single_cell
    targets.track_loss = "mse"  # as for maps
    targets.track_weight = 1.0  # as for maps
    targets.track_scaling = "none"  # as for maps
    targets.embedding_loss = "mse"  # as for maps
    targets.embedding_weight = 1.0  # as for maps
    targets.embedding_scaling = "none"  # as for maps
    targets.margin = 0.5  # reproducibility: by how much a replicate is to be more similar, in cosine

    config.optim = optim = ConfigDict()
    optim.learning_rate = placeholder(float)  # peak; when set, overrides blr
    optim.blr = 1.5e-4  # peak learning rate per 256 examples of the global batch
    optim.min_lr = 1e-7  # where the cosine ends
    optim.warmup_epochs = 50.0  # of `train.epochs`; the share stays if total_steps is set
    optim.weight_decay = 0.05  # on everything but biases and norms
    optim.b1 = 0.9  # decay of AdamW's mean gradient
    optim.b2 = 0.95  # decay of AdamW's mean squared gradient
    optim.eps = 1e-8  # added to the root of the latter
    optim.trainable = "all"  # all | decoder (and heads) | none; fixed position tables are never trained
    optim.trainable_patterns = ()  # regular expressions of parameter names to train besides
    optim.frozen_patterns = ()  # regular expressions of parameter names to keep as they are
    optim.layer_decay = 1.0  # factor of the learning rate from each layer to the one before it
    optim.layer_decay_rule = "full"  # full: encoder and decoder | original: the decoder's blocks alone
    optim.clip_norm = 0.0  # largest norm of a gradient; 0: no clipping, as in the original

    config.train = train = ConfigDict()
    train.epochs = 100  # visits of every tile
    train.total_steps = placeholder(int)  # optimizer steps; when set, overrides epochs
    train.global_batch_size = 4  # samples per optimizer step, all devices, accumulation included
    train.accum_steps = 4  # micro-batches that an optimizer step is computed in
    train.seed = 888  # of parameters, order, crops and masks

    config.log = log = ConfigDict()
    log.every_steps = 20  # a line in metrics.jsonl and on the screen
    log.image_count = 4  # windows in each picture of a validation
    log.eval_every_epochs = 1  # validation, picture and checkpoint
    log.eval_every_steps = 0  # the same counted in steps, which do not depend on the tiles; 0: in epochs
    log.checkpoint_every_steps = 0  # checkpoints in between; 0: at validations only

    config.mesh = mesh = ConfigDict()
    mesh.data = -1  # devices over which the batch is split; -1: all that are left
    mesh.fsdp = 1  # devices over which batch and parameters are split
    mesh.tensor = 1  # devices over which each product is split
    return config.lock()


def from_variant(name: str, variants: Mapping[str, Callable[[ConfigDict], None]], variant: str) -> ConfigDict:
    """The experiment that an entry of `variants` makes of `base_config()`.

    Args:
      name: of the config file, for the message.
      variants: functions that set fields, by what follows the colon on the command line.
      variant: which of them.

    Raises:
      InputError: there is no such variant; lists those there are.
    """
    if variant not in variants:
        raise InputError(f"{name} has no variant {variant!r}: take one of {', '.join(variants)}.")
    config = base_config()
    variants[variant](config)
    return config


def peak_learning_rate(config: ConfigDict) -> float:
    """`optim.learning_rate`, or the original's rule blr * batch / 256."""
    if config.optim.learning_rate is not None:
        return config.optim.learning_rate
    return config.optim.blr * config.train.global_batch_size / 256


def micro_batch_size(config: ConfigDict) -> int:
    """Samples that go through the network at once, over all devices."""
    return config.train.global_batch_size // config.train.accum_steps
