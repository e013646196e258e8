"""Softmax attention, computed in the way that suits the machine."""

import jax
import jax.numpy as jnp

from hicfm_jax.types import Array


def attend(query: Array, key: Array, value: Array) -> Array:
    """`softmax(q k^T / sqrt(S)) v` of each head.

    On CPUs heads are taken one after another and their weights computed again in the backward pass:
    one head's weights stay in the cache, where those of all heads have to be fetched from memory.

    Args:
      query, key, value: `[B, N, heads, S]` of one dtype; the softmax runs in float32.

    Returns:
      `[B, N, heads, S]` in the dtype of the value.
    """
    heads_first = [x.transpose(2, 0, 1, 3) for x in (query * query.shape[-1] ** -0.5, key, value)]
    if jax.default_backend() == "cpu":
        mixed = jax.lax.map(jax.checkpoint(lambda head: one_pass(*head)), heads_first)
    else:
        mixed = one_pass(*heads_first)
    return mixed.transpose(1, 2, 0, 3)


def one_pass(query: Array, key: Array, value: Array) -> Array:
    """All at once, of scaled queries, `[..., N, S]` three times -> `[..., N, S]`."""
    logits = jnp.einsum("...qd,...kd->...qk", query, key)
    weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(value.dtype)
    return jnp.einsum("...qk,...kd->...qd", weights, value)
