"""Loading of checkpoints for a task, and conversion of the original's files."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from hicfm_jax.checkpoints import folder, weights
from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.checkpoints.weights import Report, Weights
from hicfm_jax.convert import detect, files, names, optimizer
from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import check_new_folder
from hicfm_jax.types import PATCH


def load_torch_checkpoint(
    path: str | os.PathLike, task: str | None = None, input_size: tuple[int, int] | None = None
) -> tuple[dict[str, Any], Report]:
    """Parameters of a file of the original, for `create_model(report.model, report.input_size, task)`.

    Returns a nested dict of float32 arrays, and the account of every name. Parameters that the file lacks are
    drawn at random and listed in `report.new`. Arguments and errors as of `load_weights`.
    """
    found = load_weights(path, task, input_size)
    return unflatten_dict(found.complete(), sep="/"), found.report


def load_weights(
    path: str | os.PathLike,
    task: str | None = None,
    input_size: tuple[int, int] | None = None,
    model: str | None = None,
    *,
    head: Mapping[str, Any] | None = None,
    with_adam: bool = False,
    progress: NullProgress | None = None,
) -> Weights:
    """Reads a checkpoint of this project or a file of the original.

    Args:
      path: workdir or checkpoint, `@best`, `@last` or `@STEP` may follow, see `folder.step_folder`; or a
        `.pth.tar` or `.safetensors` file.
      task: to use them for; None: their own. Pretraining serves every task, a head only its own.
      input_size: windows in bins (H, W) of a head; None: those it was trained on.
      model: key of `models.PRESETS` that it must be; None: any.
      head: `models.presets.head_options` of a head to be made of pretraining.
      with_adam: read the moments of AdamW too, which are twice as large as the parameters.
      progress: shows which step was chosen, and why.

    Raises:
      InputError: no such folder or file, damaged, with names, shapes or values that do not fit (all are
        listed), or for another task, size or model.
    """
    path, progress = os.fspath(path), progress or NullProgress()
    if files.is_original_file(path):
        found = _read_original(path, task, input_size, model, with_adam, progress)
    else:
        found = weights.read_weights(path, task, model, with_adam, progress)
    return weights.for_task(found, task, input_size, head)


def _read_original(
    path: str,
    task: str | None,
    input_size: tuple[int, int] | None,
    model: str | None,
    with_adam: bool,
    progress: NullProgress,
) -> Weights:
    file = files.read(path)
    fits, holds = detect.recognize(file.tensors, path)
    stored_task = file.args.get("task")  # which only our own exports have
    own = task or (stored_task if stored_task in fits else None)
    own = weights.check_purpose(path, fits, holds, own, model)
    size = detect.recognize_size(file.tensors, file.args, path, None if own == "pretrain" else input_size)
    # Only our own exports name their tracks.
    options = {"tracks": tuple(file.args["tracks"])} if own == "epigenome" and "tracks" in file.args else {}
    shapes = parameter_shapes(holds, size, own, **options)
    named = {names.original_name(ours, own): ours for ours in shapes}
    named = dict(sorted(named.items(), key=lambda pair: names.original_order(pair[0])))
    report = Report(path, own, fits, holds, size, source=own, mapped=named)
    report.dropped = {name: why for name in file.tensors if (why := names.dropped(name, own))}
    what = f"{own} of {holds}"
    problems = weights.differences(
        {name: value for name, value in file.tensors.items() if name not in report.dropped},
        {name: names.original_shape(ours, shapes[ours]) for name, ours in named.items()},
    )
    problems += _false_copies(file.tensors, report.dropped, (size[0] // PATCH, size[1] // PATCH))
    weights.refuse(path, what, problems)

    params = {}
    progress.start(len(named), "parameters")
    for name, ours in named.items():
        params[ours] = names.to_ours(ours, file.tensors[name])
        if not np.isfinite(params[ours]).all():
            problems.append(f"{name} (not finite)")
        progress.advance(1, name)
    progress.close()
    weights.refuse(path, what, problems)

    adam = None
    if file.optimizer and own != "pretrain":
        report.optimizer = "left out: that of fine-tuning is tied to the original's groups"
    elif file.optimizer and with_adam:
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
    return Weights(params, report, adam.count if adam else 0, adam, {"original": original}, options)


def _false_copies(
    tensors: Mapping[str, np.ndarray], dropped: Mapping[str, str], grid: tuple[int, int]
) -> list[str]:
    """Names left out as copies or fixed tables that are not what they should be."""
    problems = []
    for name in dropped:
        value = tensors[name]
        if name in ("pos_embed", "decoder_pos_embed"):
            extra = int(name == "pos_embed")
            fits = value.ndim == 3 and value.shape[1] == grid[0] * grid[1] + extra
            if not (fits and detect.is_fixed_table(value[0, extra:], grid)):
                problems.append(f"{name} (not the fixed table of {grid[0]} x {grid[1]} patches)")
        elif name.startswith("patch_embed") and not np.array_equal(
            value, tensors.get(f"vit_backbone.{name}", value)
        ):
            problems.append(f"{name} (differs from vit_backbone.{name}, which it should repeat)")
    return problems


def convert_to_folder(
    source: str | os.PathLike,
    output: str | os.PathLike,
    task: str | None = None,
    input_size: tuple[int, int] | None = None,
    model: str | None = None,
    progress: NullProgress | None = None,
) -> Report:
    """Makes a workdir that training and inference take: parameters, moments of AdamW, step.

    Arguments as of `load_weights`. Returns the account of every name.

    Raises:
      InputError: see `load_weights`; the output exists already; the parameters serve several tasks and
        neither `task` nor the file says which. Nothing is written.
    """
    check_new_folder(output)
    found = load_weights(source, task, input_size, model, with_adam=True, progress=progress)
    report, args = found.report, found.stored_args
    if not (task or len(report.fits) == 1 or "config" in found.meta or args.get("task") in report.fits):
        raise InputError(
            f"The parameters in {source} serve {', '.join(report.fits)}, and nothing in the file says which "
            "they were trained for: give --task."
        )
    model_config = {"name": report.model, "input_size": report.input_size, **found.head}
    config = {"task": report.task, "model": model_config}
    if found.map_scaling is not None:
        config["targets"] = {"map_scaling": found.map_scaling}
    meta = {
        "config": config,
        # The stored command line may hold objects that JSON cannot.
        "original": json.loads(json.dumps(found.meta.get("original", {}), default=str)),
        **found.provenance,
    }
    if report.new:
        meta["untrained"] = report.new
    folder.write(output, found.step, found.complete(), found.adam, meta)
    return report
