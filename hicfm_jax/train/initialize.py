"""Where a run's parameters come from when they are not drawn."""

import os
from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from hicfm_jax.checkpoints.folder import Adam, is_converted
from hicfm_jax.checkpoints.weights import Weights, load_weights
from hicfm_jax.convert import is_original_file, load_original
from hicfm_jax.errors import InputError
from hicfm_jax.models.presets import head_options
from hicfm_jax.train.state import TrainState
from hicfm_jax.train.tasks import TASKS


def source_of(workdir: str | os.PathLike, config: ConfigDict) -> tuple[str, bool]:
    """Where a run's first parameters are ("" to draw them), and whether it goes on from the step there.

    A workdir that `convert_weights.py` made, and in which nothing was trained yet, is its own source.

    Raises:
      InputError: `config.init_from` names another one besides.
    """
    if not is_converted(workdir):
        return config.init_from, False
    if config.init_from:
        raise InputError(
            f"--workdir={workdir} holds converted weights but config.init_from is {config.init_from}: "
            "leave init_from empty, or use another --workdir."
        )
    return os.fspath(workdir), True


def start_from(
    state: TrainState, source: str | os.PathLike, config: ConfigDict, *, go_on: bool
) -> TrainState:
    """Puts parameters of another model into a fresh state.

    A pretraining checkpoint serves every task: what the head has besides stays as drawn.

    Args:
      state: fresh, on its devices.
      source: workdir or checkpoint, `@best`, `@last` or `@STEP` may follow; `.pth.tar` or `.safetensors`.
      config: of this run.
      go_on: take AdamW's moments and the step along, if there are any, instead of starting both anew.

    Raises:
      InputError: see `load_weights`; or a trained head whose maps stand for something else.
    """
    pretrains = config.task == "pretrain"
    load = load_original if is_original_file(source) else load_weights
    weights = load(
        source,
        task=TASKS[config.task].head or config.task,
        # Pretraining takes windows of any size: its position tables are computed.
        input_size=None if pretrains else tuple(config.model.input_size),
        model=config.model.name,
        head=head_options(config.model),
        with_adam=go_on,
    )
    _check_head(source, weights, config)
    scaling = weights.map_scaling
    if scaling is not None and "map_head/bias" in weights.params and scaling != config.targets.map_scaling:
        raise InputError(
            f"The head in {source} was trained for maps scaled as {scaling!r}, but "
            f"config.targets.map_scaling is {config.targets.map_scaling!r}: set it to {scaling!r}."
        )
    state = state.replace(params=_placed(weights.params, state.params))
    if not (go_on and weights.adam):
        return state
    return state.replace(
        step=_like(weights.step, state.step), opt_state=_with_moments(state.opt_state, weights.adam)
    )


def _check_head(source: str | os.PathLike, weights: Weights, config: ConfigDict) -> None:
    """Refuses a trained head of another kind than the config's; one made of pretraining is of its kind."""
    none = {"residual": "none"}
    held, wanted = weights.head or none, head_options(config.model) or none
    differing = [name for name in held if name in wanted and held[name] != wanted[name]]
    if differing:
        fields = ", ".join(f"config.model.{name}={held[name]}" for name in differing)
        raise InputError(f"The head in {source} is of another kind: set {fields} to start from it.")


def _like(value: Any, leaf: jax.Array) -> jax.Array:
    """The value with dtype and placement of a leaf, on every host of several."""
    value = np.asarray(value, leaf.dtype)
    return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: value[index])


def _placed(values: dict[str, np.ndarray], tree: Any) -> Any:
    """The tree with new values where there are some."""
    leaves = flatten_dict(tree, sep="/")
    return unflatten_dict(
        {path: _like(values[path], leaf) if path in values else leaf for path, leaf in leaves.items()},
        sep="/",
    )


def _with_moments(opt_state: optax.OptState, adam: Adam) -> optax.OptState:
    def take(part):
        if not isinstance(part, optax.ScaleByAdamState):
            return part
        return part._replace(
            count=_like(adam.count, part.count),
            mu=_placed(adam.mu, part.mu),
            nu=_placed(adam.nu, part.nu),
        )

    return jax.tree.map(take, opt_state, is_leaf=lambda part: isinstance(part, optax.ScaleByAdamState))
