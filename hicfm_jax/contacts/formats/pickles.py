"""Pickles of numpy arrays and scipy.sparse matrices, read without running code."""

import os
import pickle
from collections.abc import Mapping
from typing import Any

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.chromsizes import need_resolution, read_chromsizes
from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.contacts.formats.matrices import MatrixReader, map_of_matrices, single_name
from hicfm_jax.contacts.formats.reading_process import ReadingProcess
from hicfm_jax.errors import InputError

MAX_DEPTH = 6  # of nested containers


def load(path: str | os.PathLike) -> Any:
    """Reads a pickle of dicts, lists, tuples, text, numbers, None, numpy arrays and scipy.sparse matrices.

    Protocols 0 to 5, of Python 2 and 3, numpy 1 and 2 are read. Sparse matrices are coo, csr or csc, and are
    returned as scipy.sparse arrays.

    Raises:
      InputError: any other class or function, named; or a damaged file.
    """
    return ReadingProcess(PickleReader, os.fspath(path)).ask("content")


def open_pickle(
    path: str, resolution: int | None, chromsizes: Mapping[str, int] | str | os.PathLike | None = None
) -> ContactMap:
    """Opens a pickle of matrices, symmetric or upper triangular.

    Args:
      path: of a dict `{chromosome: matrix}`, with trans matrices under `(chromosome, chromosome)` or, as in
        files of the original's `hic2array`, under `chromosome_chromosome`; or of one matrix, whose
        chromosome is named as by `open_array`.
      resolution: bin width in bp.
      chromsizes: mapping or two-column file of lengths in bp; without it a chromosome ends with the last
        bin of its largest matrix.

    Raises:
      InputError: see `load`; or not a contact map.
    """
    width, sizes = need_resolution(resolution, path), read_chromsizes(chromsizes)
    reader = ReadingProcess(PickleReader, path)
    stored = list(reader.ask("describe"))
    if stored == [None]:
        name = single_name(path, sizes)
        return map_of_matrices(reader, {(name, name): None}, width, sizes)
    names = set(sizes) if sizes else _names(stored)
    keys: dict[Pair, object] = {}
    for key in stored:
        pair = _pair(key, names, path)
        if pair in keys:
            raise InputError(f"{path} holds {pair[0][:40]} x {pair[1][:40]} twice: keep one.")
        keys[pair] = key
    return map_of_matrices(reader, keys, width, sizes)


def _names(keys: list[object]) -> set[str]:
    """Chromosomes: those of keys `A_A` if there are any, else all text keys; and those of pairs."""
    plain = [key for key in keys if isinstance(key, str)]
    halves = {key[: len(key) // 2] for key in plain}
    doubled = {name for name in halves if f"{name}_{name}" in plain}
    return (doubled or set(plain)) | {name for key in keys if isinstance(key, tuple) for name in key}


def _pair(key: object, names: set[str], path: str) -> Pair:
    if isinstance(key, tuple) and len(key) == 2 and all(isinstance(name, str) for name in key):
        return key
    if isinstance(key, str):
        cuts = [place for place, letter in enumerate(key) if letter == "_"]
        splits = [(key[:cut], key[cut + 1 :]) for cut in cuts]
        pairs = [pair for pair in splits if pair[0] in names and pair[1] in names]
        if len(pairs) == 1:
            return pairs[0]
        if not pairs and (key in names or not names):
            return key, key
    listed = ", ".join(sorted(map(str, names))[:10])[:200]
    raise InputError(
        f"{path} has a matrix called {str(key)[:80]!r}, expected a chromosome or a pair of {listed}: give "
        "chromsizes with all names."
    )


class PickleReader(MatrixReader):
    """A pickle, unpickled with `_Unpickler` under the limits of a `ReadingProcess`."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            self._content = _plain(_Unpickler(file, path).load())
        super().__init__(self._content if isinstance(self._content, dict) else {None: self._content})

    def content(self):
        """The object in the file."""
        yield self._content


class _Unpickler(pickle.Unpickler):
    """Replaces the names in `_ALLOWED` by code of this module, and refuses all others.

    The functions of numpy themselves are not safe: with an invalid dtype they read foreign memory.
    """

    def __init__(self, file, path: str):
        super().__init__(file, encoding="latin-1")
        self._path = path

    def find_class(self, module: str, name: str):
        full = f"{module}.{name}"
        if full not in _ALLOWED:
            raise InputError(
                f"{self._path} is a pickle that contains {full[:100]!r}, expected numpy arrays and "
                "scipy.sparse matrices only: do not trust it, or save plain matrices."
            )
        return _ALLOWED[full]


class _Dtype:
    """Stands for a `numpy.dtype` of numbers; its byte order is set afterwards."""

    def __init__(self, code: str, *_: object):
        if not isinstance(code, str) or code[:1] not in "biuf" or code[1:] not in "1248":
            raise ValueError("an array of another type than numbers")
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        _, order, *fields = state
        if fields[:3] != [None, None, None]:
            raise ValueError("an array type with fields")
        self.dtype = self.dtype.newbyteorder(order)


class _Array:
    """Stands for a `numpy.ndarray`, made empty and then filled."""

    value: np.ndarray | None = None

    def __init__(self, *_: object):
        pass

    def __setstate__(self, state: tuple) -> None:
        *_, shape, dtype, fortran, data = state
        self.value = _values(data, dtype, shape, "F" if fortran else "C")


class _Sparse:
    """Stands for a scipy.sparse matrix, made empty and then given its attributes."""

    layout = ""
    state: Mapping[str, object] = {}

    def __setstate__(self, state: dict) -> None:
        self.state = dict(state)

    def matrix(self) -> scipy.sparse.sparray:
        state = self.state
        if "coords" in state:  # scipy 1.13 and later
            state["row"], state["col"] = state["coords"]
        shape = state.get("_shape", state.get("shape"))
        if self.layout == "coo":
            data, row, col = (_plain(state[name]) for name in ("data", "row", "col"))
            return scipy.sparse.coo_array((data, (row, col)), shape)
        parts = tuple(_plain(state[name]) for name in ("data", "indices", "indptr"))
        matrix = getattr(scipy.sparse, f"{self.layout}_array")(parts, shape)
        matrix.check_format(full_check=True)
        return matrix


def _values(data: object, dtype: object, shape: tuple, order: str) -> np.ndarray:
    if isinstance(data, str):  # a string of Python 2
        data = data.encode("latin-1")
    if not isinstance(dtype, _Dtype) or not isinstance(data, bytes | bytearray):
        raise ValueError("an array of something other than numbers")
    values = np.frombuffer(data, dtype.dtype) if data else np.empty(0, dtype.dtype)
    return values.reshape(shape, order=order)


def _frombuffer(data: object, dtype: object, shape: tuple, order: str) -> _Array:
    array = _Array()
    array.value = _values(data, dtype, shape, order)
    return array


def _scalar(dtype: object, data: object) -> np.generic:
    return _values(data, dtype, (1,), "C")[0]


def _encode(text: str, encoding: str) -> bytes:
    if encoding not in ("latin1", "latin-1"):
        raise ValueError("text in an unknown encoding")
    return text.encode("latin-1")


def _reconstructor(kind: type, *_: object) -> object:
    return kind()


def _allowed() -> dict[str, object]:
    names: dict[str, object] = {"numpy.dtype": _Dtype, "_codecs.encode": _encode}
    for name in ("numpy.ndarray", "numpy.matrix", "numpy.matrixlib.defmatrix.matrix"):
        names[name] = _Array
    for builtins, copyreg in (("builtins", "copyreg"), ("__builtin__", "copy_reg")):  # Python 3 and 2
        names[f"{builtins}.bytes"], names[f"{builtins}.object"] = bytes, _Array
        names[f"{copyreg}._reconstructor"] = _reconstructor
    for core in ("numpy.core", "numpy._core"):  # numpy 1 and 2
        names[f"{core}.multiarray._reconstruct"] = _Array
        names[f"{core}.multiarray.scalar"] = _scalar
        names[f"{core}.numeric._frombuffer"] = _frombuffer
    for layout in ("coo", "csr", "csc"):
        made = type(f"_{layout}", (_Sparse,), {"layout": layout})
        for module in (layout, f"_{layout}"):  # scipy before and after 1.8
            for kind in ("matrix", "array"):
                names[f"scipy.sparse.{module}.{layout}_{kind}"] = made
    return names


_ALLOWED = _allowed()


def _plain(value: object, depth: int = 0) -> object:
    """The object with arrays and matrices in place of `_Array` and `_Sparse`."""
    if depth > MAX_DEPTH:
        raise ValueError(f"containers more than {MAX_DEPTH} deep")
    if isinstance(value, _Array) and value.value is not None:
        return value.value
    if isinstance(value, _Sparse):
        return value.matrix()
    if isinstance(value, dict):
        if not all(
            isinstance(part, str | int) for key in value for part in (key if type(key) is tuple else (key,))
        ):
            raise ValueError("a dict with keys that are neither names nor pairs of names")
        return {key: _plain(item, depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_plain(item, depth + 1) for item in value)
    if not isinstance(value, str | bytes | bytearray | int | float | np.generic | None):
        raise ValueError("a class or type instead of data")
    return value
