"""Checksums notice any change of arrays or metadata, and nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.checkpoints import checksums
from hicfm_jax.checkpoints.checksums import array_digest, check_digest, sealed


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {"a": {"kernel": rng.normal(size=(4, 5)).astype(np.float32)}, "b": np.int32(3)}


def test_they_are_the_same_on_devices_and_in_host_memory(arrays, monkeypatch):
    of_jax = {"a": {"kernel": jnp.asarray(arrays["a"]["kernel"])}, "b": jnp.int32(3)}
    assert array_digest(arrays) == array_digest(of_jax)
    monkeypatch.setattr(checksums, "_on_host", lambda array: not isinstance(array, jax.Array))
    assert array_digest(arrays) == array_digest(of_jax)


def test_every_single_bit_counts(arrays):
    before, kernel = array_digest(arrays), arrays["a"]["kernel"]
    for bit in range(32):
        kernel.view(np.uint32)[2, 3] ^= np.uint32(1 << bit)
        assert array_digest(arrays) != before
        kernel.view(np.uint32)[2, 3] ^= np.uint32(1 << bit)
    assert array_digest(arrays) == before


def test_swapped_values_and_swapped_arrays_count():
    one, two = np.array([1, 2], np.float32), np.array([2, 1], np.float32)
    assert array_digest({"x": one}) != array_digest({"x": two})
    assert array_digest({"x": one, "y": two}) != array_digest({"x": two, "y": one})


def test_what_has_changed_is_named(arrays):
    meta = sealed({"step": 3}, params=arrays, training=arrays)
    check_digest(meta, params=arrays)  # a part may be read alone
    with pytest.raises(ValueError, match="^params changed"):
        check_digest(meta, params={**arrays, "b": np.int32(4)}, training=arrays)
    with pytest.raises(ValueError, match="^meta changed"):
        check_digest({**meta, "step": 4}, params=arrays)
    check_digest({"step": 4}, params=arrays)  # of a version that stored none
