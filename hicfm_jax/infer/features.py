"""Features of single windows at any layer of a network."""

import functools
import os
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.checkpoints.weights import differences, refuse
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.models.heads import apply_head
from hicfm_jax.models.presets import create_model, find_preset
from hicfm_jax.models.vit import sincos_2d
from hicfm_jax.types import PATCH, Array

HEAD = ("embedding", "pretrain")
"""Checkpoints that have features: those of pretraining, and heads without layers of their own."""


def embed(
    counts: np.ndarray,
    total_count: np.ndarray | float | None,
    params: Network | Mapping[str, Any] | str | os.PathLike,
    depth: int = 0,
    *,
    batch_size: int = 8,
) -> np.ndarray:
    """Embeddings of the patches of windows.

        features = embed(counts, 3e7, "runs/pretrain")  # [B, h, w, C]
        windows = features.mean(axis=(1, 2))

    Args:
      counts: raw contacts `[B, H, W]`, both triangles of a cis map.
      total_count: contacts of the experiment, one for all windows or `[B]`; None where unknown.
      params: a checkpoint (path), a network of `load_network`, or parameters of pretraining or of a head as
        nested dict. Parameters without position tables get those of these windows.
      depth: 0 is the encoder after its norm, k block k of the decoder before the decoder's norm.
      batch_size: windows at once.

    Returns:
      `[B, H / 16, W / 16, C]` float32; 0 for windows without contacts.

    Raises:
      InputError: windows, parameters or a depth that do not fit.
    """
    counts = np.asarray(counts)
    if counts.ndim != 3 or 0 in counts.shape or any(side % PATCH for side in counts.shape[1:]):
        raise InputError(
            f"counts have the shape {counts.shape}, expected windows [B, H, W] of multiples of {PATCH} bins."
        )
    size = counts.shape[1:]
    if isinstance(params, Mapping):
        model, params, cutoff = *_recognized(params, size), 0.0
    else:
        network = params if isinstance(params, Network) else load_network(params, None, HEAD, size)
        model, params, cutoff = network.model, network.params, network.cutoff
    check_depth(depth, model.decoder_depth)
    if total_count is not None:
        total_count = np.broadcast_to(np.asarray(total_count, np.float32), len(counts))
    program, found = _program(model, depth, cutoff), []
    for first in range(0, len(counts), batch_size):
        part = slice(first, first + batch_size)
        batch = np.asarray(counts[part], np.float32)
        depths = None if total_count is None else total_count[part]
        found.append(np.asarray(program(params, batch, depths)))
    return np.concatenate(found)


def check_depth(depth: int, layers: int) -> None:
    """Raises InputError unless a decoder of so many blocks has the depth."""
    if not 0 <= depth <= layers:
        raise InputError(
            f"depth is {depth} but must lie between 0, the encoder, and {layers}, the last block of the "
            "decoder."
        )


@functools.cache
def features_at(depth: int):
    """The function that applies a network as `models.heads.apply_head` does and returns its features.

    One function per depth, so that its program is compiled once. Features are `[B, h, w, C]`, and 0 for
    windows without contacts.
    """

    def apply(model, params, counts, total_count, *, cutoff=0.0, context=None, depth_ratio=None) -> Array:
        features = apply_head(model, params, counts, total_count, cutoff=cutoff).features[depth]
        filled = (counts > 0).any(axis=(1, 2))
        return jnp.where(filled[:, None, None, None], features, 0.0)

    return apply


@functools.lru_cache(maxsize=8)
def _program(model, depth: int, cutoff: float):
    apply = features_at(depth)
    return jax.jit(lambda params, counts, depths: apply(model, params, counts, depths, cutoff=cutoff))


def _recognized(params: Mapping[str, Any], size: tuple[int, int]):
    """The model that nested parameters belong to, and those of them that it needs."""
    flat = flatten_dict(dict(params), sep="/")
    widths = [np.size(flat.get(f"{side}/norm/scale", ())) for side in ("encoder", "decoder")]
    blocks = [path.split("/") for path in flat if "/blocks/" in path]
    depths = [len({path[2] for path in blocks if path[0] == side}) for side in ("encoder", "decoder")]
    name = find_preset("params", widths, depths)
    grid = tuple(side // PATCH for side in size)
    for side, width in zip(("encoder", "decoder"), widths, strict=True):
        table = sincos_2d(*grid, width, class_token=side == "encoder")[None]
        flat.setdefault(f"{side}/pos_embed", table)
    shapes = parameter_shapes(name, tuple(size), "embedding")
    needed = {path: flat[path] for path in shapes if path in flat}
    refuse("params", f"{name} on windows of {size[0]} x {size[1]} bins", differences(needed, shapes))
    return create_model(name, tuple(size), "embedding"), unflatten_dict(needed, sep="/")
