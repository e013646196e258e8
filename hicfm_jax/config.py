"""Every setting of a run: its default, what it means, and what must hold between them."""

import json
import math
import re
from collections.abc import Callable, Mapping
from typing import Any

from ml_collections import ConfigDict
from ml_collections.config_dict import placeholder

from hicfm_jax.errors import InputError
from hicfm_jax.types import PATCH

RESUMABLE = re.compile(r"(mesh|log)\..*|train\.accum_steps|model\.(remat|scan)|data\.thin_processes")
"""Fields that may differ when a workdir is taken up again: they change the result by rounding alone.

Beyond it, more micro-batches weigh windows at a chromosome's end a little otherwise, because some losses
are means over the pixels of a micro-batch. Replicates are compared within one, so that
`task=reproducibility` keeps its `train.accum_steps`. Training may also get longer.
"""

TARGETS = ("map", "track", "embedding")
"""What fine-tuning can regress on; each has its fields in `config.targets`."""

RESIDUALS = ("none", "coverage")  # models/heads.py
REMATS = ("none", "products", "blocks")  # models/vit.py

TARGET_LOSSES = ("mse", "cosine", "poisson", "log_mse")
TARGET_SCALINGS = ("none", "log10", "log1000", "single_cell")  # models/target_scaling.py

_TRAINED = (
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
    data.thin_processes = 0  # that draw what is kept, for a fast GPU; 0: threads (tiles/workers.py)
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


def _require(holds: bool, field: str, value: Any, expected: str) -> None:
    if not holds:
        raise InputError(f"config.{field} is {value!r} but must be {expected}.")


def validate(config: ConfigDict) -> None:
    """Checks every field and what must hold between fields.

    Raises:
      InputError: names the field, its value and what it must be.
    """
    positive = (
        "train.epochs",
        "train.global_batch_size",
        "train.accum_steps",
        "log.every_steps",
        "log.eval_every_epochs",
        "loss.temperature",
        "optim.blr",
        "optim.eps",
    )
    not_negative = (
        "train.seed",
        "data.max_redraws",
        "data.thin_processes",
        "log.image_count",
        "log.checkpoint_every_steps",
        "log.eval_every_steps",
        "loss.alpha",
        "loss.contrastive_weight",
        "loss.count_weight",
        "loss.pixel_weight",
        "loss.log_weight",
        "optim.min_lr",
        "optim.warmup_epochs",
        "optim.weight_decay",
        "optim.clip_norm",
        "targets.map_weight",
        "targets.track_weight",
        "targets.embedding_weight",
        "targets.margin",
        "data.cutoff",
    )
    for names, holds, expected in (
        (positive, lambda v: math.isfinite(v) and v > 0, "positive"),
        (not_negative, lambda v: math.isfinite(v) and v >= 0, "0 or more"),
    ):
        for name in names:
            section, field = name.split(".")
            _require(holds(config[section][field]), name, config[section][field], expected)
    rate = config.optim.learning_rate
    _require(rate is None or (math.isfinite(rate) and rate > 0), "optim.learning_rate", rate, "positive")
    _require(config.train.seed < 2**31, "train.seed", config.train.seed, "below 2**31")
    steps = config.train.total_steps
    _require(steps is None or steps > 0, "train.total_steps", steps, "positive")
    _require(config.task in _TRAINED, "task", config.task, "one of " + ", ".join(_TRAINED))
    size = tuple(config.model.input_size)
    _require(
        len(size) == 2 and all(isinstance(s, int) and s > 0 and s % PATCH == 0 for s in size),
        "model.input_size",
        size,
        f"two positive multiples of {PATCH}, such as 448,448",
    )
    _require(0 < config.model.mask_ratio < 1, "model.mask_ratio", config.model.mask_ratio, "between 0 and 1")
    patches = size[0] * size[1] // PATCH**2
    _require(
        int(patches * (1 - config.model.mask_ratio)) > 0,
        "model.mask_ratio",
        config.model.mask_ratio,
        f"small enough to leave one of {patches} patches visible",
    )
    for name, choices in (
        ("mask_combine", ("sum", "mean")),
        ("dtype", ("float32", "bfloat16")),
        ("remat", REMATS),
        ("residual", RESIDUALS),
    ):
        _require(config.model[name] in choices, f"model.{name}", config.model[name], " or ".join(choices))
    _require(0 <= config.data.min_density <= 1, "data.min_density", config.data.min_density, "from 0 to 1")
    for name in ("b1", "b2"):
        _require(0 <= config.optim[name] < 1, f"optim.{name}", config.optim[name], "in [0, 1)")
    _require(
        config.optim.warmup_epochs < config.train.epochs,
        "optim.warmup_epochs",
        config.optim.warmup_epochs,
        f"less than train.epochs ({config.train.epochs})",
    )
    batch, accum = config.train.global_batch_size, config.train.accum_steps
    _require(
        batch % accum == 0, "train.global_batch_size", batch, f"a multiple of train.accum_steps ({accum})"
    )
    for axis in ("data", "fsdp", "tensor"):
        value = config.mesh[axis]
        _require(value > 0 or (axis == "data" and value == -1), f"mesh.{axis}", value, "positive")
    _validate_finetuning(config)
    if not config.data.tiles:
        simulate = config.data.simulate
        for name in simulate:
            _require(simulate[name] > 0, f"data.simulate.{name}", simulate[name], "positive")
        _require(
            max(size) <= simulate.tile_size,
            "data.simulate.tile_size",
            simulate.tile_size,
            f"at least model.input_size ({max(size)})",
        )


def _validate_finetuning(config: ConfigDict) -> None:
    targets, optim, thin = config.targets, config.optim, tuple(config.data.thin)
    for name in TARGETS:
        loss, scaling = targets[f"{name}_loss"], targets[f"{name}_scaling"]
        _require(loss in TARGET_LOSSES, f"targets.{name}_loss", loss, " or ".join(TARGET_LOSSES))
        _require(scaling in TARGET_SCALINGS, f"targets.{name}_scaling", scaling, " or ".join(TARGET_SCALINGS))
        counts = loss != "poisson" or scaling in ("log10", "log1000")
        _require(counts, f"targets.{name}_scaling", scaling, "log10 or log1000 for a poisson loss")
    derived = tuple(config.data.derive)
    _require(set(derived) <= {"track", "embedding"}, "data.derive", derived, "of track, embedding")
    _require(not derived or config.task == "finetune", "data.derive", derived, "empty but for task=finetune")
    _require(
        thin == () or (len(thin) == 2 and 0 < thin[0] <= thin[1] <= 1),
        "data.thin",
        thin,
        "two shares in (0, 1], the lower one first, such as 0.0625,0.0625",
    )
    if config.task == "pretrain":
        _require(thin == (), "data.thin", thin, "empty for task=pretrain")
    _require(
        config.model.transformer or config.model.residual != "none",
        "model.transformer",
        config.model.transformer,
        "True without model.residual",
    )
    if config.model.residual != "none":
        _require(
            config.task == "resolution", "model.residual", config.model.residual, "none but for resolution"
        )
        _require(thin != (), "data.thin", thin, "given for model.residual: shallow inputs are drawn")
        _require(config.model.pixel_width > 0, "model.pixel_width", config.model.pixel_width, "positive")
        for name in ("pixel_depth", "bin_heads"):
            _require(config.model[name] >= 0, f"model.{name}", config.model[name], "0 or more")
        scaling = targets.map_scaling
        _require(
            scaling == "log10", "targets.map_scaling", scaling, "log10, which is what the residual gives"
        )
    if config.task == "reproducibility":
        _require(thin != (), "data.thin", thin, "given for task=reproducibility: replicates are drawn")
        _require(
            micro_batch_size(config) > 1,
            "train.global_batch_size",
            config.train.global_batch_size,
            f"at least twice train.accum_steps ({config.train.accum_steps}), for windows to compare",
        )
    _require(
        optim.trainable in ("all", "decoder", "none"),
        "optim.trainable",
        optim.trainable,
        "all, decoder or none",
    )
    rules = ("full", "original")
    _require(
        optim.layer_decay_rule in rules, "optim.layer_decay_rule", optim.layer_decay_rule, " or ".join(rules)
    )
    _require(0 < optim.layer_decay <= 1, "optim.layer_decay", optim.layer_decay, "in (0, 1]")
    for field in ("trainable_patterns", "frozen_patterns"):
        for pattern in optim[field]:
            _require(_compiles(pattern), f"optim.{field}", pattern, "a regular expression")


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True


def to_json(config: ConfigDict) -> str:
    """The effective config as stable JSON text."""
    return json.dumps(config.to_dict(), indent=2, sort_keys=True)


def _flat(tree: dict, prefix: str = "") -> dict[str, Any]:
    leaves = {}
    for name, value in tree.items():
        if isinstance(value, dict):
            leaves.update(_flat(value, f"{prefix}{name}."))
        else:
            leaves[prefix + name] = value
    return leaves


def check_resumable(config: ConfigDict, stored: str, workdir: str) -> None:
    """Refuses to take up a run under another config, except for `RESUMABLE` and longer training.

    Args:
      config: of this call.
      stored: JSON text of the config that the workdir was started with.
      workdir: for the message.

    Raises:
      InputError: names the first field that differs.
    """
    try:
        then = _flat(json.loads(to_json(base_config()))) | _flat(json.loads(stored))
    except (ValueError, AttributeError) as error:
        raise InputError(
            f"config.json in {workdir} is damaged or of another program: use another --workdir."
        ) from error
    now = _flat(json.loads(to_json(config)))
    # Fields that are younger than the run count as what they are by default: what it did.
    for name in sorted(now.keys() | then.keys()):
        a, b = now.get(name), then.get(name)
        compares = name == "train.accum_steps" and config.task == "reproducibility"
        if a == b or (RESUMABLE.fullmatch(name) and not compares):
            continue
        # What sets the length may grow; total_steps does where it is given, else epochs.
        sets_length = "train.epochs" if then.get("train.total_steps") is None else "train.total_steps"
        if name == sets_length and a is not None:
            if a > b:
                continue
            raise InputError(
                f"{workdir} holds a run with {name}={b}, and this call asks for {a}: training can be "
                "made longer, not shorter; use another --workdir."
            )
        raise InputError(
            f"{workdir} holds a run with {name}={b!r}, and this call asks for {a!r}: "
            "use another --workdir or the same value."
        )
