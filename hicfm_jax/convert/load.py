"""Parameters from wherever they are: a file of the original, or a checkpoint folder of ours."""

import dataclasses
import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from hicfm_jax.checkpoints import folder as checkpoint_folder
from hicfm_jax.checkpoints.folder import Adam
from hicfm_jax.checkpoints.parameters import fresh_parameters, parameter_shapes
from hicfm_jax.convert import detect, files, optimizer, transfer
from hicfm_jax.convert import names as rules
from hicfm_jax.convert import report as strict
from hicfm_jax.convert.report import Report
from hicfm_jax.errors import InputError
from hicfm_jax.models.presets import head_options
from hicfm_jax.types import PATCH

_PROVENANCE = ("seen", "unknown", "total_counts")


@dataclasses.dataclass
class Weights:
    """Parameters of a task, and what came with them.

    Attributes:
      params: float32 arrays by path ("encoder/norm/scale"), without those of `report.new`.
      report: what became of every name; knows task, model and window size.
      step: optimizer steps that made them.
      adam: moments of AdamW; None if there are none, or none that fit.
      meta: what else the checkpoint says of itself.
      head: what `models.create_model` has to be told of the head besides its task, see `head_options`.
    """

    params: dict[str, np.ndarray]
    report: Report
    step: int = 0
    adam: Adam | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    head: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def provenance(self) -> dict[str, Any]:
        """What `meta` says of the data they are made of, see `train.provenance`."""
        return {name: self.meta[name] for name in _PROVENANCE if name in self.meta}


def load_weights(
    path: str | os.PathLike,
    task: str | None = None,
    input_size: tuple[int, int] | None = None,
    model: str | None = None,
    *,
    head: Mapping[str, Any] | None = None,
    with_adam: bool = False,
    progress: Callable[[str], None] = lambda line: None,
) -> Weights:
    """Reads a `.pth.tar` or `.safetensors` of the original, or a workdir or checkpoint of ours.

    Args:
      path: the file or folder.
      task: what for; None: what the file is. Pretraining serves every task, a head only its own.
      input_size: windows in bins (H, W) of a head; None: those of the file.
      model: key of `models.PRESETS` that it has to be; None: whichever it is.
      head: `models.presets.head_options` of a head to be made of pretraining.
      with_adam: take the moments of AdamW along, which are twice as large as the parameters.
      progress: told a line now and then.

    Raises:
      InputError: not such a file or folder, damaged, with names, shapes or values that do not fit, or
        for another task, size or model.
    """
    path = os.fspath(path)
    if files.is_original_file(path):
        found = _from_file(path, task, input_size, model, with_adam, progress)
    else:
        found = _from_folder(path, task, model, with_adam)
    report = found.report
    resizes = report.source == "pretrain" and task not in (None, "pretrain")
    if input_size and tuple(input_size) != report.input_size and not resizes:
        raise InputError(
            f"{path} holds {report.task} on windows of {' x '.join(map(str, report.input_size))} bins, not "
            f"{' x '.join(map(str, input_size))}: only a head made of pretraining can have another size."
        )
    return _as_head(found, task, tuple(input_size or report.input_size), head or {}) if resizes else found


def _check_purpose(path: str, kind: detect.Kind, task: str | None, model: str | None) -> str:
    """The task to take the parameters for; refuses what they cannot serve."""
    if model and model != kind.model:
        raise InputError(
            f"The parameters in {path} are those of {kind.model} and do not fit {model}: "
            "use the model they were trained with."
        )
    if task in kind.tasks:
        return task
    if task and kind.tasks != ("pretrain",):
        raise InputError(
            f"{path} holds a head for {' or '.join(kind.tasks)}, which cannot serve {task}: "
            "start from a pretraining checkpoint."
        )
    return kind.tasks[0]


def _report(path: str, kind: detect.Kind, task: str, size: tuple[int, int], mapped: dict[str, str]) -> Report:
    """Parameters taken as what they are."""
    return Report(path, task, fits=kind.tasks, model=kind.model, input_size=size, source=task, mapped=mapped)


def load_torch_checkpoint(
    path: str | os.PathLike, task: str | None = None, input_size: tuple[int, int] | None = None
) -> tuple[dict[str, Any], Report]:
    """Parameters of a checkpoint of the original, for `create_model(report.model, report.input_size, task)`.

    Args:
      path: `.pth.tar` or `.safetensors`.
      task: what for; None: what the file is. Parameters that the file lacks are drawn afresh and
        listed in `report.new`.
      input_size: windows in bins (H, W); None: those of the file.

    Returns:
      Nested dict of float32 arrays, and the account of every name.

    Raises:
      InputError: see `load_weights`.
    """
    weights = load_weights(path, task, input_size)
    return unflatten_dict(complete(weights), sep="/"), weights.report


PUBLISHED_SCALINGS = {"resolution": "log1000", "single_cell": "single_cell"}
"""What the published heads' maps stand for, as `config.targets.map_scaling` names it."""


def map_scaling(weights: Weights) -> str | None:
    """What the maps of a trained head stand for (`config.targets.map_scaling`); None for no such head."""
    if weights.report.source == "pretrain":
        return None
    stored = weights.meta.get("config", {}).get("targets", {}).get("map_scaling")
    stored = stored or _stored_args(weights).get("map_scaling")  # which only our own exports have
    return stored or PUBLISHED_SCALINGS.get(weights.report.task, "none")


def is_told_apart(weights: Weights) -> bool:
    """Whether the checkpoint itself says which of the tasks it fits it was trained for."""
    return "config" in weights.meta or _stored_args(weights).get("task") in weights.report.fits


def _stored_args(weights: Weights) -> dict[str, Any]:
    return weights.meta.get("original", {}).get("args") or {}


def complete(weights: Weights) -> dict[str, np.ndarray]:
    """All parameters by path, those of `report.new` drawn afresh."""
    report = weights.report
    return {
        **weights.params,
        **fresh_parameters(report.model, report.input_size, report.task, report.new, **weights.head),
    }


def _from_file(
    path: str,
    task: str | None,
    input_size: tuple[int, int] | None,
    model: str | None,
    with_adam: bool,
    progress: Callable[[str], None],
) -> Weights:
    progress(f"reading {path}")
    file = files.read(path)
    kind = detect.recognise(file.tensors, path)
    stored_task = file.args.get("task")  # which only our own exports have
    own_task = _check_purpose(path, kind, task or (stored_task if stored_task in kind.tasks else None), model)
    size = detect.recognise_size(
        file.tensors, file.args, path, None if own_task == "pretrain" else input_size
    )
    shapes = parameter_shapes(kind.model, size, own_task)
    names = {rules.original_name(p, own_task): p for p in shapes}
    names = dict(sorted(names.items(), key=lambda pair: rules.original_order(pair[0])))
    dropped = {name: why for name in file.tensors if (why := rules.dropped(name, own_task))}
    report = _report(path, kind, own_task, size, names)
    report.dropped = dropped
    what = f"{own_task} of {kind.model}"
    problems = strict.differences(
        {name: value for name, value in file.tensors.items() if name not in dropped},
        {name: rules.original_shape(p, shapes[p]) for name, p in names.items()},
    )
    problems += strict.false_copies(file.tensors, dropped, (size[0] // PATCH, size[1] // PATCH))
    strict.refuse(path, what, problems)

    params = {}
    for number, (name, ours) in enumerate(names.items(), 1):
        params[ours] = rules.to_ours(ours, file.tensors[name])
        if not np.isfinite(params[ours]).all():
            problems.append(f"{name} (not finite)")
        progress(f"converted {number} of {len(names)} parameters")
    strict.refuse(path, what, problems)

    adam = None
    if file.optimizer and own_task != "pretrain":
        report.optimizer = "left out: that of fine-tuning is tied to the original's groups"
    elif file.optimizer and with_adam:
        progress("converting the optimizer's state")
        adam = optimizer.from_original(file.optimizer, shapes, path)
        epoch = "" if file.epoch is None else f", epoch {file.epoch}"
        report.optimizer = f"AdamW's moments after {adam.count} steps{epoch}"
    elif file.optimizer:
        report.optimizer = "left out: parameters only"
    groups = (file.optimizer or {}).get("param_groups", [])
    original = {
        "epoch": file.epoch,
        "args": file.args,
        "scaler": file.scaler,
        "groups": [{name: value for name, value in g.items() if name != "params"} for g in groups],
    }
    return Weights(params, report, adam.count if adam else 0, adam, {"original": original})


def _from_folder(path: str, task: str | None, model: str | None, with_adam: bool) -> Weights:
    stored = checkpoint_folder.read(path, with_adam)
    made = stored.meta["config"]
    layers = detect.HEADS.get(made["task"])
    same = (other for other, needed in detect.HEADS.items() if needed == layers)
    kind = detect.Kind(tuple(same) or (made["task"],), made["model"]["name"])
    own_task = _check_purpose(path, kind, task or made["task"], model)
    size, head = tuple(made["model"]["input_size"]), head_options(made["model"])
    shapes = parameter_shapes(kind.model, size, own_task, **head)
    strict.refuse(path, f"{own_task} of {kind.model}", strict.differences(stored.params, shapes))
    report = _report(path, kind, own_task, size, {name: name for name in shapes})
    return Weights(stored.params, report, stored.meta["step"], stored.adam, stored.meta, head)


def _as_head(weights: Weights, task: str, input_size: tuple[int, int], head: Mapping[str, Any]) -> Weights:
    """Pretraining's parameters for a head."""
    old = weights.report
    if not head.get("transformer", True):
        raise InputError(
            f"{old.path} is a pretrained transformer, and with model.transformer=False there is none "
            "to start: leave init_from empty."
        )
    shapes = parameter_shapes(old.model, input_size, task, **head)
    grid, new_grid = (tuple(side // PATCH for side in size) for size in (old.input_size, input_size))
    moved = transfer.to_head(weights.params, grid, task, shapes, new_grid)
    names = {"pos_embed": "encoder/pos_embed", "decoder_pos_embed": "decoder/pos_embed"} | old.mapped
    grids = f"{grid[0]} x {grid[1]} -> {new_grid[0]} x {new_grid[1]} patches"
    report = dataclasses.replace(
        old,
        task=task,
        fits=(task,),
        input_size=input_size,
        mapped={
            name: ours
            for name, ours in names.items()
            if ours in moved.params and ours not in moved.resized + moved.dropped
        },
        resized={name: grids for name, ours in names.items() if ours in moved.resized},
        dropped={name: f"{task} has no use for it" for name, ours in names.items() if ours in moved.dropped},
        new=moved.new,
        optimizer="left out: it belongs to pretraining",
    )
    return Weights(moved.params, report, meta=weights.provenance, head=dict(head))
