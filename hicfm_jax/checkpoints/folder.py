"""Checkpoint folders of this project: choosing a step, reading, writing."""

import math
import os
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from hicfm_jax.checkpoints import single_file
from hicfm_jax.checkpoints.checksums import check_digest, sealed
from hicfm_jax.errors import InputError
from hicfm_jax.storage import (
    atomic_folder,
    check_new_folder,
    check_space,
    disk_errors,
    in_bucket,
    parse_json,
)

# Folder of a workdir with one folder per step: `params`, `meta`, and `training` (of a run) or `adam`.
FOLDER = "checkpoints"
BEST_METRIC = "loss"  # of validation, chooses the best step; lower is better


class Adam(NamedTuple):
    """State of AdamW: means of gradients (mu) and of their squares (nu) by path, and steps taken."""

    mu: dict[str, np.ndarray]
    nu: dict[str, np.ndarray]
    count: int


class Stored(NamedTuple):
    """A checkpoint in host memory: the folder of its step, arrays by path, metadata, AdamW's moments if any.

    The metadata have `step`, `config` (at least `task`, `model.name`, `model.input_size`), ...
    """

    folder: epath.Path
    params: dict[str, np.ndarray]
    meta: dict[str, Any]
    adam: Adam | None


def absolute(path: str | os.PathLike) -> epath.Path:
    """The absolute path; one in a bucket (gs://...) is absolute already, and epath would make it local."""
    path = epath.Path(path)
    return path if in_bucket(path) else path.absolute()


def step_folder(path: str | os.PathLike) -> epath.Path:
    """The folder of one checkpoint.

    Args:
      path: that folder itself; or a workdir or its folder `checkpoints`, where `@best`, `@last` or `@STEP`
        may follow. Default: the step with the lowest validation loss, or the last where no step has one.
        Or a checkpoint in one file, which is returned.

    Raises:
      InputError: there is no such checkpoint; lists the steps there are.
    """
    return _choose(path)[0]


def chosen_step(path: str | os.PathLike) -> tuple[int, str]:
    """The step that `step_folder` takes, and why: `(800, "lowest validation loss 0.588")`."""
    folder, reason = _choose(path)
    return int(folder.name if folder.name.isdigit() else read_meta(folder).get("step", 0)), reason


def _choose(path: str | os.PathLike) -> tuple[epath.Path, str]:
    if file := single_file.find(path):
        packaged = file.parent == single_file.PACKAGED
        return epath.Path(file), "it comes with the package" if packaged else "the one given"
    root, suffix = absolute(path), None
    match = re.fullmatch(r"(.+)@([^@/]*)", os.fspath(path))
    if match and not root.exists():
        root, suffix = absolute(match[1]), match[2]
    elif (root / "params").is_dir():
        return root, "the one given"
    folder = root / FOLDER if (root / FOLDER).is_dir() else root
    if not folder.is_dir():
        single_file.check_spelling(path)
        raise InputError(
            f"{root} is not a folder: give a workdir, one of its checkpoints, or a network of the "
            f"package: {' or '.join(single_file.packaged_names())}."
        )
    # Not by the names of the folders, which in a bucket unfinished checkpoints have as well.
    steps = sorted(ocp.utils.checkpoint_steps(folder))
    if not steps:
        raise InputError(f"{root} holds no checkpoint: give a workdir or one of its checkpoints.")
    if suffix is None and len(steps) == 1:
        return folder / str(steps[0]), "the only step"
    if suffix == "last":
        return folder / str(steps[-1]), "the last step"
    if suffix in (None, "best"):
        losses = {step: _validation_loss(folder / str(step)) for step in steps}
        # Of equal losses the later one, as training does when it decides which to keep.
        best = min(steps, key=lambda step: (losses[step], -step))
        if losses[best] < math.inf:
            return folder / str(best), f"lowest validation loss {losses[best]:.4g}"
        if suffix is None:
            return folder / str(steps[-1]), "the last step, no step has a validation loss"
    elif suffix.isdecimal() and int(suffix) in steps:
        return folder / str(int(suffix)), "the step given"
    problem = "none with a validation loss" if suffix == "best" else f"none at {suffix!r}"
    listed = ", ".join(map(str, steps))
    raise InputError(f"{root} holds checkpoints at steps {listed} but {problem}: give @last or @STEP.")


def _validation_loss(folder: epath.Path) -> float:
    loss = (read_meta(folder).get("validation") or {}).get(BEST_METRIC)
    return loss if isinstance(loss, (int, float)) and math.isfinite(loss) else math.inf


def is_converted(workdir: str | os.PathLike) -> bool:
    """Whether the last checkpoint of a workdir was converted, and not trained since."""
    return "original" in read_meta(f"{os.fspath(workdir)}@last")


def read_meta(path: str | os.PathLike) -> dict[str, Any]:
    """Metadata of a checkpoint, {} if there are none; `path` as for `step_folder`."""
    try:
        return checked_meta(step_folder(path))
    except (InputError, OSError, ValueError):  # `read` reports damage
        return {}


_MAPS = {str: {
    "resolution": int, "longest": [int], "bins?": (int, type(None)), "trans?": bool, "simulated?": bool,
}}  # fmt: skip
_META = {
    "step?": int, "validation?": {"loss?": (int, float, type(None))}, "original?": dict, "digest?": dict,
    "unknown?": [str], "untrained?": [str], "seen?": {str: {str: [str]}},
    "total_counts?": {str: (int, float)},
    "maps?": _MAPS, "seen_maps?": _MAPS,
    "config?": {
        "task": str, "model": {"name": str, "input_size": [int], "tracks?": [str]}, "targets?": dict,
        "data?": {"thin?": [(int, float)], "split?": [(int, float)], "cutoff?": (int, float)},
    },
}  # fmt: skip
"""What is used of the metadata, as for `_misfit`."""


def checked_meta(folder: epath.Path) -> dict[str, Any]:
    """Metadata of a checkpoint, a folder or a file; ValueError for content of another form than `_META`."""
    if folder.is_file():
        meta = single_file.read_file(folder)[0]
    else:
        meta = parse_json((folder / "meta" / "metadata").read_text())
    if wrong := _misfit(meta, _META, "content"):
        raise ValueError(f"its metadata have {wrong}")
    return meta


def _misfit(value: Any, form: Any, name: str) -> str:
    """The first part of a JSON value that differs from a form, "" if none does.

    A form is a type or several, a list with the form of all entries, or a dict with the forms of its entries:
    by key, by `key?` where it may be missing, or by `str` for all.
    """
    if isinstance(form, dict) and isinstance(value, dict):
        missing = [key for key in form if key is not str and not key.endswith("?") and key not in value]
        inner = ((key, form.get(key, form.get(f"{key}?", form.get(str, object)))) for key in value)
        found = (_misfit(value[key], each, key) for key, each in inner)
        return f"no {missing[0]}" if missing else next(filter(None, found), "")
    if isinstance(form, list) and isinstance(value, list):
        return next(filter(None, (_misfit(each, form[0], name) for each in value)), "")
    kinds = form if isinstance(form, type | tuple) else type(form)
    return "" if isinstance(value, kinds) else f"the {name} {str(value)[:60]!r}"


def read(path: str | os.PathLike, with_adam: bool = False) -> Stored:
    """Reads a checkpoint, with AdamW's moments on request, into host memory.

    Raises:
      InputError: there is none (see `step_folder`), or it cannot be read.
    """
    folder = step_folder(path)
    moments = [name for name in ("adam", "training") if with_adam and (folder / name).is_dir()]
    try:
        meta = checked_meta(folder)
        if folder.is_file():
            items = {"params": unflatten_dict(single_file.read_file(folder)[1], sep="/")}
        else:
            items = {name: _arrays(folder / name) for name in ["params", *moments]}
        check_digest(meta, **items)
    except Exception as error:  # Orbax raises many kinds for damaged files
        raise InputError(
            f"The checkpoint {folder} cannot be read ({error}): give another workdir or checkpoint."
        ) from error
    if "config" not in meta:
        raise InputError(
            f"The checkpoint {folder} has no config, which older versions of this program did not store: "
            "train again, or give another."
        )
    return Stored(folder, flatten_dict(items["params"], sep="/"), meta, _adam(items))


def _arrays(item: epath.Path) -> Any:
    handler = ocp.PyTreeCheckpointHandler()
    as_numpy = jax.tree.map(
        lambda _: ocp.RestoreArgs(restore_type=np.ndarray), dict(handler.metadata(item).tree)
    )
    return handler.restore(item, args=ocp.args.PyTreeRestore(restore_args=as_numpy))


def _adam(items: Mapping[str, Any]) -> Adam | None:
    states = [items["adam"]] if "adam" in items else items.get("training", {}).get("opt_state", [])
    for state in states:
        if isinstance(state, dict) and {"mu", "nu", "count"} <= state.keys():
            moments = (flatten_dict(state[name], sep="/") for name in ("mu", "nu"))
            return Adam(*moments, int(state["count"]))
    return None


def write(
    path: str | os.PathLike,
    step: int,
    params: Mapping[str, np.ndarray],
    adam: Adam | None,
    meta: Mapping[str, Any],
) -> None:
    """Makes a workdir with one checkpoint, whole or not at all; arguments see `Stored`.

    Raises:
      InputError: see `storage.check_new_folder`.
      OSError: the disk is full or not writable.
    """
    check_new_folder(path)
    folder = absolute(path)
    arrays = {"params": unflatten_dict(params, sep="/")}
    if adam:
        moments = {name: unflatten_dict(getattr(adam, name), sep="/") for name in ("mu", "nu")}
        arrays["adam"] = {**moments, "count": np.int32(adam.count)}
    items = {name: ocp.args.PyTreeSave(tree) for name, tree in arrays.items()}
    items["meta"] = ocp.args.JsonSave(sealed({"step": step, **meta}, **arrays))
    with disk_errors(folder), atomic_folder(folder) as partial:
        check_space(folder, sum(array.nbytes for array in jax.tree.leaves(arrays)))
        # Weights hardly compress; trying takes longer and twice the memory.
        handlers = {name: ocp.PyTreeCheckpointHandler(use_compression=False) for name in arrays}
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler("meta", **handlers)) as checkpointer:
            checkpointer.save(partial / FOLDER / str(step), args=ocp.args.Composite(**items), force=True)


def write_file(path: str | os.PathLike, output: str | os.PathLike) -> None:
    """Makes one file of a checkpoint, without AdamW's moments and without paths of this machine.

    Raises:
      InputError: see `read`; the output exists, or has another suffix than `single_file.SUFFIX`.
    """
    stored = read(path)
    meta = {name: value for name, value in stored.meta.items() if name != "digest"}
    config = {**meta["config"], "init_from": ""}
    if "data" in config:
        config["data"] = {**config["data"], "tiles": ""}
    single_file.write_file(output, stored.params, {**meta, "config": config})
