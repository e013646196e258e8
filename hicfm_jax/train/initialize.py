"""First parameters of a run, where they are not drawn at random."""

import os
from typing import Any

import jax
import numpy as np
import optax
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from hicfm_jax.checkpoints.folder import is_converted, step_folder
from hicfm_jax.checkpoints.weights import Weights
from hicfm_jax.convert import load_weights
from hicfm_jax.convert.files import is_original_file
from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import TRACKS
from hicfm_jax.models.presets import head_options
from hicfm_jax.storage import in_bucket
from hicfm_jax.train.checkpoint import has_checkpoints
from hicfm_jax.train.step import TrainState
from hicfm_jax.train.tasks import TASKS


def source_of(workdir: str | os.PathLike, config: ConfigDict) -> tuple[str, bool]:
    """Where a run's first parameters are ("" to draw them), and whether to continue from the step there.

    A workdir made by `convert_weights.py`, in which nothing was trained yet, is its own source.

    Raises:
      InputError: `config.init_from` names another source too, or nothing.
    """
    if not is_converted(workdir):
        if not has_checkpoints(workdir):  # a run that continues needs it no more
            check_exists(config.init_from)
        return config.init_from, False
    if config.init_from:
        raise InputError(
            f"--workdir={workdir} holds converted weights but config.init_from is {config.init_from}: "
            "leave init_from empty, or use another --workdir."
        )
    return os.fspath(workdir), True


def check_exists(source: str | os.PathLike) -> None:
    """Raises InputError unless a source is "", a file of the original or a checkpoint; reads no arrays."""
    if not os.fspath(source):
        return
    if not is_original_file(source):
        step_folder(source)
    elif not in_bucket(source) and not os.path.isfile(source):
        raise InputError(f"{source} does not exist: give a checkpoint, or a file of the original.")


def read_source(source: str | os.PathLike, config: ConfigDict, *, go_on: bool) -> Weights:
    """Parameters of another model for a run; with `go_on` AdamW's moments too.

    `source` is a workdir or checkpoint (`@best`, `@last` or `@STEP` may follow), `.pth.tar` or
    `.safetensors`.

    Raises:
      InputError: see `load_weights`; or a head that was trained for another scaling or of another kind.
    """
    pretrains = config.task == "pretrain"
    weights = load_weights(
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
    return weights


def start_from(state: TrainState, weights: Weights, *, go_on: bool) -> TrainState:
    """Puts parameters of another model into a fresh state; those that it lacks stay as drawn.

    With `go_on`, AdamW's moments and the step are taken too, if `weights` has them.
    """
    state = state.replace(params=_placed(weights.params, state.params))
    if not (go_on and (adam := weights.adam)):
        return state

    def take(part):
        if not isinstance(part, optax.ScaleByAdamState):
            return part
        mu, nu = _placed(adam.mu, part.mu), _placed(adam.nu, part.nu)
        return part._replace(count=_like(adam.count, part.count), mu=mu, nu=nu)

    opt_state = jax.tree.map(
        take, state.opt_state, is_leaf=lambda part: isinstance(part, optax.ScaleByAdamState)
    )
    return state.replace(step=_like(weights.step, state.step), opt_state=opt_state)


def _check_head(source: str | os.PathLike, weights: Weights, config: ConfigDict) -> None:
    """Refuses a trained head of another kind than the config's; a pretraining model takes the config's."""
    originals = {"residual": "none", "tracks": TRACKS}
    stored, expected = originals | weights.head, originals | head_options(config.model)
    differing = [name for name in stored if name in expected and stored[name] != expected[name]]
    if differing:
        fields = ", ".join(f"config.model.{name}={stored[name]}" for name in differing)
        raise InputError(f"The head in {source} is of another kind: set {fields} to start from it.")


def _like(value: Any, leaf: jax.Array) -> jax.Array:
    """The value with dtype and placement of a leaf, on every host of several."""
    value = np.asarray(value, leaf.dtype)
    return jax.make_array_from_callback(leaf.shape, leaf.sharding, lambda index: value[index])


def _placed(values: dict[str, np.ndarray], tree: Any) -> Any:
    """The tree with values replaced by path."""
    leaves = flatten_dict(tree, sep="/")
    placed = {path: _like(values[path], leaf) for path, leaf in leaves.items() if path in values}
    return unflatten_dict(leaves | placed, sep="/")
