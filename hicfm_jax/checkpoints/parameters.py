"""Parameters of a model: their shapes, fresh values, and resized position tables."""

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict

from hicfm_jax.models import create_model
from hicfm_jax.models.heads import OUTPUTS, init_head

# The layers after the decoder, by task; tasks with the same layers have the same parameters.
_LAYERS = {"map": "map_head", "track": "track_head", "tracks": "track_heads", "image": "pixel_head"}
HEAD_LAYERS = {
    task: {_LAYERS[field] for field in fields if field in _LAYERS} for task, fields in OUTPUTS.items()
}

_A = -0.75  # PyTorch's cubic kernel; many other libraries take -0.5


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

    def only_these(key):  # the compiler removes the computation of the others
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


def resize_table(table: np.ndarray, old: tuple[int, int], new: tuple[int, int]) -> np.ndarray:
    """Bicubic interpolation of a position table (original: `interpolate_pos_embed_inputsize`).

    `[1, n + h * w, D]`, row-major -> `[1, n + h' * w', D]` float32, where `old` and `new` are (h, w) in
    patches. The first n rows (class token) do not change.
    """
    if old == new:
        return table
    extra = table.shape[1] - old[0] * old[1]
    grid = table[0, extra:].reshape(*old, -1)
    rows, columns = _bicubic(old[0], new[0]), _bicubic(old[1], new[1])
    resized = np.einsum("ih,hwd,jw->ijd", rows, grid, columns, optimize=True).reshape(new[0] * new[1], -1)
    return np.concatenate([table[0, :extra], resized]).astype(np.float32)[None]


def _bicubic(old: int, new: int) -> np.ndarray:
    """Weight of each old point in each new one, `[new, old]` float64."""
    # Half-pixel centers; the kernel stays as wide when shrinking; beyond the edge its point is repeated.
    center = (np.arange(new) + 0.5) * old / new - 0.5
    weights = np.zeros((new, old))
    for tap in range(-1, 3):
        point = np.floor(center).astype(int) + tap
        distance = np.abs(center - point)
        near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
        far = ((distance - 5) * distance + 8) * distance * _A - 4 * _A
        np.add.at(weights, (np.arange(new), np.clip(point, 0, old - 1)), np.where(distance <= 1, near, far))
    return weights
