"""Checkpoints of a run: the last ones and the best, written while training goes on."""

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from hicfm_jax.config import to_json
from hicfm_jax.convert.checkpoint_folder import FOLDER, absolute
from hicfm_jax.errors import InputError
from hicfm_jax.train.processes import any_process
from hicfm_jax.train.state import TrainState

KEPT = 2  # newest checkpoints; two, so that a damaged one is not the only one
BEST_METRIC = "loss"  # of the validation; lower is better


def _score(metrics: Mapping[str, float]) -> float:
    loss = metrics[BEST_METRIC]
    return -loss if math.isfinite(loss) else -math.inf


def _manager(folder: epath.Path) -> ocp.CheckpointManager:
    policies = ocp.checkpoint_managers
    best = policies.BestN(get_metric_fn=_score, n=1, keep_checkpoints_without_metrics=False)
    options = ocp.CheckpointManagerOptions(
        preservation_policy=policies.AnyPreservationPolicy([policies.LatestN(KEPT), best]),
        enable_async_checkpointing=True,
    )
    return ocp.CheckpointManager(folder, options=options, item_names=("params", "training", "meta"))


def _training_part(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "opt_state", "skipped", "window")}


@contextlib.contextmanager
def _full_disk_named(folder: epath.Path) -> Iterator[None]:
    """Turns what Orbax makes of a full disk back into the OSError it was."""
    try:
        yield
    except Exception as error:
        if "RESOURCE_EXHAUSTED" in str(error) or "No space left" in str(error):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def has_checkpoints(workdir: str | os.PathLike) -> bool:
    """Whether a run in this workdir has ever saved."""
    folder = absolute(workdir) / FOLDER
    return folder.is_dir() and any(
        entry.name.isdigit() or entry.name.startswith("damaged-") for entry in folder.iterdir()
    )


class Checkpoints:
    """The folder `checkpoints/` of a workdir; one folder a step with `params`, `training`, `meta`."""

    def __init__(
        self, workdir: str | os.PathLike, config: ConfigDict, provenance: Mapping[str, Any] | None = None
    ):
        """Opens or creates the folder; `config` and `provenance` are stored with each checkpoint."""
        self._provenance = dict(provenance or {})
        self.folder = absolute(workdir) / FOLDER
        self.config = config
        self.manager = _manager(self.folder)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *_) -> None:
        with _full_disk_named(self.folder):
            self.manager.close()  # waits for what is still being written

    def save(self, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
        """Starts to write the state under its step; returns before it is on disk.

        Args:
          state: what to save.
          metrics: of the validation at this step, if there was one; decides which is the best.
        """
        step = int(state.step)
        if step in self.manager.all_steps():
            return
        meta = {
            "step": step,
            "validation": dict(metrics or {}),
            "config": json.loads(to_json(self.config)),
            **self._provenance,
        }
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            training=ocp.args.StandardSave(_training_part(state)),
            meta=ocp.args.JsonSave(meta),
        )
        with _full_disk_named(self.folder):
            self.manager.save(step, args=items, metrics=dict(metrics) if metrics else None)

    def restore_latest(self, target: TrainState) -> TrainState:
        """The newest state that can be read, placed like `target` (arrays or shapes with shardings).

        If one cannot be read, the one before it is taken; once that has worked, the damaged one is
        set aside as `damaged-STEP`.

        Raises:
          InputError: no checkpoint can be read.
        """
        damaged = []
        for step in sorted(self.manager.all_steps(), reverse=True):
            unreadable = False
            try:
                items = self.manager.restore(
                    step,
                    args=ocp.args.Composite(
                        params=ocp.args.StandardRestore(target.params),
                        training=ocp.args.StandardRestore(_training_part(target)),
                    ),
                )
            except Exception as error:  # whatever a damaged file makes Orbax raise
                logging.error("Checkpoint %s cannot be read: %s", self.folder / str(step), error)
                unreadable = True
            if any_process(unreadable):  # a damage in one process's part
                damaged.append(step)
                continue
            for bad in damaged:
                logging.error("Going on from step %d; checkpoint %d is kept as damaged-%d.", step, bad, bad)
                if jax.process_index() == 0:
                    (self.folder / str(bad)).rename(self.folder / f"damaged-{bad}")
            any_process(False).block_until_ready()  # all see the folders renamed
            self.manager.reload()
            return target.replace(params=items["params"], **items["training"])
        raise InputError(
            f"No checkpoint in {self.folder} can be read: copy a sound one back, or start again in another "
            "--workdir."
        )

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        self.manager.wait_until_finished()
