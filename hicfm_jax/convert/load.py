"""Loading of checkpoints for a task, also of the original's files."""

import collections
import json
import math
import os
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import unflatten_dict

from hicfm_jax.checkpoints import folder, weights
from hicfm_jax.checkpoints.parameters import HEAD_LAYERS, parameter_shapes
from hicfm_jax.checkpoints.weights import Report, Weights
from hicfm_jax.convert import files, names, optimizer
from hicfm_jax.errors import InputError
from hicfm_jax.models.presets import find_preset
from hicfm_jax.models.vit import sincos_2d
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
    fits, holds = recognize(file.tensors, path)
    stored_task = file.args.get("task")  # which only our own exports have
    own = task or (stored_task if stored_task in fits else None)
    own = weights.check_purpose(path, fits, holds, own, model)
    size = recognize_size(file.tensors, file.args, path, None if own == "pretrain" else input_size)
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
            if not (fits and is_fixed_table(value[0, extra:], grid)):
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


# Layers after the decoder: the original's name -> ours.
_LAYERS = {
    "decoder_map": "map_head",
    "map_block": "track_head",
    "map_blocks": "track_heads",
    "decoder_pred": "pixel_head",
}
TABLE_ERROR = 5e-3  # of a position table in bfloat16, for numbers up to 1


def recognize(tensors: Mapping[str, np.ndarray], path: str) -> tuple[tuple[str, ...], str]:
    """The tasks that have the parameters of a file, and its model (key of `models.PRESETS`).

    Raises:
      InputError: no HiCFoundation model, or a size without a preset.
    """
    head = any(name.startswith("vit_backbone.") for name in tensors)
    encoder = "vit_backbone." if head else ""
    widths = _width(tensors, f"{encoder}norm"), _width(tensors, "decoder_norm")
    depths = _depth(tensors, f"{encoder}blocks"), _depth(tensors, "decoder_blocks")
    if 0 in depths + widths:
        raise InputError(
            f"{path} has no encoder and decoder under the original's names: "
            "give a checkpoint of HiCFoundation."
        )
    layers = {name.split(".")[0] for name in tensors} & set(_LAYERS)
    tasks = tuple(
        task for task, needed in HEAD_LAYERS.items() if needed == {_LAYERS[name] for name in layers}
    )
    if head and not tasks:
        raise InputError(
            f"{path} has the layers {', '.join(sorted(layers))} after its decoder, a combination that no "
            "task has: give a checkpoint of HiCFoundation."
        )
    return tasks if head else ("pretrain",), find_preset(path, widths, depths)


def _depth(tensors: Mapping[str, np.ndarray], blocks: str) -> int:
    found = (re.match(rf"{re.escape(blocks)}\.(\d+)\.", name) for name in tensors)
    numbers = collections.Counter(match[1] for match in found if match)
    # A single name under a number is a misspelt one, to be listed as unexpected, and not a block.
    return sum(count > 1 for count in numbers.values())


def _width(tensors: Mapping[str, np.ndarray], norm: str) -> int:
    sizes = [np.size(tensors[name]) for name in (f"{norm}.weight", f"{norm}.bias") if name in tensors]
    return sizes[-1] if sizes else 0


def recognize_size(
    tensors: Mapping[str, np.ndarray], args: Mapping[str, Any], path: str, given: tuple[int, int] | None
) -> tuple[int, int]:
    """Window (H, W) in bins, from the position tables.

    The stored command line `args` is used only where it agrees with the shapes of the tensors; the size that
    the caller gives decides where they are ambiguous.

    Raises:
      InputError: the size given does not agree with the tables, or they are ambiguous.
    """
    table = _table(tensors)
    if table is None:
        raise InputError(
            f"{path} has neither pos_embed nor decoder_pos_embed, which give the size of its windows: "
            "give a checkpoint of HiCFoundation."
        )
    patches = len(table)
    if given and given[0] * given[1] != patches * PATCH**2:
        raise InputError(
            f"{path} was trained on windows of {patches} patches of {PATCH} x {PATCH} bins, and a head is "
            f"never resized: {given[0]} x {given[1]} bins cannot be its windows, so give their size or none."
        )
    stored = (args.get("input_row_size"), args.get("input_col_size"))
    stored = [side // PATCH if isinstance(side, int) else 0 for side in stored]
    likely = [(given[0] // PATCH, given[1] // PATCH)] if given else []
    likely += [tuple(stored), (math.isqrt(patches),) * 2]
    likely = [grid for grid in likely if math.prod(grid) == patches]
    possible = [(rows, patches // rows) for rows in range(1, patches + 1) if patches % rows == 0]
    fixed = [grid for grid in likely + possible if is_fixed_table(table, grid)]
    for rows, columns in likely[:1] if given else fixed + likely:
        return rows * PATCH, columns * PATCH
    raise InputError(
        f"{path} was trained on windows of {patches} patches but does not give their two sides: "
        "give --input_size=ROWS,COLUMNS in bins."
    )


def _table(tensors: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """A position table `[L, D]` of the file; the decoder's where there is one, which often is fixed."""
    for name, norm, extra in (
        ("decoder_pos_embed", "decoder_norm", 0),
        ("decoder_pos_embed_new", "decoder_norm", 0),
        ("pos_embed", "norm", 1),
        ("vit_backbone.pos_embed", "vit_backbone.norm", 1),
    ):
        shape = np.shape(tensors.get(name, 0))
        if len(shape) == 3 and shape[1] > extra and shape[2] == _width(tensors, norm):
            return tensors[name][0, extra:]
    return None


def is_fixed_table(table: np.ndarray, grid: tuple[int, int]) -> bool:
    """Whether `[L, D]` is the sine-cosine table of a grid of patches."""
    return bool(np.abs(table - sincos_2d(*grid, table.shape[1])).max() <= TABLE_ERROR)
