"""PyTorch files, read without executing code in them; the only user of torch."""

import argparse
import contextlib
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from hicfm_jax.errors import InputError


def _torch():
    try:
        import torch
    except ImportError as error:
        raise InputError(
            "PyTorch files need PyTorch, which is not installed: pip install 'hicfm_jax[torch]'."
        ) from error
    return torch


def read(path: str | os.PathLike) -> dict[str, Any]:
    """Content of a file of `torch.save`, tensors as arrays, memory-mapped where possible.

    Raises:
      InputError: not such a file, damaged, or with objects other than tensors, plain containers and
        `argparse.Namespace` (which becomes a dict); names the class of the first.
    """
    torch = _torch()
    whole = zipfile.is_zipfile(path)
    with open(path, "rb") as file:
        if not whole and file.read(2) == b"PK":
            raise InputError(f"{path} is cut short: copy or download it again.")
    if whole and (broken := _broken_record(path)):  # torch does not check what it maps
        raise InputError(f"{path} is damaged, its record {broken} has changed: copy or download it again.")
    try:
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # of pickles it is about to refuse
            # Mapped instead of read: a tensor costs memory only while it is converted.
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=whole)
    except Exception as error:  # torch raises a dozen kinds
        name = _forbidden(path, str(error))
        if name:
            raise InputError(
                f"{path} is refused because loading it would call {name}: a checkpoint holds arrays, numbers "
                "and text only, save it again without that object."
            ) from error
        raise InputError(f"{path} is damaged or not a PyTorch checkpoint: give a .pth.tar file.") from error
    if not isinstance(content, Mapping):
        raise InputError(
            f"{path} holds a {type(content).__name__} where a checkpoint is a dict: "
            "give a checkpoint of HiCFoundation."
        )
    try:
        return _to_arrays(content)
    except (TypeError, RuntimeError) as error:
        raise InputError(
            f"{path} holds a tensor that is not a plain array ({error}): save it again as dense floats."
        ) from error


def _broken_record(path: str | os.PathLike) -> str | None:
    """Name of the first record of the zip file whose checksum is wrong."""
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip()
    except (zipfile.BadZipFile, OSError, EOFError, ValueError, NotImplementedError) as error:
        return str(error)


def _forbidden(path: str | os.PathLike, message: str) -> str | None:
    """The class or function because of which torch refused the file."""
    found = re.search(r"GLOBAL ([\w.]+)", message)
    if found:
        return found[1]

    class Stop(pickle.Unpickler):
        def find_class(self, module: str, name: str):
            raise InputError(f"{module}.{name}")

    # It may still be a pickle, if not in torch's format. `find_class` comes before any call.
    with open(path, "rb") as file, contextlib.suppress(Exception):
        try:
            Stop(file).load()
        except InputError as error:
            return str(error)
    return None


def _to_arrays(value: Any) -> Any:
    torch = _torch()
    if isinstance(value, torch.Tensor):
        value = value.detach()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, argparse.Namespace):
        return dict(vars(value))
    if isinstance(value, Mapping):
        return {key: _to_arrays(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_to_arrays(item) for item in value)
    return value


def write(path: str | os.PathLike, content: Mapping[str, Any]) -> None:
    """Writes arrays as tensors and `args` as an `argparse.Namespace`, as the original does.

    Raises:
      OSError: the disk is full or not writable.
    """
    torch = _torch()

    def to_torch(value):
        if isinstance(value, np.ndarray):
            return torch.from_numpy(value)
        if isinstance(value, Mapping):
            return {key: to_torch(item) for key, item in value.items()}
        return value

    content = to_torch(content)
    # Torch ends what it could not write as an archive, and raises an error of that, after the file's.
    with open(path, "wb") as file:
        try:
            torch.save({**content, "args": argparse.Namespace(**content["args"])}, file)
        except RuntimeError as error:
            if isinstance(error.__context__, OSError):
                raise error.__context__ from None
            raise
