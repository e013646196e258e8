"""Files of the original: `.pth.tar` and `.safetensors`."""

import json
import os
import pathlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import safetensors
import safetensors.numpy

from hicfm_jax.checkpoints import single_file
from hicfm_jax.convert import torch_file
from hicfm_jax.errors import InputError, OutputExists
from hicfm_jax.storage import atomic_file, check_space, disk_errors, local_path, parse_json

TORCH_SUFFIXES = (".pth.tar", ".pth", ".pt", ".tar")
SUFFIXES = (*TORCH_SUFFIXES, ".safetensors")


class OriginalFile(NamedTuple):
    """Content of a file: arrays by the original's names, and what is stored of its training.

    `args` are the command line, `epoch` is the last one trained, counted from 0, `optimizer` and `scaler` are
    torch state_dicts, tensors as arrays.
    """

    tensors: Mapping[str, np.ndarray]
    args: Mapping[str, Any] = {}
    epoch: int | None = None
    optimizer: Mapping[str, Any] | None = None
    scaler: Mapping[str, Any] | None = None


def is_original_file(path: str | os.PathLike) -> bool:
    """Whether this is, or by its suffix would be, a file of the original and not a checkpoint of ours."""
    if single_file.find(path):
        return False
    return os.path.isfile(path) or (os.fspath(path).endswith(SUFFIXES) and not os.path.isdir(path))


def read(path: str | os.PathLike) -> OriginalFile:
    """Reads a `.pth.tar` (or `.pth`) or `.safetensors` file.

    The model may be under `model`, under `state_dict` or at the top; names may have DataParallel's prefix.

    Raises:
      InputError: no such file, in a bucket, damaged, of another kind, or with objects other than arrays.
    """
    path = local_path(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: give a .pth.tar or .safetensors file.")
    if path.suffix == ".safetensors":
        tensors, args = _read_safetensors(path)
        return OriginalFile(_named(tensors, path), args)
    content = torch_file.read(path)
    model = next((content[key] for key in ("model", "state_dict") if key in content), content)
    args, epoch, scaler = (content.get(key) for key in ("args", "epoch", "scaler"))
    return OriginalFile(
        tensors=_named(model, path),
        args=args if isinstance(args, Mapping) else {},
        epoch=epoch if isinstance(epoch, int) else None,
        optimizer=_optimizer(content.get("optimizer"), path),
        scaler=scaler if isinstance(scaler, Mapping) else None,
    )


def check_writable(path: str | os.PathLike) -> None:
    """Raises InputError unless the path has one of `SUFFIXES` and does not exist."""
    if os.path.isfile(path):
        raise OutputExists(path)
    if not os.fspath(path).endswith(SUFFIXES) or os.path.isdir(path):
        raise InputError(f"{path} must be a file that ends in .pth.tar or .safetensors, its format.")


def write(path: str | os.PathLike, file: OriginalFile) -> None:
    """Writes the file, whole or not at all; `.safetensors` holds the model and its `args` only."""
    check_writable(path)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    arrays = jax.tree.leaves([dict(file.tensors), file.optimizer])
    check_space(pathlib.Path(path), sum(getattr(each, "nbytes", 0) for each in arrays))
    with disk_errors(path), atomic_file(path) as partial:
        if pathlib.Path(path).suffix == ".safetensors":
            facts = {"format": "pt", "args": json.dumps(dict(file.args), sort_keys=True)}
            safetensors.numpy.save_file(dict(file.tensors), os.fspath(partial), metadata=facts)
        else:
            content = {"model": file.tensors, "optimizer": file.optimizer, "epoch": file.epoch}
            content |= {"scaler": file.scaler, "args": file.args}
            torch_file.write(partial, {name: part for name, part in content.items() if part is not None})


def _read_safetensors(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name, and the `args` that `write` stored (empty in files of other programs)."""
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        args = parse_json(facts.get("args", "{}"))
        return tensors, args if isinstance(args, dict) else {}
    except (safetensors.SafetensorError, RecursionError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is cut short, not a .safetensors file, or has numbers other than float16 or float32 "
            f"({error}): give one that has."
        ) from error


def _optimizer(state: Any, path: str | os.PathLike) -> Mapping[str, Any] | None:
    if state is None or (isinstance(state, Mapping) and state.get("state") == {}):  # before the first step
        return None
    moments = state.get("state") if isinstance(state, Mapping) else None
    if not isinstance(moments, Mapping) or not isinstance(state.get("param_groups"), list):
        raise InputError(f"{path} holds an optimizer that is not torch's AdamW: remove it from the file.")
    return state


def _named(model: Any, path: str | os.PathLike) -> dict[str, np.ndarray]:
    if not isinstance(model, Mapping) or not model:
        raise InputError(f"{path} holds no parameters by name: give a checkpoint of HiCFoundation.")
    strange = [
        name
        for name, value in model.items()
        if not isinstance(name, str) or not isinstance(value, np.ndarray) or value.dtype.kind != "f"
    ]
    if strange:
        raise InputError(
            f"{path} holds {', '.join(map(repr, strange[:10]))} where a model has arrays of floats under "
            "names: give a checkpoint of HiCFoundation."
        )
    prefix = "module." if all(name.startswith("module.") for name in model) else ""
    return {name.removeprefix(prefix): value for name, value in model.items()}
