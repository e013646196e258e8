"""What a device manages when it does nothing but multiply matrices: the measure of every other speed."""

import math
import time

import jax


def matmul_rate(dtype: str, rounds: int = 4) -> float:
    """FLOP/s that one device reaches in square matrix products, the best of a few chains of four.

    The numbers are random: of zeros, products of bfloat16 run faster than of anything real.
    """
    # An accelerator needs large ones: small ones measure how fast it is told what to do.
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
