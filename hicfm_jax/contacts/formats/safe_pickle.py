"""Reading pickles of numpy and scipy.sparse data without running anything they say.

Python's own unpickler calls what a file names. This one is an interpreter of its own for the few instructions
that numbers, names and matrices need: a name it knows stands for code of this module, any other is refused.
Memory stays in proportion to the file, because nothing is made larger than the bytes that describe it.
"""

import pickletools
import struct
from typing import Any, BinaryIO

from hicfm_jax.contacts.formats.matrices import sparse_from_arrays
from hicfm_jax.contacts.formats.pickled_numpy import NAMES, Array, Dtype, Name, Sparse
from hicfm_jax.errors import InputError

MAX_INSTRUCTIONS = 400_000
"""A matrix takes about 60, this many take a second or two."""

MAX_DEPTH = 6
"""Of containers within containers."""


def load(path: str) -> Any:
    """Reads a pickle that holds numpy arrays and numbers, scipy.sparse matrices and plain Python values.

    Args:
      path: the file. Pickles of protocols 0 to 5, of Python 2 and 3, numpy 1 and 2 are read.

    Returns:
      The object: dicts, lists, tuples, strings, bytes, numbers, None, `numpy.ndarray` (read-only) and
      scipy.sparse arrays (coo, csr, csc).

    Raises:
      InputError: any other class or function, named; or a file that is no whole pickle.
    """
    with open(path, "rb") as file:
        try:
            return _Machine(path).run(_Bounded(file))
        except InputError:
            raise
        except (
            ValueError, TypeError, LookupError, AttributeError, EOFError, OverflowError, RecursionError,
            MemoryError, struct.error,
        ) as error:  # fmt: skip
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{path} cannot be read as a pickle ({reason}): it may be truncated or of another format; "
                "make it again."
            ) from (None if isinstance(error, MemoryError) else error)


class _Bounded:
    """A file that does not make room for more than it holds, whatever length is asked for."""

    def __init__(self, file: BinaryIO):
        self._file = file
        self.size = file.seek(0, 2)
        file.seek(0)
        self.readline, self.tell = file.readline, file.tell

    def read(self, size: int) -> bytes:
        return self._file.read(min(size, self.size - self._file.tell()))


_PUSHES = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "SHORT_BINUNICODE", "BINUNICODE", "BINUNICODE8", "BINBYTES",
    "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
_SHORT_TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
_IGNORED = {"PROTO", "FRAME"}


class _Machine:
    def __init__(self, path: str):
        self.path = path
        self.stack: list = []
        self.marks: list[int] = []
        self.memo: dict[int, object] = {}

    def run(self, file: _Bounded) -> object:
        for count, (instruction, argument, _) in enumerate(pickletools.genops(file)):
            if count > MAX_INSTRUCTIONS:
                raise InputError(
                    f"{self.path} is a pickle of more than {MAX_INSTRUCTIONS} instructions, far more than "
                    "maps take: keep matrices in it, not lists of numbers."
                )
            if instruction.name == "STOP":
                break
            self.step(instruction.name, argument)
        (value,) = self.stack
        return _Resolver(self.path, file.size).resolve(value, 0)

    def step(self, name: str, argument: Any) -> None:
        stack, memo = self.stack, self.memo
        if name in _PUSHES:
            stack.append(argument)
        elif name in _CONSTANTS:
            stack.append(_CONSTANTS[name])
        elif name in ("MEMOIZE", "PUT", "BINPUT", "LONG_BINPUT"):
            memo[len(memo) if name == "MEMOIZE" else argument] = stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            stack.append(memo[argument])
        elif name == "MARK":
            self.marks.append(len(stack))
        elif name == "TUPLE":
            stack.append(tuple(self.since_mark()))
        elif name in _SHORT_TUPLES:
            size = _SHORT_TUPLES[name]
            stack[-size:] = [tuple(self.last(size))]
        elif name in ("EMPTY_LIST", "LIST"):
            stack.append(self.since_mark() if name == "LIST" else [])
        elif name in ("EMPTY_DICT", "DICT"):
            items = self.since_mark() if name == "DICT" else []
            stack.append({})
            self.set_items(items)
        elif name in ("APPEND", "APPENDS"):
            items = self.since_mark() if name == "APPENDS" else [stack.pop()]
            self.top(list).extend(items)
        elif name in ("SETITEM", "SETITEMS"):
            items = self.since_mark() if name == "SETITEMS" else self.pop(2)
            self.set_items(items)
        elif name == "POP":
            stack.pop()
        elif name in ("GLOBAL", "STACK_GLOBAL"):
            module_and_name = self.pop(2) if name == "STACK_GLOBAL" else argument.split(" ", 1)
            stack.append(self.find(".".join(module_and_name)))
        elif name in ("REDUCE", "NEWOBJ"):
            known, arguments = self.pop(2)
            if not isinstance(known, Name) or not isinstance(arguments, tuple):
                raise ValueError("a call of what is no function")
            stack.append(known.call(*arguments))
        elif name == "BUILD":
            state = stack.pop()
            self.top((Dtype, Array, Sparse)).build(state)
        elif name not in _IGNORED:
            raise InputError(f"{self.path} is a pickle with the instruction {name}, which no map needs.")

    def find(self, name: str) -> Name:
        if name not in NAMES:
            raise InputError(
                f"{self.path} is a pickle that wants {name[:100]!r}, expected numpy arrays and scipy.sparse "
                "matrices only: do not trust it, or save plain matrices."
            )
        return NAMES[name]

    def last(self, size: int) -> list:
        if len(self.stack) - (self.marks[-1] if self.marks else 0) < size:
            raise ValueError("an empty stack")
        return self.stack[-size:]

    def pop(self, size: int) -> list:
        items = self.last(size)
        del self.stack[-size:]
        return items

    def since_mark(self) -> list:
        start = self.marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def top(self, kind: type | tuple) -> Any:
        if not isinstance(self.stack[-1], kind):
            raise ValueError("an instruction for another object")
        return self.stack[-1]

    def set_items(self, items: list) -> None:
        held = self.top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            # Long ones, and tuples of tuples of the same tuples, can take for ever to hash and compare.
            parts = key if isinstance(key, tuple) and len(key) <= 2 else (key,)
            if not all(type(part) is int or (type(part) is str and len(part) < 1000) for part in parts):
                raise ValueError("a dict with keys that are neither names nor pairs of names")
            held[key] = value


class _Resolver:
    """Puts the finished arrays in their places, each once however often it is referred to."""

    def __init__(self, path: str, size: int):
        self.path = path
        self.done: dict[int, object] = {}
        self.left = 4 * size  # a thousand matrices may refer to the same large array, and scipy may copy it

    def resolve(self, value: object, depth: int) -> object:
        if depth > MAX_DEPTH:
            raise ValueError(f"containers more than {MAX_DEPTH} deep")
        if id(value) not in self.done:
            self.done[id(value)] = self.finish(value, depth)
        return self.done[id(value)]

    def finish(self, value: object, depth: int) -> object:
        if isinstance(value, Array):
            return value.result()
        if isinstance(value, Sparse):
            arrays = value.arrays()
            self.left -= sum(array.nbytes for array in arrays.values())
            if self.left < 0:
                raise ValueError("many matrices made of the same arrays")
            return sparse_from_arrays(value.layout, value.shape(), arrays, self.path)
        if isinstance(value, Name | Dtype):
            raise ValueError("a class or type instead of data")
        if isinstance(value, dict):
            return {key: self.resolve(item, depth + 1) for key, item in value.items()}
        if isinstance(value, list | tuple):
            return type(value)(self.resolve(item, depth + 1) for item in value)
        return value
