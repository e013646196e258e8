"""Sums over the bits of arrays, stored with them, that tell when one has changed since.

Orbax does not notice every flipped bit: a damaged weight would be trained on, or enhance maps.
"""

import functools
import json
import zlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

_ODD = np.uint32(2654435761)


def sealed(meta: Mapping[str, Any], **items: Any) -> dict[str, Any]:
    """What a checkpoint says of itself, with what tells whether it or one of its items has changed.

    Args:
      meta: anything that JSON has words for.
      items: arrays by the name of their folder, as for `array_digest`.
    """
    meta = json.loads(json.dumps(meta))
    meta["digest"] = {name: array_digest(item) for name, item in items.items()}
    meta["digest"]["meta"] = _text_digest(meta)
    return meta


def check_digest(meta: Mapping[str, Any], **items: Any) -> None:
    """Compares items as they were read, all or some of those there were, with what `sealed` noted.

    Raises:
      ValueError: something has changed; it says what. Never for a checkpoint of a version that noted nothing.
    """
    if "digest" not in meta:
        return
    noted = dict(meta["digest"])
    said = noted.pop("meta", None)
    found = {name: array_digest(item) for name, item in items.items()}
    changed = [name for name, number in found.items() if noted.get(name) != number]
    if said != _text_digest({**meta, "digest": noted}):
        changed.append("meta")
    if changed:
        raise ValueError(f"{' and '.join(changed)} changed after they were written")


def array_digest(tree: Any) -> int:
    """A number below 2**32 that any change inside one element of one array changes.

    It does not depend on how the arrays are spread over devices and hosts, nor on whether they are numpy's:
    integers modulo 2**32 are summed, each element's bits times an odd number of its own.

    Args:
      tree: arrays of up to 32 bits an element, of JAX or numpy, in dictionaries or states.
    """
    named = jax.tree_util.tree_leaves_with_path(tree)
    sums = [_sum_on_devices(leaf) if isinstance(leaf, jax.Array) else _bit_sum(leaf) for _, leaf in named]
    total = 0
    for (path, _), number in zip(named, jax.device_get(sums), strict=True):
        # A factor of its own for each array, so that two that have changed places are noticed.
        total += int(number) * (zlib.crc32(_name(path).encode()) | 1)
    return total % 2**32


def _text_digest(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _name(path: tuple[Any, ...]) -> str:
    # A state is a tuple or class in memory and a list or dictionary once read from disk.
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _bit_sum(array: Any, library: Any = np) -> Any:
    array = library.atleast_1d(array)
    bits = array.view(f"uint{8 * array.dtype.itemsize}").astype(library.uint32)
    # Not flattened, which would gather a sharded array on every device.
    index = library.zeros((1,) * array.ndim, library.uint32)
    for axis, size in enumerate(array.shape):
        along = [1] * array.ndim
        along[axis] = size
        index = index * np.uint32(size) + library.arange(size, dtype=library.uint32).reshape(along)
    return (bits * ((index * _ODD) | np.uint32(1))).sum(dtype=library.uint32)


# One program a shape, of which a network has few: one for all arrays together takes long to compile.
_sum_on_devices = jax.jit(functools.partial(_bit_sum, library=jnp))
