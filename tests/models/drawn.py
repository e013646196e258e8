"""Random parameters drawn on the host, because compiling an initializer takes seconds."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from hicfm_jax.models.heads import TaskModel, init_head


def draw_params(model: nn.Module, size: tuple[int, int], seed: int = 0) -> dict:
    """A tree like that of the model's initializer for windows of `size`, in which no leaf is constant."""
    key = jax.random.key(0)

    def init():
        if isinstance(model, TaskModel):
            return init_head(model, key)
        return model.init({"params": key, "mask": key}, jnp.zeros((1, *size, 3)))["params"]

    random = np.random.default_rng(seed)

    def draw(path, leaf):
        scale = math.prod(leaf.shape[:-1]) ** -0.5 if path[-1].key == "kernel" else 0.1
        center = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(random.normal(center, scale, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, jax.eval_shape(init))
