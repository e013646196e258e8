"""What the names in a pickle of numpy and scipy.sparse data stand for here."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Name:
    """A known global: what calling it does here."""

    call: Callable[..., Any]


class Dtype:
    """A `numpy.dtype` of numbers; its byte order comes in a second step."""

    def __init__(self, code: str, *_: object):
        if not isinstance(code, str) or code not in {
            "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8",
        }:  # fmt: skip
            raise ValueError("an array of another type than numbers")
        self.dtype = np.dtype(code)

    def build(self, state: tuple) -> None:
        _, order, *rest = state
        if order not in ("<", ">", "|", "=") or rest[:3] != [None, None, None]:
            raise ValueError("an array type with fields")
        self.dtype = self.dtype.newbyteorder(order)


class Array:
    """A `numpy.ndarray`: made empty, then filled."""

    def __init__(self, *_: object):
        self.value: np.ndarray | None = None

    def build(self, state: tuple) -> None:
        *_, shape, dtype, fortran, data = state
        self.value = _array(data, dtype, shape, "F" if fortran else "C")

    def result(self) -> np.ndarray:
        if self.value is None:
            raise ValueError("an array without values")
        return self.value


class Sparse:
    """A scipy.sparse matrix: made empty, then given its attributes."""

    def __init__(self, layout: str):
        self.layout = layout
        self.state: dict | None = None

    def build(self, state: dict) -> None:
        if not isinstance(state, dict):
            raise ValueError("a sparse matrix without attributes")
        self.state = state

    def arrays(self) -> dict[str, np.ndarray]:
        if self.state is None:
            raise ValueError("a sparse matrix without values")
        state = dict(self.state)
        if "coords" in state:  # scipy 1.13 and later
            state["row"], state["col"] = state["coords"]
        return {name: value.result() for name, value in state.items() if isinstance(value, Array)}

    def shape(self) -> object:
        return self.state.get("_shape", self.state.get("shape"))


def _array(data: object, dtype: object, shape: object, order: object) -> np.ndarray:
    if isinstance(data, str):  # a string of Python 2
        data = data.encode("latin-1")
    if not isinstance(dtype, Dtype) or not isinstance(data, bytes | bytearray):
        raise ValueError("an array that is not made of numbers")
    if not isinstance(shape, tuple) or not all(type(size) is int and size >= 0 for size in shape):
        raise ValueError("an array of no shape")
    values = np.frombuffer(data, dtype.dtype) if data else np.empty(0, dtype.dtype)
    values = values.reshape(shape, order="F" if order == "F" else "C")
    values.flags.writeable = False
    return values


def _frombuffer(data: object, dtype: object, shape: object, order: object) -> Array:
    array = Array()
    array.value = _array(data, dtype, shape, order)
    return array


def _scalar(dtype: object, data: object) -> np.generic:
    return _array(data, dtype, (1,), "C")[0]


def _encode(text: object, encoding: object) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("text in an unknown encoding")
    return text.encode("latin-1")


def _no_bytes() -> bytes:
    return b""  # protocols 0 to 2 say so of an empty array


def _no_call(*_: object) -> None:
    raise ValueError("a class that is called")


def _reconstructor(known: object, *_: object) -> object:
    if not isinstance(known, Name):
        raise ValueError("a copy of what is no class")
    return known.call()


def _known_names() -> dict[str, Name]:
    names = {
        "numpy.dtype": Name(Dtype),
        "numpy.ndarray": Name(_no_call),
        "numpy.matrix": Name(_no_call),
        "numpy.matrixlib.defmatrix.matrix": Name(_no_call),
        "_codecs.encode": Name(_encode),
        "copyreg._reconstructor": Name(_reconstructor),
        "copy_reg._reconstructor": Name(_reconstructor),
        "builtins.bytes": Name(_no_bytes),
        "__builtin__.bytes": Name(_no_bytes),
        "builtins.object": Name(_no_call),
        "__builtin__.object": Name(_no_call),
    }
    for core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
        names[f"{core}.multiarray._reconstruct"] = Name(Array)
        names[f"{core}.multiarray.scalar"] = Name(_scalar)
        names[f"{core}.numeric._frombuffer"] = Name(_frombuffer)
    for layout in ("coo", "csr", "csc"):
        for module in (layout, f"_{layout}"):  # scipy before and after 1.8
            for kind in ("matrix", "array"):
                names[f"scipy.sparse.{module}.{layout}_{kind}"] = Name(functools.partial(Sparse, layout))
    return names


NAMES = _known_names()
