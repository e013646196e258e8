"""Raw counts to the network's images, and named scalings of its targets."""

import math
from typing import NamedTuple

import jax.numpy as jnp

from hicfm_jax.errors import InputError
from hicfm_jax.types import PATCH, Array

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def log_scale(counts: Array) -> Array:
    """`log10(1 + max)` of each window, `[B, H, W]` -> `[B]`: the decades of one unit of intensity."""
    return jnp.log1p(jnp.max(counts.astype(jnp.float32), axis=(1, 2))) / jnp.log(10.0)


def intensity(counts: Array, cutoff: float = 0.0) -> Array:
    """`log10(1 + counts) / log10(1 + max)` per window, `[B, H, W]` in [0, 1] float32.

    With a `cutoff` above 0, larger counts are clipped to it and it replaces the maximum, so that an
    intensity means the same count in every window (original: `max_cutoff` in inference). A window
    without contacts becomes all zero (the original divides 0 by 0).
    """
    if cutoff > 0:
        return jnp.log1p(jnp.minimum(counts.astype(jnp.float32), cutoff)) / math.log1p(cutoff)
    logs = jnp.log1p(counts.astype(jnp.float32))
    largest = jnp.max(logs, axis=(1, 2), keepdims=True)
    return logs / jnp.where(largest > 0, largest, 1.0)


def normalize(counts: Array, cutoff: float = 0.0) -> Array:
    """Images of windows of raw counts, `[B, H, W]` -> `[B, H, W, 3]` float32.

    Red is 1, green = blue = 1 - `intensity`, normalized by ImageNet statistics (original: `Pretrain_Dataset`,
    `convert_rgb`).
    """
    inverse = 1.0 - intensity(counts, cutoff)
    image = jnp.stack([jnp.ones_like(inverse), inverse, inverse], axis=-1)
    return (image - jnp.asarray(IMAGENET_MEAN)) / jnp.asarray(IMAGENET_STD)


def denormalize(images: Array) -> Array:
    """Undoes the ImageNet statistics: `[..., 3]` -> colors in about [0, 1]."""
    return images * jnp.asarray(IMAGENET_STD) + jnp.asarray(IMAGENET_MEAN)


def valid_mask(counts: Array) -> Array:
    """Where there is data: 1 for a non-zero count, `[B, H, W]` float32."""
    return (counts != 0).astype(jnp.float32)


def inside_chromosome(counts: Array) -> Array:
    """1 up to the outermost bins with contacts, 0 beyond: `[B, H, W]` float32.

    Windows beyond a chromosome's end are padded with zeros. Unmappable bins between others are inside.
    """
    filled = counts != 0

    def span(any_filled):  # from the first to the last filled bin of each window, [B, N]
        after_first = jnp.cumsum(any_filled, axis=1) > 0
        before_last = jnp.cumsum(any_filled[:, ::-1], axis=1)[:, ::-1] > 0
        return after_first & before_last

    rows, columns = span(filled.any(axis=2)), span(filled.any(axis=1))
    return (rows[:, :, None] & columns[:, None, :]).astype(jnp.float32)


def patchify(images: Array) -> Array:
    """`[B, H, W, C]` -> `[B, L, 16 * 16 * C]`; inside a patch: row, column, channel."""
    batch, height, width, channels = images.shape
    grid = images.reshape(batch, height // PATCH, PATCH, width // PATCH, PATCH, channels)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, -1, PATCH * PATCH * channels)


def unpatchify(patches: Array, height: int, width: int) -> Array:
    """`[B, L, 16 * 16 * C]` -> `[B, H, W, C]`, the inverse of `patchify`. Sizes in bins."""
    batch = patches.shape[0]
    grid = patches.reshape(batch, height // PATCH, width // PATCH, PATCH, PATCH, -1)
    return grid.transpose(0, 1, 3, 2, 4, 5).reshape(batch, height, width, -1)


class TargetScaling(NamedTuple):
    """Scale of a head's outputs: `log10(x + offset) / unit`, or x itself where `offset` is None.

    Attributes:
      offset: what is added to a target before its logarithm, in contacts.
      unit: decades (powers of ten) that an output of 1 stands for.
    """

    offset: float | None = None
    unit: float = 1.0

    def scale(self, target: Array) -> Array:
        """The output for targets of any shape, float32."""
        target = jnp.asarray(target, jnp.float32)
        if self.offset is None:
            return target
        return jnp.log10(target + self.offset) / self.unit

    def unscale(self, output: Array) -> Array:
        """The inverse; on a logarithmic scale, negative results become 0."""
        if self.offset is None:
            return output
        return jnp.maximum(10.0 ** (output * self.unit) - self.offset, 0.0)


# By the name in `config.targets`, which a checkpoint stores, so that inference can undo the scaling.
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
