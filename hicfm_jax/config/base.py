"""Every setting of a run, with its default and its meaning."""

from collections.abc import Callable, Mapping

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from hicfm_jax.errors import InputError


def base_config() -> ConfigDict:
    """The original's pretraining recipe without data; experiments start from it.

    Locked: fields can be changed but not added, and a misspelled one is an error that names the nearest.
    """
    config = ConfigDict()
    config.task = "pretrain"  # a key of TASKS in train/tasks: pretrain, finetune, resolution, ...
    config.init_from = ""  # workdir, checkpoint or weights file to start from; empty: random parameters

    config.data = data = ConfigDict()
    data.tiles = ""  # folder written by make_tiles.py, or .npz, or several A,B; empty: simulated maps
    data.mix = ""  # fractions of the samples by assay or pattern, rice*=2,maize=1; empty: those of the tiles
    data.min_density = 0.05  # least fraction of non-zero pixels in a training crop
    data.max_redraws = 8  # further crops of a tile that are tried to reach min_density
    data.flips = False  # reverse both axes and transpose, each at random (not in the original)
    data.thin = ()  # downsample inputs to a fraction in (lowest, highest), log-uniform; empty: all contacts
    data.split = ()  # in place of data.thin: such a fraction is the input, the other contacts the target
    data.thin_processes = 0  # processes that downsample, for a fast GPU; 0: threads (tiles/stream/workers.py)
    data.derive = ()  # targets to compute from the map where tiles have none: track, embedding (finetune)
    data.cutoff = 0.0  # fine-tuning: count at which the image saturates; 0: each window's maximum
    data.simulate = simulate = ConfigDict()  # used when `tiles` is empty
    simulate.train_assays = 4  # simulated maps to train on
    simulate.val_assays = 2  # simulated maps to validate on
    simulate.resolution = 10_000  # bin width in bp
    simulate.contacts = 100_000_000  # contacts of the deepest map
    simulate.tile_size = 448  # tile side in bins
    simulate.stride = 224  # distance between tiles in bins

    config.model = model = ConfigDict()
    model.name = "vit_large_patch16"  # a key of PRESETS in models/presets.py
    model.input_size = (448, 448)  # window in bins, multiples of 16
    model.mask_ratio = 0.75  # pretraining: fraction of patches that are masked
    model.mask_combine = "sum"  # noise of mirror-image patches: sum (original) | mean
    model.center_count = False  # start output biases of count, map and track at the first batch's mean target
    model.tracks = ()  # epigenome: names of the tracks; empty: those of the tiles, or the original's six
    model.track_means = ()  # epigenome: mean of each track, which the network adds; empty: from the tiles
    model.track_sds = ()  # epigenome: standard deviation of each track, unit of its loss; empty: as the means
    model.residual = "none"  # resolution, epigenome: none | coverage, add to what coverage-aware ratios tell
    model.transformer = True  # with a residual: False leaves encoder and decoder out
    model.dispersion = False  # with a residual: also predict how sure the map is, for losses with a shape
    model.unsmoothed = False  # with a residual, for maps: choose among smoothed counts and unsmoothed ones
    model.pixel_width = 32  # with a residual: channels of its convolutions
    model.pixel_depth = 2  # with a residual: its last residual convolutions
    model.bin_heads = 4  # with a residual: attention heads among the window's bins; 0: none
    model.dtype = "float32"  # of matrix products: float32 | bfloat16; parameters stay float32
    model.scan = False  # run the blocks as one loop: compiles faster, needs more memory
    model.remat = "none"  # recomputed in the backward pass to save memory: none | products | blocks

    config.loss = loss = ConfigDict()  # pretraining
    loss.alpha = 1.0  # weight of SSIM and count loss
    loss.count_weight = 1.0  # weight of the count loss within alpha
    loss.contrastive_weight = 1.0  # weight of the contrastive loss
    loss.temperature = 1.0  # divides the cosines of the contrastive loss (1 in the original)
    loss.center_targets = False  # contrastive loss: subtract the window's mean patch first
    loss.pixel_weight = 0.0  # weight of the pixel error relative to its patch's variance (0 in the original)
    loss.log_weight = 0.0  # weight of the squared error of log10(1 + counts) (0 in the original)

    config.targets = targets = ConfigDict()  # fine-tuning; targets that the tiles have are used
    targets.map_loss = "mse"  # a key of LOSSES in train/losses, such as mse or cosine (original)
    targets.map_weight = 1.0  # 0: not trained
    targets.map_scaling = "none"  # scale of the outputs: none | log10 | log1000 | single_cell
    targets.track_loss = "mse"  # as map_loss
    targets.track_weight = 1.0  # as map_weight
    targets.track_scaling = "none"  # as map_scaling
    targets.embedding_loss = "mse"  # as map_loss
    targets.embedding_weight = 1.0  # as map_weight
    targets.embedding_scaling = "none"  # as map_scaling
    targets.replicate_loss = "triplet"  # reproducibility: triplet (original) | contrastive
    targets.temperature = 0.1  # of the contrastive loss of reproducibility: divides the cosines
    targets.margin = 0.5  # reproducibility: required gap of the cosine between replicates and other windows

    config.optim = optim = ConfigDict()
    optim.learning_rate = placeholder(float)  # peak; when set, overrides blr
    optim.blr = 1.5e-4  # peak learning rate per 256 samples of the global batch
    optim.min_lr = 1e-7  # end of the cosine schedule
    optim.warmup_epochs = 50.0  # of train.epochs; the fraction stays if total_steps is set
    optim.weight_decay = 0.05  # for everything but biases and norms
    optim.b1 = 0.9  # AdamW's decay of the mean gradient
    optim.b2 = 0.95  # AdamW's decay of the mean squared gradient
    optim.eps = 1e-8  # AdamW's epsilon
    optim.trainable = "all"  # all | decoder (and heads) | none; fixed position tables are never trained
    optim.trainable_patterns = ()  # regular expressions of parameter names to train in addition
    optim.frozen_patterns = ()  # regular expressions of parameter names to freeze
    optim.layer_decay = 1.0  # factor of the learning rate from each layer to the one before it
    optim.layer_decay_rule = "full"  # full: encoder and decoder | original: the decoder's blocks alone
    optim.clip_norm = 0.0  # largest norm of a gradient; 0: no clipping (original)

    config.train = train = ConfigDict()
    train.epochs = 100  # passes over the tiles
    train.total_steps = placeholder(int)  # optimizer steps; when set, overrides epochs
    train.global_batch_size = 4  # samples per optimizer step, all devices, accumulation included
    train.accum_steps = 4  # micro-batches per optimizer step
    train.seed = 888  # of parameters, order, crops and masks

    config.log = log = ConfigDict()
    log.every_steps = 20  # steps per line in metrics.jsonl and on the screen
    log.image_count = 4  # windows in the picture of a validation
    log.eval_every_epochs = 1  # epochs between validations, each with a picture and a checkpoint
    log.eval_every_steps = 0  # steps between validations; 0: eval_every_epochs counts
    log.checkpoint_every_steps = 0  # steps between further checkpoints; 0: at validations only

    config.mesh = mesh = ConfigDict()
    mesh.data = -1  # devices over which the batch is split; -1: all that are left
    mesh.fsdp = 1  # devices over which batch and parameters are split
    mesh.tensor = 1  # devices over which each matrix product is split
    return config.lock()


def from_variant(name: str, variants: Mapping[str, Callable[[ConfigDict], None]], variant: str) -> ConfigDict:
    """The experiment that an entry of `variants`, functions that set fields, makes of `base_config()`.

    Raises InputError for an unknown variant of the config file `name`, with the known ones.
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
    """Samples per micro-batch, over all devices."""
    return config.train.global_batch_size // config.train.accum_steps
