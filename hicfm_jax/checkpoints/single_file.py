"""Checkpoints in one `.safetensors` file, and those that come with the package."""

import difflib
import json
import os
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from hicfm_jax.errors import InputError, OutputExists
from hicfm_jax.storage import atomic_file, parse_json

SUFFIX = ".safetensors"
PACKAGED = pathlib.Path(__file__).parents[1] / "pretrained"
"""Folder of the networks that come with the package, each with a card, `NAME.md`."""

_KEY = "hicfm_jax"  # in the file's metadata: those of the checkpoint as JSON


def packaged_names() -> list[str]:
    """Names of the networks that come with the package, each of which may be given as a checkpoint."""
    return sorted(path.stem for path in PACKAGED.glob(f"*{SUFFIX}"))


def check_spelling(path: str | os.PathLike) -> None:
    """Raises InputError for a path that does not exist and is almost the name of a packaged network."""
    name = re.split("::|@", os.fspath(path))[0]
    near = difflib.get_close_matches(name.lower(), packaged_names(), 1)
    if near and not os.path.exists(path) and not os.path.exists(name):
        raise InputError(f"There is no checkpoint {name}: did you mean {near[0]}?")


def find(path: str | os.PathLike) -> pathlib.Path | None:
    """The file of a checkpoint of this project, given by path or by its name in the package; else None.

    A file of the original has the same suffix and is none. A name of the package comes before a file of
    that name, which is `./NAME`.
    """
    name = os.fspath(path)
    if name in packaged_names():
        return PACKAGED / f"{name}{SUFFIX}"
    return pathlib.Path(name) if name.endswith(SUFFIX) and _facts(name) is not None else None


def _facts(path: str | os.PathLike) -> str | None:
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            return (file.metadata() or {}).get(_KEY)
    except (OSError, safetensors.SafetensorError):
        return None  # a reader of such files names what is wrong


def read_file(path: pathlib.Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Metadata, and parameters by path, of a file that `find` has found."""
    return parse_json(_facts(path) or "{}"), safetensors.numpy.load_file(path)


def write_file(path: str | os.PathLike, params: Mapping[str, np.ndarray], meta: Mapping[str, Any]) -> None:
    """Writes parameters by path and metadata with checksums, whole or not at all.

    Raises:
      InputError: the file has another suffix, or exists.
    """
    if not os.fspath(path).endswith(SUFFIX):
        raise InputError(f"{path} does not end in {SUFFIX}: choose another name.")
    if os.path.exists(path):
        raise OutputExists(path)
    os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    # Only here: JAX takes seconds to import.
    from flax.traverse_util import unflatten_dict

    from hicfm_jax.checkpoints.checksums import sealed

    facts = {_KEY: json.dumps(sealed(meta, params=unflatten_dict(params, sep="/")), sort_keys=True)}
    arrays = {name: np.ascontiguousarray(value) for name, value in params.items()}
    with atomic_file(path) as partial:
        partial.write_bytes(safetensors.numpy.save(arrays, metadata=facts))  # its own files are private
