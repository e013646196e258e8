"""Checksums of arrays, stored with a checkpoint and compared when it is read.

Orbax does not notice every flipped bit: training or inference would use the damaged weight.
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
    """Metadata with `digest`: checksums of the items (arrays, see `array_digest`) and of the metadata."""
    meta = json.loads(json.dumps(meta))
    meta["digest"] = {name: array_digest(item) for name, item in items.items()}
    meta["digest"]["meta"] = _text_digest(meta)
    return meta


def check_digest(meta: Mapping[str, Any], **items: Any) -> None:
    """Compares items that were read, all of them or some, with the checksums of `sealed`.

    Checkpoints of versions that stored no checksums pass.

    Raises:
      ValueError: something has changed; names it.
    """
    if "digest" not in meta:
        return
    stored = dict(meta["digest"])
    of_meta = stored.pop("meta", None)
    found = {name: array_digest(item) for name, item in items.items()}
    changed = [name for name, number in found.items() if stored.get(name) != number]
    if of_meta != _text_digest({**meta, "digest": stored}):
        changed.append("meta")
    if changed:
        raise ValueError(f"{' and '.join(changed)} changed after they were written")


def array_digest(tree: Any) -> int:
    """Checksum below 2**32 that any change inside one element of one array changes.

    It is the same for NumPy and JAX arrays, however these are sharded: the sum modulo 2**32 of each
    element's bits, 32 at most, times an odd number of its own.
    """
    named = jax.tree_util.tree_leaves_with_path(tree)
    sums = [_bit_sum(np.asarray(leaf)) if _on_host(leaf) else _sum_on_devices(leaf) for _, leaf in named]
    total = 0
    for (path, _), number in zip(named, jax.device_get(sums), strict=True):
        # A factor of its own for each array, so that two swapped arrays are noticed. States are tuples or
        # classes in memory and lists or dictionaries once read from disk: their names are the same.
        name = jax.tree_util.keystr(path, simple=True, separator="/")
        total += int(number) * (zlib.crc32(name.encode()) | 1)
    return total % 2**32


def _text_digest(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


def _on_host(array: Any) -> bool:
    """Whether NumPy sees all of it without a copy between machines or devices: nothing to compile."""
    if not isinstance(array, jax.Array):
        return True
    return array.is_fully_addressable and {device.platform for device in array.devices()} == {"cpu"}


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


# One program per shape, of which a network has few: one for all arrays together takes long to compile.
_sum_on_devices = jax.jit(functools.partial(_bit_sum, library=jnp))
