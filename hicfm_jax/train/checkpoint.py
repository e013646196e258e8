"""Checkpoints of a run: the last ones and the best, written while training goes on."""

import os
from collections.abc import Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath

from hicfm_jax.errors import InputError
from hicfm_jax.train.sharding import parameter_name
from hicfm_jax.train.state import TrainState

FOLDER = "checkpoints"
KEPT = 2  # newest checkpoints; two, so that a damaged one is not the only one
BEST_METRIC = "loss"  # of the validation; lower is better


def _manager(folder: epath.Path, read_only: bool = False) -> ocp.CheckpointManager:
    policies = ocp.checkpoint_managers
    keep = policies.AnyPreservationPolicy(
        [
            policies.LatestN(KEPT),
            policies.BestN(get_metric_fn=lambda metrics: -metrics[BEST_METRIC], n=1),
        ]
    )
    options = ocp.CheckpointManagerOptions(
        preservation_policy=keep, read_only=read_only, create=not read_only, enable_async_checkpointing=True
    )
    return ocp.CheckpointManager(folder, options=options, item_names=("params", "training", "meta"))


def _training_part(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "opt_state", "skipped", "window")}


class Checkpoints:
    """The folder `checkpoints/` of a workdir; one folder a step with `params`, `training`, `meta`."""

    def __init__(self, workdir: str | os.PathLike):
        self.folder = epath.Path(workdir).absolute() / FOLDER
        self.manager = _manager(self.folder)

    def save(self, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
        """Starts to write the state under its step; returns before it is on disk.

        Args:
          state: what to save.
          metrics: of the validation at this step, if there was one; decides which is the best.
        """
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            training=ocp.args.StandardSave(_training_part(state)),
            meta=ocp.args.JsonSave({"step": step, "validation": dict(metrics or {})}),
        )
        self.manager.save(step, args=items, metrics=dict(metrics) if metrics else None)

    def restore_latest(self, target: TrainState) -> TrainState | None:
        """The newest state that can be read, placed like `target`; None: there is no checkpoint.

        A checkpoint that cannot be read is reported, set aside as `damaged-STEP`, and the one
        before it is taken.

        Raises:
          InputError: there are checkpoints but none can be read.
        """
        steps = sorted(self.manager.all_steps(), reverse=True)
        for step in steps:
            try:
                items = self.manager.restore(
                    step,
                    args=ocp.args.Composite(
                        params=ocp.args.StandardRestore(target.params),
                        training=ocp.args.StandardRestore(_training_part(target)),
                    ),
                )
            except Exception as error:  # noqa: BLE001 - whatever a damaged file makes Orbax raise
                logging.error(
                    "Checkpoint %s cannot be read (%s); taking the one before it.",
                    self.folder / str(step),
                    error,
                )
                self._set_aside(step)
                continue
            return target.replace(params=items["params"], **items["training"])
        if steps:
            raise InputError(
                f"None of the checkpoints {steps} in {self.folder} can be read (kept as damaged-STEP): "
                "start again in another --workdir, or copy a sound one back."
            )
        return None

    def _set_aside(self, step: int) -> None:
        (self.folder / str(step)).rename(self.folder / f"damaged-{step}")
        self.manager.reload()

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        self.manager.wait_until_finished()

    def close(self) -> None:
        """Waits, then releases the folder."""
        self.manager.close()


def _step_folder(path: epath.Path) -> epath.Path:
    """The checkpoint meant by a workdir, its `checkpoints` folder, or one step's folder."""
    if (path / "params").is_dir():
        return path
    folder = path / FOLDER if (path / FOLDER).is_dir() else path
    if not folder.is_dir():
        raise InputError(f"{path} is not a folder: give a workdir or one of its checkpoints.")
    steps = [int(entry.name) for entry in folder.iterdir() if entry.name.isdigit()]
    if not steps:
        raise InputError(f"{path} holds no checkpoint: give a workdir or one of its checkpoints.")
    return folder / str(max(steps))


def load_params(path: str | os.PathLike, target: Any) -> Any:
    """Parameters of a finished or running training, to start another from.

    Args:
      path: a workdir (its newest checkpoint is taken) or the folder of one step.
      target: parameters (arrays or shapes with shardings) that say what is expected.

    Raises:
      InputError: no checkpoint there, or names or shapes that differ; all differences are listed.
    """
    folder = _step_folder(epath.Path(path).absolute())
    checkpointer = ocp.StandardCheckpointer()
    try:
        stored = checkpointer.metadata(folder / "params").item_metadata
    except Exception as error:  # noqa: BLE001 - whatever a damaged file makes Orbax raise
        raise InputError(f"The checkpoint {folder} cannot be read: {error}") from error
    have, want = (
        {parameter_name(p): tuple(leaf.shape) for p, leaf in jax.tree_util.tree_leaves_with_path(tree)}
        for tree in (dict(stored), target)
    )
    differences = [
        f"{name} ({have.get(name, 'missing')} there, {want.get(name, 'none')} here)"
        for name in sorted(have.keys() | want.keys())
        if have.get(name) != want.get(name)
    ]
    if differences:
        shown = ", ".join(differences[:8]) + (f" and {len(differences) - 8} more" if differences[8:] else "")
        raise InputError(
            f"The parameters in {folder} do not fit this model; they differ in {shown}: "
            "use the model they were trained with."
        )
    return checkpointer.restore(folder / "params", target)
