"""Attention and dense products, computed as suits the device."""

from functools import cache

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from hicfm_jax.types import Array


def attend(query: Array, key: Array, value: Array) -> Array:
    """`softmax(q k^T / sqrt(S)) v` per head.

    Args:
      query, key, value: `[B, N, heads, S]` of one dtype; the softmax runs in float32.

    Returns:
      `[B, N, heads, S]` in the dtype of the value.
    """
    if jax.default_backend() == "cpu":
        return _by_head(query, key, value)
    if query.dtype == jnp.bfloat16 and query.shape[-1] % 8 == 0 and _has_flash():
        return _flash(query, key, value)
    return jax.nn.dot_product_attention(query, key, value, implementation="xla")


def _by_head(query: Array, key: Array, value: Array) -> Array:
    """One head after another: the weights of one head fit into a CPU's cache, those of all heads do not."""

    @jax.checkpoint  # the backward pass recomputes the weights
    def one_head(head):
        query, key, value = head
        logits = jnp.einsum("bqd,bkd->bqk", query, key)
        weights = jax.nn.softmax(logits.astype(jnp.float32), axis=-1).astype(value.dtype)
        return jnp.einsum("bqk,bkd->bqd", weights, value)

    heads_first = [x.transpose(2, 0, 1, 3) for x in (query * query.shape[-1] ** -0.5, key, value)]
    return jax.lax.map(one_head, heads_first).transpose(1, 2, 0, 3)


def _flash(query: Array, key: Array, value: Array) -> Array:
    """cuDNN's fused attention, without an array of N x N weights; an odd N is padded by a masked token."""
    batch, length = query.shape[:2]
    if length % 2 == 0:
        return jax.nn.dot_product_attention(query, key, value, implementation="cudnn")
    padded = [jnp.pad(x, ((0, 0), (0, 1), (0, 0), (0, 0))) for x in (query, key, value)]
    lengths = jnp.full(batch, length, jnp.int32)
    mixed = jax.nn.dot_product_attention(
        *padded, query_seq_lengths=lengths, key_value_seq_lengths=lengths, implementation="cudnn"
    )
    return mixed[:, :length]


@cache
def _has_flash() -> bool:
    """Whether all devices are NVIDIA GPUs of the Ampere generation or later."""
    try:
        return all(float(device.compute_capability) >= 8.0 for device in jax.local_devices())
    except (AttributeError, ValueError):  # a TPU, or AMD's "gfx90a"
        return False


PRODUCT = "product"  # name of dense products in policies of `jax.checkpoint`


def dense_product(x: Array, kernel: Array, dimension_numbers, precision=None, **_) -> Array:
    """The `dot_general` of `flax.linen.Dense`: `[..., D]` by `[D, F]` -> `[..., F]`."""
    if jax.default_backend() == "cpu":
        product = _product(x, kernel)
    else:
        product = jax.lax.dot_general(x, kernel, dimension_numbers, precision=precision)
    return checkpoint_name(product, PRODUCT)


@jax.custom_vjp
def _product(x: Array, kernel: Array) -> Array:
    return jnp.matmul(x, kernel)


def _forward(x: Array, kernel: Array):
    return _product(x, kernel), (x, kernel)


def _backward(saved, gradient: Array):
    x, kernel = saved
    # XLA's fast CPU kernels contract over the columns of the left factor. The barrier keeps XLA from undoing
    # the transpose, which is cheap: without it this product takes up to twice as long.
    columns = jax.lax.optimization_barrier(x.reshape(-1, x.shape[-1]).T)
    of_kernel = jnp.matmul(columns, gradient.reshape(-1, gradient.shape[-1]))
    return jnp.matmul(gradient, kernel.T), of_kernel


_product.defvjp(_forward, _backward)
