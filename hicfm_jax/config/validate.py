"""Rules for the fields of a config, and comparison with a stored run."""

import json
import math
import re
from typing import Any

from ml_collections import ConfigDict

from hicfm_jax.config.base import base_config
from hicfm_jax.errors import InputError
from hicfm_jax.types import PATCH

RESUMABLE = re.compile(r"(mesh|log)\..*|train\.accum_steps|model\.(remat|scan)|data\.thin_processes")
"""Fields that may differ when a workdir is resumed: they change the result by rounding alone.

One exception: more micro-batches change the weights of windows at a chromosome's end a little, because
some losses are means over the pixels of a micro-batch. Replicates are compared within a micro-batch, so
`task=reproducibility` keeps its `train.accum_steps`. Training may also get longer.
"""


def require(holds: bool, field: str, value: Any, expected: str) -> None:
    """Raises InputError, which names the field, its value and what it must be, unless `holds`."""
    if not holds:
        raise InputError(f"config.{field} is {value!r} but must be {expected}.")


def validate(config: ConfigDict) -> None:
    """Checks the values of all fields, except the names that a table of `models` or `train` defines.

    `train.tasks.check_config` checks those too.

    Raises:
      InputError: names the field, its value and what it must be.
    """
    _check_numbers(config)
    _check_model(config)
    _check_data(config)
    _check_optimizer(config)


POSITIVE = (
    "train.epochs",
    "train.global_batch_size",
    "train.accum_steps",
    "log.every_steps",
    "log.eval_every_epochs",
    "loss.temperature",
    "model.pixel_width",
    "optim.blr",
    "optim.eps",
    "targets.temperature",
)
NOT_NEGATIVE = (
    "train.seed",
    "data.max_redraws",
    "data.thin_processes",
    "data.cutoff",
    "log.image_count",
    "log.checkpoint_every_steps",
    "log.eval_every_steps",
    "loss.alpha",
    "model.pixel_depth",
    "model.bin_heads",
    "optim.min_lr",
    "optim.warmup_epochs",
    "optim.weight_decay",
    "optim.clip_norm",
    "targets.margin",
)


def _check_numbers(config: ConfigDict) -> None:
    both = ("loss", "targets")
    weights = [f"{section}.{name}" for section in both for name in config[section] if "_weight" in name]
    for names, holds, expected in (
        (POSITIVE, lambda v: math.isfinite(v) and v > 0, "positive"),
        ((*NOT_NEGATIVE, *weights), lambda v: math.isfinite(v) and v >= 0, "0 or more"),
    ):
        for name in names:
            section, field = name.split(".")
            require(holds(config[section][field]), name, config[section][field], expected)
    train = config.train
    require(train.seed < 2**31, "train.seed", train.seed, "below 2**31")
    steps = train.total_steps
    require(steps is None or steps > 0, "train.total_steps", steps, "positive")
    batch, accum = train.global_batch_size, train.accum_steps
    require(
        batch % accum == 0, "train.global_batch_size", batch, f"a multiple of train.accum_steps ({accum})"
    )
    for axis in ("data", "fsdp", "tensor"):
        value = config.mesh[axis]
        require(value > 0 or (axis == "data" and value == -1), f"mesh.{axis}", value, "positive")


def _check_model(config: ConfigDict) -> None:
    model, size = config.model, tuple(config.model.input_size)
    require(
        len(size) == 2 and all(isinstance(s, int) and s > 0 and s % PATCH == 0 for s in size),
        "model.input_size",
        size,
        f"two positive multiples of {PATCH}, such as 448,448",
    )
    ratio, patches = model.mask_ratio, size[0] * size[1] // PATCH**2
    require(0 < ratio < 1, "model.mask_ratio", ratio, "between 0 and 1")
    require(
        int(patches * (1 - ratio)) > 0,
        "model.mask_ratio",
        ratio,
        f"small enough to leave one of {patches} patches visible",
    )
    for name, choices in (("mask_combine", ("sum", "mean")), ("dtype", ("float32", "bfloat16"))):
        require(model[name] in choices, f"model.{name}", model[name], " or ".join(choices))
    require(
        model.transformer or model.residual != "none",
        "model.transformer",
        model.transformer,
        "True without model.residual",
    )


def _check_data(config: ConfigDict) -> None:
    data, thin = config.data, tuple(config.data.thin)
    require(0 <= data.min_density <= 1, "data.min_density", data.min_density, "from 0 to 1")
    require(
        thin == () or (len(thin) == 2 and 0 < thin[0] <= thin[1] <= 1),
        "data.thin",
        thin,
        "two fractions in (0, 1], the lower one first, such as 0.0625,0.0625",
    )
    if data.tiles:
        return
    for name in data.simulate:
        require(data.simulate[name] > 0, f"data.simulate.{name}", data.simulate[name], "positive")
    largest = max(config.model.input_size)
    require(
        largest <= data.simulate.tile_size,
        "data.simulate.tile_size",
        data.simulate.tile_size,
        f"at least model.input_size ({largest})",
    )


def _check_optimizer(config: ConfigDict) -> None:
    optim, epochs = config.optim, config.train.epochs
    rate = optim.learning_rate
    require(rate is None or (math.isfinite(rate) and rate > 0), "optim.learning_rate", rate, "positive")
    for name in ("b1", "b2"):
        require(0 <= optim[name] < 1, f"optim.{name}", optim[name], "in [0, 1)")
    require(
        optim.warmup_epochs < epochs,
        "optim.warmup_epochs",
        optim.warmup_epochs,
        f"less than train.epochs ({epochs})",
    )
    for name, choices in (
        ("trainable", ("all", "decoder", "none")),
        ("layer_decay_rule", ("full", "original")),
    ):
        require(optim[name] in choices, f"optim.{name}", optim[name], " or ".join(choices))
    require(0 < optim.layer_decay <= 1, "optim.layer_decay", optim.layer_decay, "in (0, 1]")
    for field in ("trainable_patterns", "frozen_patterns"):
        for pattern in optim[field]:
            require(_compiles(pattern), f"optim.{field}", pattern, "a regular expression")


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
    """Refuses to resume a run under another config, except for `RESUMABLE` and longer training.

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
    # Fields that are newer than the stored run have their defaults there, which is what the run did.
    for name in sorted(now.keys() | then.keys()):
        a, b = now.get(name), then.get(name)
        compares = name == "train.accum_steps" and config.task == "reproducibility"
        if a == b or (RESUMABLE.fullmatch(name) and not compares):
            continue
        # Training may get longer: by total_steps where the run has it, else by epochs.
        sets_length = "train.epochs" if then.get("train.total_steps") is None else "train.total_steps"
        if name == sets_length and a is not None:
            if a > b:
                continue
            raise InputError(
                f"{workdir} was started with {name}={b}, and this call asks for {a}: training can be "
                "made longer, not shorter; use another --workdir."
            )
        raise InputError(
            f"{workdir} was started with {name}={b!r}, and this call asks for {a!r}: "
            "use another --workdir or the same value."
        )
