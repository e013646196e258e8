"""What a head's outputs stand for: named scalings between targets and what the network regresses on.

A scaling travels with a checkpoint by its name in the config (`targets.map_scaling`), so that
inference can undo it.
"""

import math
from typing import NamedTuple

import jax.numpy as jnp

from hicfm_jax.errors import InputError
from hicfm_jax.types import Array


class TargetScaling(NamedTuple):
    """`log10(x + offset) / unit`, or x itself where `offset` is None."""

    offset: float | None = None
    unit: float = 1.0

    def scale(self, target: Array) -> Array:
        """What the network is to put out for targets of any shape, float32."""
        target = jnp.asarray(target, jnp.float32)
        if self.offset is None:
            return target
        return jnp.log10(target + self.offset) / self.unit

    def unscale(self, output: Array) -> Array:
        """The inverse; what would be below zero on a logarithmic scale is 0."""
        if self.offset is None:
            return output
        return jnp.maximum(10.0 ** (output * self.unit) - self.offset, 0.0)


SCALINGS = {
    "none": TargetScaling(),
    "log10": TargetScaling(1.0, 1.0),
    # Published resolution weights: output * log10(1001) is log10(deep count + 1).
    "log1000": TargetScaling(1.0, math.log10(1001.0)),
    # Published single-cell weights: the count is 2 less, and rounded.
    "single_cell": TargetScaling(3.0, math.log10(1001.0)),
}


def target_scaling(name: str) -> TargetScaling:
    """A scaling by its name; raises InputError for an unknown one."""
    if name not in SCALINGS:
        raise InputError(f"There is no target scaling {name!r}: take one of {', '.join(SCALINGS)}.")
    return SCALINGS[name]
