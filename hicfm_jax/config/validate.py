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


FROM_TILES = ("model.tracks", "model.track_means", "model.track_sds")
"""Fields that are filled in from the tiles where a config leaves them empty."""


def require(holds: bool, field: str, value: Any, expected: str) -> None:
    """Raises InputError, which names the field, its value and what it must be, unless `holds`."""
    if not holds:
        raise InputError(f"config.{field} is {value!r} but must be {expected}.")


def _is_positive(value: float) -> bool:
    return math.isfinite(value) and value > 0


def _is_not_negative(value: float) -> bool:
    return math.isfinite(value) and value >= 0


_POSITIVE = (
    "train.epochs train.global_batch_size train.accum_steps log.every_steps log.eval_every_epochs "
    "loss.temperature model.pixel_width optim.blr optim.eps mesh.fsdp mesh.tensor targets.temperature"
).split()
_NOT_NEGATIVE = (
    "train.seed data.max_redraws data.thin_processes data.cutoff log.image_count log.checkpoint_every_steps "
    "log.eval_every_steps loss.alpha model.pixel_depth model.bin_heads optim.min_lr optim.warmup_epochs "
    "optim.weight_decay optim.clip_norm targets.margin"
).split()
_RULES = (
    (_POSITIVE, _is_positive, "positive"),
    (_NOT_NEGATIVE, _is_not_negative, "0 or more"),
    (("train.total_steps", "optim.learning_rate"), lambda v: v is None or _is_positive(v), "positive"),
    (("train.seed",), lambda v: v < 2**31, "below 2**31"),
    (("mesh.data",), lambda v: v == -1 or v > 0, "positive"),
    (("data.min_density",), lambda v: 0 <= v <= 1, "from 0 to 1"),
    (("model.mask_ratio",), lambda v: 0 < v < 1, "between 0 and 1"),
    (("optim.b1", "optim.b2"), lambda v: 0 <= v < 1, "in [0, 1)"),
    (("optim.layer_decay",), lambda v: 0 < v <= 1, "in (0, 1]"),
)
"""Fields, the check of their values, and what is expected."""

_CHOICES = {
    "model.mask_combine": ("sum", "mean"),
    "model.dtype": ("float32", "bfloat16"),
    "optim.trainable": ("all", "decoder", "none"),
    "optim.layer_decay_rule": ("full", "original"),
}


def validate(config: ConfigDict) -> None:
    """Checks all fields but names in tables of `models` and `train`, see `train.tasks.check_config`.

    Raises InputError, which names the field, its value and what it must be.
    """
    values = _flat(config.to_dict())
    for fields, holds, expected in _RULES:
        for field in fields:
            require(holds(values[field]), field, values[field], expected)
    for field, choices in _CHOICES.items():
        require(values[field] in choices, field, values[field], " or ".join(choices))
    for field, value in values.items():
        require(not field.endswith("_weight") or _is_not_negative(value), field, value, "0 or more")
    _check_model(config)
    _check_training(config)
    _check_data(config)


def _check_model(config: ConfigDict) -> None:
    model, size = config.model, tuple(config.model.input_size)
    multiples = len(size) == 2 and all(isinstance(s, int) and s > 0 and s % PATCH == 0 for s in size)
    expected = f"two positive multiples of {PATCH}, such as 448,448"
    require(multiples, "model.input_size", size, expected)
    ratio, patches = model.mask_ratio, size[0] * size[1] // PATCH**2
    expected = f"small enough to leave one of {patches} patches visible"
    require(int(patches * (1 - ratio)) > 0, "model.mask_ratio", ratio, expected)
    used = model.transformer or model.residual != "none"
    require(used, "model.transformer", model.transformer, "True without model.residual")


def _check_training(config: ConfigDict) -> None:
    train, optim = config.train, config.optim
    batch, accum = train.global_batch_size, train.accum_steps
    expected = f"a multiple of train.accum_steps ({accum})"
    require(batch % accum == 0, "train.global_batch_size", batch, expected)
    expected = f"less than train.epochs ({train.epochs})"
    require(optim.warmup_epochs < train.epochs, "optim.warmup_epochs", optim.warmup_epochs, expected)
    for field in ("trainable_patterns", "frozen_patterns"):
        for pattern in optim[field]:
            require(_compiles(pattern), f"optim.{field}", pattern, "a regular expression")


def _compiles(pattern: str) -> bool:
    try:
        return bool(re.compile(pattern))
    except re.error:
        return False


def _check_data(config: ConfigDict) -> None:
    data, thin, split = config.data, tuple(config.data.thin), tuple(config.data.split)
    fractions = thin == () or (len(thin) == 2 and 0 < thin[0] <= thin[1] <= 1)
    expected = "two fractions in (0, 1], the lower one first, such as 0.0625,0.0625"
    require(fractions, "data.thin", thin, expected)
    fractions = split == () or (len(split) == 2 and 0 < split[0] <= split[1] < 1)
    expected = "two fractions between 0 and 1, the lower one first, such as 0.2,0.8"
    require(fractions, "data.split", split, expected)
    require(not (thin and split), "data.split", split, "empty where data.thin is set")
    if data.tiles:
        return
    for name, value in data.simulate.items():
        require(value > 0, f"data.simulate.{name}", value, "positive")
    size, largest = data.simulate.tile_size, max(config.model.input_size)
    require(size >= largest, "data.simulate.tile_size", size, f"at least model.input_size ({largest})")


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
    """Raises InputError if a run in `workdir`, started with the JSON text `stored`, cannot be resumed.

    Fields may differ if they are `RESUMABLE`, and training may get longer.
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
        unset = name in FROM_TILES and not a
        if a == b or unset or (RESUMABLE.fullmatch(name) and not compares):
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
