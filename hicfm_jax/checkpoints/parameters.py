"""Which parameters a model has, and fresh ones where a file has none."""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from hicfm_jax.models import create_model
from hicfm_jax.models.heads import init_head


@functools.cache
def parameter_shapes(
    model: str, input_size: tuple[int, int], task: str, **options
) -> Mapping[str, tuple[int, ...]]:
    """Shape of every parameter by path, without making them; arguments as of `models.create_model`."""
    tree = jax.eval_shape(_initializer(model, input_size, task, options), jax.random.key(0))
    return {path: leaf.shape for path, leaf in flatten_dict(tree, sep="/").items()}


def fresh_parameters(
    model: str, input_size: tuple[int, int], task: str, paths: Sequence[str], **options
) -> dict[str, np.ndarray]:
    """The named parameters as a new model has them, drawn with a fixed seed."""
    if not paths:
        return {}
    initialize = _initializer(model, input_size, task, options)

    def only_these(key):  # the rest is left out of what is compiled
        params = flatten_dict(initialize(key), sep="/")
        return {path: params[path] for path in paths}

    return jax.device_get(jax.jit(only_these)(jax.random.key(0)))


def _initializer(model: str, input_size: tuple[int, int], task: str, options: Mapping):
    network = create_model(model, input_size, task, **options)

    def initialize(key):
        if task != "pretrain":
            return init_head(network, key)
        images = jnp.zeros((1, *input_size, 3))
        return network.init({"params": key, "mask": key}, images)["params"]

    return initialize
