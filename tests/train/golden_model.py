"""Golden parameters, gradients and moments under this project's names."""

import jax
import numpy as np

from tests.models.original_names import to_ours


def load_params(arrays, prefix: str = "state/") -> dict:
    """Parameters, gradients or moments stored as `prefix + original name`."""
    return to_ours({name[len(prefix) :]: arrays[name] for name in arrays.files if name.startswith(prefix)})


def without_key_bias(path: str, value: np.ndarray) -> np.ndarray:
    """Drops the key part of a qkv bias: its gradient is zero but for rounding."""
    if not path.endswith("qkv/bias"):
        return value
    third = len(value) // 3
    return np.delete(value, np.s_[third : 2 * third])


def named_leaves(tree) -> dict[str, np.ndarray]:
    """Leaves of a parameter tree by "a/b/c", key biases left out."""
    return {
        path: without_key_bias(path, np.asarray(leaf))
        for path, leaf in (
            ("/".join(str(key.key) for key in keys), leaf)
            for keys, leaf in jax.tree_util.tree_leaves_with_path(tree)
        )
    }


def spreads(per_parameter: dict[str, float]) -> dict[str, float]:
    """A manifest's spread per original name, under ours."""
    shaped = {}
    for name, spread in per_parameter.items():
        # to_ours looks at dimensions only to tell matrices from vectors.
        matrix = name.endswith("weight") and "norm" not in name
        if name == "patch_embed.proj.weight":
            shaped[name] = np.full((1, 3, 16, 16), spread)
        else:
            shaped[name] = np.full((1, 1) if matrix else (3,), spread)
    return {
        "/".join(str(key.key) for key in keys): float(np.max(leaf))
        for keys, leaf in jax.tree_util.tree_leaves_with_path(to_ours(shaped))
    }
