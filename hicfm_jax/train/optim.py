"""Optimizer of the original, its learning rates, and which parameters it trains."""

import re
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from hicfm_jax.config import peak_learning_rate
from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import FIXED
from hicfm_jax.models.presets import PRESETS
from hicfm_jax.train.sharding import parameter_name
from hicfm_jax.types import Array

Select = Callable[[Any], Any]

_ROW = 4096  # numbers; most parameters of the presets are multiples


def decayed(params: Any) -> Any:
    """True for each parameter with weight decay: all but biases and norms.

    Class and mask tokens are decayed too, and in fine-tuning the encoder's position table, as in the
    original (timm's rule: no decay for one axis or a name in "bias").
    """
    return jax.tree.map(lambda p: p.ndim > 1, params)


def layer_scale(name: str, decay: float, rule: str, depth: int, decoder_depth: int) -> float:
    """Factor of a parameter's learning rate: `decay` to the power of the number of layers above it.

    `depth` and `decoder_depth` are blocks of encoder and decoder. With the rule "full", tokens, table and
    patch embedding are lowest, then come the encoder's blocks and the decoder's; norm and heads have the
    full rate. With "original", only the decoder's blocks have a lower one: the original's rule does not
    match the encoder's names (`util/lr_decay.py`, `param_groups_lrd`).
    """
    block = re.match(r"(encoder|decoder)/blocks/block_(\d+)/", name)
    below = depth if rule == "full" else 0
    top = below + decoder_depth + 1
    if block and block[1] == "decoder":
        layer = below + int(block[2]) + 1
    elif rule == "original":
        layer = top
    elif block:
        layer = int(block[2]) + 1
    elif name.startswith(("encoder/norm", "decoder/embed", "decoder/mask_token")):
        layer = depth
    elif name.startswith("encoder/"):
        layer = 0
    else:
        layer = top
    return decay ** (top - layer)


def create_optimizer(config: ConfigDict) -> optax.GradientTransformation:
    """AdamW without its learning rate: the train step multiplies by -`schedule(step)`.

    The rate is applied there because a skipped step does not advance the optimizer's own counter.
    """
    optim = config.optim
    parts = [
        optax.scale_by_adam(b1=optim.b1, b2=optim.b2, eps=optim.eps),
        optax.add_decayed_weights(optim.weight_decay, mask=decayed),
    ]
    if optim.clip_norm:
        parts.insert(0, clip_by_norm(optim.clip_norm))
    if optim.layer_decay < 1:
        depths = (PRESETS[config.model.name][name] for name in ("depth", "decoder_depth"))
        ladder = (optim.layer_decay, optim.layer_decay_rule, *depths)

        def scale(path, update):
            return update * layer_scale(parameter_name(path), *ladder)

        # Last, because it scales weight decay too.
        parts.append(optax.stateless(lambda updates, _: jax.tree_util.tree_map_with_path(scale, updates)))
    return optax.chain(*parts)


def clip_by_norm(most: float) -> optax.GradientTransformation:
    """As `optax.clip_by_global_norm`, with `global_norm`."""

    def clip(updates: Any, _: Any) -> Any:
        norm = global_norm(updates)
        factor = jnp.where(norm < most, 1.0, most / norm)
        return jax.tree.map(lambda update: update * factor.astype(update.dtype), updates)

    return optax.stateless(clip)


def global_norm(tree: Any) -> Array:
    """Square root of the sum of all squares, infinite where a square is."""
    if jax.default_backend() != "cpu" or jax.device_count() > 1:
        return optax.tree.norm(tree)
    return jnp.sqrt(sum(map(_square_sum, jax.tree.leaves(tree))))


def _square_sum(x: Array) -> Array:
    """The sum of squares of an array that is on one CPU.

    XLA for CPUs adds the rows of a loop at the speed of the memory, and all elements of a large array at a
    tenth of it.
    """
    if x.size % _ROW:
        return jnp.sum(jnp.square(x))
    rows = x.reshape(-1, _ROW)
    sums, _ = jax.lax.scan(lambda sums, row: (sums + row * row, None), jnp.zeros(_ROW, x.dtype), rows)
    return jnp.sum(sums)


def create_schedule(config: ConfigDict, total_steps: int) -> optax.Schedule:
    """Rate after a number of optimizer steps: linear warm-up, then a cosine (original: `util/lr_sched.py`).

    The fraction of warm-up is `optim.warmup_epochs / train.epochs`, also where `train.total_steps` sets the
    length.
    """
    warmup = total_steps * config.optim.warmup_epochs / config.train.epochs
    return warmup_cosine(peak_learning_rate(config), config.optim.min_lr, warmup, total_steps)


def warmup_cosine(peak: float, min_lr: float, warmup: float, total: float) -> optax.Schedule:
    """The rate after `t` units of time: `peak * t / warmup`, then a cosine from peak to `min_lr`.

    Units are steps or epochs, and need not be whole, unlike in optax's own schedule.
    """
    cosine = optax.cosine_decay_schedule(1.0, max(total - warmup, 1e-9))

    def schedule(time: Array) -> Array:
        time = jnp.asarray(time, jnp.float32)
        rising = peak * time / max(warmup, 1e-9)
        falling = min_lr + (peak - min_lr) * cosine(time - warmup)
        return jnp.where(time < warmup, rising, falling)

    return schedule


def trainable_names(names: list[str], optim: ConfigDict) -> set[str]:
    """The names of parameters that `config.optim` trains; frozen patterns win over trainable ones.

    Raises:
      InputError: a pattern that matches nothing, or nothing to train.
    """
    for field in ("trainable_patterns", "frozen_patterns"):
        for pattern in optim[field]:
            if not any(re.search(pattern, name) for name in names):
                raise InputError(
                    f"config.optim.{field} has {pattern!r}, which matches no parameter: names look like "
                    f"{names[0]} and {names[-1]}."
                )

    def trained(name: str) -> bool:
        if any(re.search(pattern, name) for pattern in optim.frozen_patterns):
            return False
        if any(re.search(pattern, name) for pattern in optim.trainable_patterns):
            return True
        if name in FIXED or optim.trainable == "none":
            return False
        return optim.trainable == "all" or not name.startswith("encoder/")

    found = {name for name in names if trained(name)}
    if not found:
        raise InputError(
            f"config.optim.trainable={optim.trainable!r} with these patterns trains no parameter: use "
            "'decoder' or 'all', or name some in optim.trainable_patterns."
        )
    return found


def create_select(config: ConfigDict) -> Select:
    """Returns `(params) -> nested dict of the trained ones`; the others have no gradient and no moments."""

    def select(params: Any) -> Any:
        flat = flatten_dict(params, sep="/")
        names = trainable_names(list(flat), config.optim)
        return unflatten_dict({name: flat[name] for name in flat if name in names}, sep="/")

    return select


def merge(params: Any, trained: Any) -> Any:
    """`params` with the leaves of the subtree `trained` in place of its own."""
    return unflatten_dict(flatten_dict(params, sep="/") | flatten_dict(trained, sep="/"), sep="/")
