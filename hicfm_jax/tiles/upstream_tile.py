"""Conversion between one pickled tile of the original and our records."""

import copyreg
import math
import os
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.formats import pickles
from hicfm_jax.errors import InputError
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, NO_DIAGONAL

TARGETS = {"target_map": "2d_target", "target_track": "1d_target", "target_embedding": "embed_target"}
"""Field of our records -> key of the original's dicts."""

_MAX_PIXELS = 1 << 24  # a damaged file may claim any shape
_MAX_VALUE = 1e30  # what is stored is float32, the sum of a tile too


def read_tile(path: str | os.PathLike, assay: str) -> dict[str, Any]:
    """Reads a pickled tile of the original (`Pretrain_Dataset`, `Finetune_Dataset`).

    NaN becomes 0, as in the original. Only files of `write_tile` have `chromosomes` and `starts`; for
    others these are empty and 0, and a diagonal that does not cross the tile means none.

    Args:
      path: file with a dict of `input` and optionally `input_count`, `diag` and targets.
      assay: name of the tile's map.

    Returns:
      The record with the fields of `memory.ArrayTiles`; `counts` `[H, W]` is float64 in any case.

    Raises:
      InputError: the file is not such a tile.
    """
    content = pickles.load(path)
    if not isinstance(content, dict) or "input" not in content:
        found = (
            f"the keys {sorted(map(str, content))}" if isinstance(content, dict) else type(content).__name__
        )
        raise InputError(f"{path} has {found}, but a tile is a dict with the key 'input': remove the file.")
    counts = _numbers(content["input"], "input", path)
    if counts.ndim != 2 or not counts.size:
        raise InputError(
            f"{path}: input has the shape {counts.shape}, but a tile has rows and columns: make it again."
        )
    if counts.min() < 0:
        raise InputError(f"{path}: input has {counts.min():g}, but contacts are 0 or more: make it again.")
    matrix_count = counts.sum()
    place = _place(content, path, matrix_count)
    diag = _scalar(content, "diag", path, NO_DIAGONAL)
    if diag != int(diag):
        raise InputError(f"{path}: diag is {diag:g}, but should be a whole number of pixels or None.")
    if abs(diag) >= (max(counts.shape) if place is None else NO_DIAGONAL):
        diag = NO_DIAGONAL
    total_count = _scalar(content, "input_count", path, DEFAULT_TOTAL_COUNT)
    if total_count <= 0:
        raise InputError(f"{path}: input_count is {total_count:g}, but should be positive or None.")
    record = {
        "counts": counts,
        "diag": np.int32(diag),
        "total_count": np.float32(total_count),
        "matrix_count": np.float32(matrix_count),
        "chromosomes": ["", ""],
        "starts": np.zeros(2, np.int32),
        "assay": assay,
    }
    record |= place or {}
    shapes = {"target_map": counts.shape, "target_track": counts.shape[:1], "target_embedding": None}
    for field, key in TARGETS.items():
        if content.get(key) is None:
            continue
        target = _numbers(content[key], key, path)
        if target.shape != shapes[field] if shapes[field] else target.ndim != 1:
            expected = shapes[field] or "(D,), one dimension"
            raise InputError(f"{path}: {key} has the shape {target.shape}, expected {expected}.")
        record[field] = target.astype(np.float32)
    return record


def write_tile(path: str | os.PathLike, record: Mapping[str, Any]) -> None:
    """Writes a record as a tile that the original reads, in its own old environment too.

    Counts become COO with both triangles in float64, the only type that the original takes. The keys
    below `diag` are for `read_tile`; the original ignores them.
    """
    diag = int(record["diag"])
    content = {
        "input": scipy.sparse.coo_matrix(record["counts"].astype(np.float64)),
        "input_count": float(record["total_count"]),
        "diag": None if diag == NO_DIAGONAL else diag,
        "chromosomes": [str(name) for name in record["chromosomes"]],
        "starts": [int(start) for start in record["starts"]],
        "matrix_count": float(record["matrix_count"]),
    }
    content |= {key: np.asarray(record[field]) for field, key in TARGETS.items() if field in record}
    with open(path, "wb") as file:
        _PortablePickler(file, protocol=4).dump(content)


class _PortablePickler(pickle._Pickler):
    """Writes arrays in the form of numpy 1 and scipy 1.8, which cannot read today's form.

    The pickler in Python, because the one in C does not allow other names for classes.
    """

    def save_global(self, obj, name=None):
        module = getattr(obj, "__module__", None)
        if module != "numpy._core.multiarray":
            return super().save_global(obj, name)
        self.write(pickle.GLOBAL + f"numpy.core.multiarray\n{name or obj.__qualname__}\n".encode())
        self.memoize(obj)

    def reducer_override(self, value):
        if type(value) is not scipy.sparse.coo_matrix:
            return NotImplemented
        state = {"_shape": value.shape, "maxprint": 50, "has_canonical_format": True}
        state |= {"row": value.row, "col": value.col, "data": value.data}
        return copyreg.__newobj__, (scipy.sparse.coo_matrix,), state


def _place(content: dict, path: str | os.PathLike, matrix_count: float) -> dict | None:
    """The fields that only files of `write_tile` have; None for others."""
    try:
        (first, second), (row, col) = content["chromosomes"], content["starts"]
        return {
            "chromosomes": [str(first), str(second)],
            "starts": np.array([row, col], np.int32),
            "matrix_count": np.float32(_scalar(content, "matrix_count", path, matrix_count)),
        }
    except (KeyError, TypeError, ValueError, OverflowError):
        return None


def _numbers(value: Any, key: str, path: str | os.PathLike) -> np.ndarray:
    if scipy.sparse.issparse(value):
        if math.prod(value.shape) > _MAX_PIXELS:
            raise InputError(f"{path}: {key} has the shape {value.shape}, far too large for a tile: cut it.")
        value = value.toarray()
    if not isinstance(value, np.ndarray):
        raise InputError(
            f"{path}: {key} is {type(value).__name__}, but should be a numpy array or a sparse matrix."
        )
    value = value.astype(np.float64)
    value = np.nan_to_num(value, posinf=np.inf, neginf=-np.inf)
    if value.size and np.abs(value).max() > _MAX_VALUE:
        raise InputError(f"{path}: {key} has a value beyond {_MAX_VALUE:g}: make the tile again.")
    return value


def _scalar(content: dict, key: str, path: str | os.PathLike, default: float) -> float:
    value = content.get(key)
    if value is None:
        return default
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not abs(number) <= _MAX_VALUE:
        raise InputError(f"{path}: {key} is {str(value)[:60]!r}, but should be a number or None.")
    return number
