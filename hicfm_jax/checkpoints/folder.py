"""Checkpoint folders of this project, read and written without the training loop."""

import json
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import orbax.checkpoint as ocp
from etils import epath
from flax.traverse_util import flatten_dict, unflatten_dict

from hicfm_jax.checkpoints.checksums import check_digest, sealed
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_folder, in_bucket, local_path

FOLDER = "checkpoints"
"""Folder of a workdir with one folder a step: `params`, `meta`, and `training` (of a run) or `adam`."""


class Adam(NamedTuple):
    """State of AdamW.

    Attributes:
      mu, nu: means of gradients and of their squares, by parameter path.
      count: optimizer steps taken.
    """

    mu: dict[str, np.ndarray]
    nu: dict[str, np.ndarray]
    count: int


class Stored(NamedTuple):
    """A checkpoint as it lies on disk.

    Attributes:
      folder: of its step.
      params: arrays by path.
      meta: `step`, `config` (at least `task`, `model.name`, `model.input_size`), ...
      adam: AdamW's moments, if any.
    """

    folder: epath.Path
    params: dict[str, np.ndarray]
    meta: dict[str, Any]
    adam: Adam | None


def absolute(path: str | os.PathLike) -> epath.Path:
    """The path from the root on; one in a bucket (gs://...) is so already, and epath would make it local."""
    path = epath.Path(path)
    return path if in_bucket(path) else path.absolute()


def step_folder(path: str | os.PathLike) -> epath.Path:
    """The checkpoint meant by a workdir (the newest), its `checkpoints` folder, or one step's folder.

    Raises:
      InputError: there is none.
    """
    path = absolute(path)
    if (path / "params").is_dir():
        return path
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not folder.is_dir():
        raise InputError(f"{path} is not a folder: give a workdir or one of its checkpoints.")
    # Not by their names, which in a bucket those that are still being written have as well.
    steps = ocp.utils.checkpoint_steps(folder)
    if not steps:
        raise InputError(f"{path} holds no checkpoint: give a workdir or one of its checkpoints.")
    return folder / str(max(steps))


def is_converted(path: str | os.PathLike) -> bool:
    """Whether the newest checkpoint of a workdir is one that was converted and not trained since."""
    return "original" in read_meta(path)


def read_meta(path: str | os.PathLike) -> dict[str, Any]:
    """What a checkpoint says of itself, {} for one that says nothing; `path` as for `step_folder`."""
    try:
        return json.loads((step_folder(path) / "meta" / "metadata").read_text())
    except (InputError, OSError, ValueError):  # damage is told by what reads the checkpoint
        return {}


def read(path: str | os.PathLike, with_adam: bool = False) -> Stored:
    """Reads a checkpoint into host memory, whatever devices it was saved from.

    Args:
      path: see `step_folder`.
      with_adam: read the optimizer's moments too, which are twice as large as the parameters.

    Raises:
      InputError: there is none, or it cannot be read.
    """
    folder = step_folder(path)
    try:
        meta = json.loads((folder / "meta" / "metadata").read_text())
        items = {name: _arrays(folder / name) for name in _items(folder, with_adam)}
        check_digest(meta, **items)
    except Exception as error:  # whatever a damaged file makes Orbax raise
        raise InputError(
            f"The checkpoint {folder} cannot be read ({error}): give another workdir or checkpoint."
        ) from error
    if "config" not in meta:
        raise InputError(
            f"The checkpoint {folder} does not say what was trained: it is of an earlier version of this "
            "program; train again, or give another."
        )
    return Stored(folder, flatten_dict(items["params"], sep="/"), meta, _adam(items))


def _items(folder: epath.Path, with_adam: bool) -> list[str]:
    moments = [name for name in ("adam", "training") if with_adam and (folder / name).is_dir()]
    return ["params", *moments]


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


def check_free(path: str | os.PathLike) -> None:
    """Refuses a folder that holds something already.

    Raises:
      InputError: it is not empty, a file, or in a bucket.
    """
    path = local_path(path)
    if os.path.lexists(path) and not (os.path.isdir(path) and not os.listdir(path)):
        raise InputError(f"{path} exists already: give the name of a folder that is still to be made.")


def write(
    path: str | os.PathLike,
    step: int,
    params: Mapping[str, np.ndarray],
    adam: Adam | None,
    meta: Mapping[str, Any],
) -> None:
    """Makes a workdir with one checkpoint, whole or not at all.

    Args:
      path: folder to make.
      step: optimizer steps that made the parameters.
      params: arrays by path.
      adam: AdamW's moments; training goes on from them.
      meta: at least `config` with `task`, `model.name` and `model.input_size`.

    Raises:
      InputError: the folder holds something already.
    """
    check_free(path)
    folder = absolute(path)
    arrays = {"params": unflatten_dict(params, sep="/")}
    if adam:
        moments = {name: unflatten_dict(getattr(adam, name), sep="/") for name in ("mu", "nu")}
        arrays["adam"] = {**moments, "count": np.int32(adam.count)}
    items = {name: ocp.args.PyTreeSave(tree) for name, tree in arrays.items()}
    items["meta"] = ocp.args.JsonSave(sealed({"step": step, **meta}, **arrays))
    with atomic_folder(folder) as partial:
        # Weights hardly compress; trying takes longer and twice the memory.
        handlers = {name: ocp.PyTreeCheckpointHandler(use_compression=False) for name in arrays}
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler("meta", **handlers)) as checkpointer:
            checkpointer.save(partial / FOLDER / str(step), args=ocp.args.Composite(**items), force=True)
