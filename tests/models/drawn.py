"""Parameters for tests: drawn on the host, where initialising a model would compile for seconds."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


def draw_params(model: nn.Module, size: tuple[int, int], seed: int = 0) -> dict:
    """A tree as `model.init` makes it for windows of `size`, no leaf of which is all zero or one."""
    rngs = {"params": jax.random.key(0), "mask": jax.random.key(0)}
    shapes = jax.eval_shape(lambda: model.init(rngs, jnp.zeros((1, *size, 3))))["params"]
    random = np.random.default_rng(seed)

    def draw(path, leaf):
        scale = leaf.shape[0] ** -0.5 if path[-1].key == "kernel" else 0.1
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(random.normal(centre, scale, leaf.shape), jnp.float32)

    return jax.tree_util.tree_map_with_path(draw, shapes)
