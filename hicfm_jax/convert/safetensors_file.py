"""Reading and writing `.safetensors`: arrays by name and nothing that could run."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from hicfm_jax.errors import InputError


def _library():
    try:
        import safetensors.numpy
    except ImportError as error:
        raise InputError(
            ".safetensors files need safetensors, which is not installed: pip install -e '.[torch]'."
        ) from error
    return safetensors


def read(path: str | os.PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays by name, and the `args` that `write` stored (empty in files of other programs).

    Raises:
      InputError: damaged, another kind of file, or a type that NumPy does not have.
    """
    library = _library()
    try:
        with library.safe_open(path, framework="numpy") as file:
            facts = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return tensors, json.loads(facts.get("args", "{}"))
    except (library.SafetensorError, TypeError, ValueError) as error:
        raise InputError(
            f"{path} is cut short, not a .safetensors file, or holds other numbers than float16 or float32 "
            f"({error}): give one that does."
        ) from error


def write(path: str | os.PathLike, tensors: Mapping[str, np.ndarray], args: Mapping[str, Any]) -> None:
    """Writes arrays, and `args` as JSON in the file's header."""
    facts = {"format": "pt", "args": json.dumps(dict(args), sort_keys=True)}
    _library().numpy.save_file(dict(tensors), os.fspath(path), metadata=facts)
