"""Measured rate of matrix products, the unit of training speed."""

import math
import time

import jax


def matmul_rate(dtype: str, rounds: int = 4) -> float:
    """FLOP/s of one device in square matrix products: the best of several chains of four.

    The numbers are random, because products of zeros in bfloat16 run faster.
    """
    # On an accelerator, small products measure the dispatch instead.
    size = 1024 if jax.default_backend() == "cpu" else 8192
    x = (jax.random.normal(jax.random.key(0), (size, size)) / math.sqrt(size)).astype(dtype)
    product = jax.jit(lambda a: a @ a @ a @ a @ a)
    product(x).block_until_ready()
    best = math.inf
    for _ in range(rounds):
        start = time.perf_counter()
        product(x).block_until_ready()
        best = min(best, time.perf_counter() - start)
    return 4 * 2 * size**3 / best
