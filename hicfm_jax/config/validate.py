"""What must hold of a config's fields, alone and together."""

import json
import math
import re
from typing import Any

from ml_collections import ConfigDict

from hicfm_jax.config.base import (
    REMATS,
    RESIDUALS,
    TARGET_LOSSES,
    TARGET_SCALINGS,
    TARGETS,
    TASKS,
    base_config,
    micro_batch_size,
)
from hicfm_jax.errors import InputError
from hicfm_jax.types import PATCH

RESUMABLE = re.compile(r"(mesh|log)\..*|train\.accum_steps|model\.(remat|scan)|data\.thin_processes")
"""Fields that may differ when a workdir is taken up again: they change the result by rounding alone.

Beyond it, more micro-batches weigh windows at a chromosome's end a little otherwise, because some losses
are means over the pixels of a micro-batch. Replicates are compared within one, so that
`task=reproducibility` keeps its `train.accum_steps`. Training may also get longer.
"""


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
    _require(config.task in TASKS, "task", config.task, "one of " + ", ".join(TASKS))
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
