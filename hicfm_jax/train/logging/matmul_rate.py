"""Speed of a device: measured matrix products and the published peak."""

import math
import re
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


# Dense bfloat16 FLOP/s of one device, by a pattern of `device_kind`; the first match counts. Sources: data
# sheets of NVIDIA H200, H100, A100 and L4 ("with sparsity" halved), Google's Cloud TPU documentation.
_PEAKS = (
    ("H(100|200) NVL", 835e12),
    ("H100 PCIe", 756e12),
    ("H(100|200)", 989e12),
    ("A100", 312e12),
    ("L4$", 121e12),
    ("TPU v4$", 275e12),
    ("TPU v5 ?(lite|e)$", 197e12),
    ("TPU v5p?$", 459e12),
    ("TPU v6 ?(lite|e)$", 918e12),
)


def published_peak(device_kind: str) -> float | None:
    """Published dense bfloat16 FLOP/s of a device, None where it is not known or a part of a GPU (MIG)."""
    if "MIG" in device_kind:
        return None
    return next((peak for pattern, peak in _PEAKS if re.search(pattern, device_kind)), None)
