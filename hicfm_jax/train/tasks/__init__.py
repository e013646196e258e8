"""Table of training tasks, and the checks of a config against all tables."""

from collections.abc import Mapping

from ml_collections import ConfigDict

from hicfm_jax import config as config_lib
from hicfm_jax.config import require
from hicfm_jax.models.heads import RESIDUALS, WITH_RESIDUAL
from hicfm_jax.models.presets import PRESETS
from hicfm_jax.models.vit import REMATS
from hicfm_jax.train.losses import WITH_SHAPE, target_losses
from hicfm_jax.train.tasks.finetune_task import DERIVED, finetune_task
from hicfm_jax.train.tasks.pretrain_task import PRETRAIN
from hicfm_jax.train.tasks.reproducibility_task import REPRODUCIBILITY
from hicfm_jax.train.tasks.task import Task, TaskKind

TASKS = {
    "pretrain": PRETRAIN,
    "finetune": TaskKind(finetune_task, {"map": "map", "track": "track", "embedding": "embedding"}),
    "reproducibility": REPRODUCIBILITY,
    "loop": TaskKind(finetune_task, {"map": "map"}, logits=True),
    "resolution": TaskKind(finetune_task, {"map": "map"}),
    "single_cell": TaskKind(finetune_task, {"map": "map"}),
    "epigenome": TaskKind(finetune_task, {"track": "tracks"}),
}
"""Tasks by their word in `config.task`."""


def create_task(config: ConfigDict, shapes: Mapping[str, tuple[int, ...]] | None = None) -> Task:
    """The task of `config.task`; `shapes` are of one example of each entry of `Batch.targets`, by name.

    Raises:
      InputError: a name without an entry in its table; targets that are missing or of another shape than
        the model's outputs.
    """
    _check_names(config)
    kind = TASKS[config.task]
    return kind.create(config, kind, shapes or {})


def check_config(config: ConfigDict) -> None:
    """Checks all fields of a config; raises InputError with the field, its value and what it must be."""
    config_lib.validate(config)
    _check_names(config)
    kind, model, data = TASKS[config.task], config.model, config.data
    kind.check(config)
    allowed = [name for name in DERIVED if kind.targets.get(name) == name]
    expected = f"some of {', '.join(allowed)}" if allowed else f"empty for task={config.task}"
    require(set(data.derive) <= set(allowed), "data.derive", tuple(data.derive), expected)
    head, tracks = kind.head or config.task, tuple(model.tracks)
    require(not tracks or head == "epigenome", "model.tracks", tracks, "empty except for task=epigenome")
    pairs = (model.residual != "none" and head == "resolution") or not model.dispersion
    require(pairs, "model.dispersion", model.dispersion, "False except for task=resolution with a residual")
    shaped = config.targets.map_loss in WITH_SHAPE
    expected = f"{shaped}, as targets.map_loss is {config.targets.map_loss}"
    require(model.dispersion == shaped, "model.dispersion", model.dispersion, expected)
    if model.residual == "none":
        return
    thin, scaling = tuple(data.thin) or tuple(data.split), config.targets.map_scaling
    expected = f"none except for task={', '.join(WITH_RESIDUAL)}"
    require(head in WITH_RESIDUAL, "model.residual", model.residual, expected)
    require(thin != (), "data.thin", thin, "set, or data.split, for model.residual: inputs are downsampled")
    if head == "resolution":
        require(scaling == "log10", "targets.map_scaling", scaling, "log10, the scale of model.residual")


def _check_names(config: ConfigDict) -> None:
    for field, value, table in (
        ("task", config.task, TASKS),
        ("model.name", config.model.name, PRESETS),
        ("model.residual", config.model.residual, RESIDUALS),
        ("model.remat", config.model.remat, REMATS),
    ):
        require(value in table, field, value, "one of " + ", ".join(table))
    target_losses(config)
