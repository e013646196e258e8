"""Dense layers' matrix products, in the order that suits the machine."""

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name

from hicfm_jax.types import Array

PRODUCT = "product"
"""What the results are called where it is decided which of them the backward pass computes again."""


def dense_product(x: Array, kernel: Array, dimension_numbers, precision=None, **_) -> Array:
    """What `flax.linen.Dense` takes as its `dot_general`: `[..., D]` by `[D, F]` -> `[..., F]`."""
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
    # XLA's fast kernels for CPUs want the left factor's rows to be what is summed over. The barrier keeps
    # the transpose, which is cheap, from being undone: without it this product takes up to twice as long.
    columns = jax.lax.optimization_barrier(x.reshape(-1, x.shape[-1]).T)
    of_kernel = jnp.matmul(columns, gradient.reshape(-1, gradient.shape[-1]))
    return jnp.matmul(gradient, kernel.T), of_kernel


_product.defvjp(_forward, _backward)
