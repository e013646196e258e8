"""Bytes and FLOPs of a pretraining step by kind of operation, on paper."""

import math
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.models.presets import PRESETS
from hicfm_jax.types import PATCH

_PIXELS = 3 * PATCH**2  # numbers of a patch


class Kind(NamedTuple):
    """One kind of operation of a step: its FLOPs, and the bytes that it reads and writes in memory."""

    name: str
    flops: float
    bytes: float

    def seconds(self, flops_per_second: float, bytes_per_second: float) -> float:
        """Least time on a device of these rates."""
        return max(self.flops / flops_per_second, self.bytes / bytes_per_second)


def pretraining_kinds(
    model: str, input_size: tuple[int, int], batch: int, dtype: str = "bfloat16", mask_ratio: float = 0.75
) -> list[Kind]:
    """What a pretraining step computes and moves, forward and backward.

    Assumed: every product reads its factors and writes its result once; attention keeps no array of N x N;
    all that is element by element is fused with its neighbors of the same kind; nothing stays in a cache
    from one kind to the next. As in `models.flops`, FLOPs are those of matrix products, without those that
    a backward pass computes again.

    Args:
      model: a key of `presets.PRESETS`.
      input_size: (H, W) in bins.
      batch: windows a step.
      dtype: of the products; parameters, moments, residual stream and losses are float32.
      mask_ratio: fraction of patches that the encoder does not see.
    """
    size, number = PRESETS[model], jnp.dtype(dtype).itemsize
    patches = input_size[0] * input_size[1] // PATCH**2
    kept = int(patches * (1 - mask_ratio))
    dim, decoder_dim = size["dim"], size["decoder_dim"]
    # Tokens a window, width, blocks.
    stacks = ((2 + kept, dim, size["depth"]), (2 + patches, decoder_dim, size["decoder_depth"]))
    products = [(kept, _PIXELS, dim, 1), (2 + kept, dim, decoder_dim, 1), (patches, decoder_dim, _PIXELS, 1)]
    for tokens, width, depth in stacks:
        layers = ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width))
        products += [(tokens, *layer, depth) for layer in layers]
    flops = moved = 0.0
    for tokens, inner, outer, times in products:
        flops += times * 3 * 2 * batch * tokens * inner * outer
        # Of the forward pass, of the input's gradient, and of the gradient of weights, which is float32.
        moved += times * (3 * batch * tokens * (inner + outer) * number + (2 * number + 4) * inner * outer)
    channels = batch * sum(depth * tokens * width for tokens, width, depth in stacks)
    pairs = batch * sum(depth * tokens**2 * width for tokens, width, depth in stacks)
    pixels, weights = batch * math.prod(input_size), _weights(model, input_size)
    cast = 0 if number == 4 else (4 + number) * weights
    return [
        Kind("dense products", flops, moved),
        Kind("attention", 12 * pairs, 12 * channels * number),  # q, k, v, o; these and their gradients
        Kind("contrastive loss", 6 * batch * patches**2 * _PIXELS, 16 * batch * patches**2),
        Kind("LayerNorm", 0, 2 * channels * (12 + 2 * number)),
        Kind("GELU", 0, 4 * channels * 5 * number),
        Kind("residual sums", 0, 2 * channels * (20 + 2 * number)),
        # Forward and backward: two passes over three moments of three colors, and two of the gray target.
        Kind("SSIM", 0, 2 * 2 * 8 * (3 * 3 + 2) * pixels),
        Kind("image and patches", 0, (2 + 2 * 12 + 2 * 3 * number) * pixels),
        Kind(f"{dtype} copies of weights", 0, cast),
        Kind(
            "AdamW", 0, 28 * weights
        ),  # reads parameters, gradients and two moments, writes all but gradients
    ]


def _weights(model: str, input_size: tuple[int, int]) -> int:
    return sum(math.prod(shape) for shape in parameter_shapes(model, input_size, "pretrain").values())


def memory_rate(rounds: int = 4) -> float:
    """Bytes per second of one device that adds a constant to a large float32 array: read and written."""
    size = 1 << (25 if jax.default_backend() == "cpu" else 29)
    add = jax.jit(lambda x: x + 1.0, donate_argnums=0)
    x, best = add(jnp.zeros(size, jnp.float32)).block_until_ready(), math.inf
    for _ in range(rounds):
        started = time.perf_counter()
        x = add(x).block_until_ready()
        best = min(best, time.perf_counter() - started)
    return 2 * 4 * size / best


def table(kinds: list[Kind], batch: int, flops_per_second: float, bytes_per_second: float) -> str:
    """Markdown: FLOPs and bytes a window, and the least milliseconds a step, by kind."""
    lines = [
        "| kind | GFLOP a window | MB a window | FLOPs per byte | limited by | ms a step, at least |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    total = 0.0
    for kind in kinds:
        least = kind.seconds(flops_per_second, bytes_per_second)
        by = "products" if kind.flops / flops_per_second == least else "memory"
        total += least
        lines.append(
            f"| {kind.name} | {kind.flops / batch / 1e9:.1f} | {kind.bytes / batch / 1e6:,.0f} | "
            f"{kind.flops / max(kind.bytes, 1):.0f} | {by} | {1e3 * least:.1f} |"
        )
    flops, moved = (sum(column) for column in zip(*(kind[1:] for kind in kinds), strict=True))
    share = flops / flops_per_second / total
    lines.append(
        f"| all | {flops / batch / 1e9:.1f} | {moved / batch / 1e6:,.0f} | {flops / moved:.0f} | | "
        f"{1e3 * total:.1f} ({share:.0%} of the matrix-product rate) |"
    )
    return "\n".join(lines)
