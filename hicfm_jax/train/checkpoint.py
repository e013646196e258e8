"""Checkpoints of a run: the newest and the best, written while training continues."""

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from hicfm_jax.checkpoints.checksums import check_digest, sealed
from hicfm_jax.checkpoints.folder import BEST_METRIC, FOLDER, absolute, checked_meta, is_converted, read_meta
from hicfm_jax.config import to_json
from hicfm_jax.errors import InputError
from hicfm_jax.storage import disk_errors
from hicfm_jax.train.processes import any_process, lost_connection
from hicfm_jax.train.step import TrainState

KEPT = 2  # newest checkpoints; two, so that a damaged one is not the only one

# Errors of a missing file, which is damage, among those that the operating system reports.
_MISSING = (FileNotFoundError, NotADirectoryError, IsADirectoryError)

# How messages of JAX and TensorStore begin if memory, rights, a disk or a network failed. TensorStore
# translates errno like absl: EMFILE to RESOURCE_EXHAUSTED, ESTALE to ABORTED, EIO to UNKNOWN.
_PASSING = re.compile(
    r"\b(ABORTED|CANCELLED|DEADLINE_EXCEEDED|PERMISSION_DENIED|RESOURCE_EXHAUSTED|UNAUTHENTICATED|UNAVAILABLE"
    r"|UNKNOWN): "
)


class _NewestAndBest:
    """Orbax's rule which checkpoints to keep.

    Metrics are read from the checkpoints, because Orbax knows only those saved since it was opened and would
    delete the best one from before the last resume.
    """

    def __init__(self, folder: epath.Path):
        self._folder = folder

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        losses = [self._loss(each) for each in checkpoints]
        known = [i for i, loss in enumerate(losses) if loss is not None]
        best = max(known, key=lambda i: (-losses[i], i), default=None)
        newest = len(losses) - KEPT
        return [loss is None or i == best or i >= newest for i, loss in enumerate(losses)]

    def _loss(self, checkpoint: Any) -> float | None:
        """Loss of the validation at that step; infinite without one, None if it cannot be read now."""
        metrics = checkpoint.metrics
        if not metrics:
            meta = read_meta(self._folder / str(checkpoint.step))
            if not meta:
                return None
            metrics = meta.get("validation", {})
        loss = metrics.get(BEST_METRIC, math.inf)
        return loss if math.isfinite(loss) else math.inf


def _training_part(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "opt_state", "skipped", "window")}


def _is_damage(error: BaseException | None) -> bool:
    """Whether an error in reading shows missing or changed content, and not a failing machine or network."""
    while error is not None:
        passing = isinstance(error, MemoryError) or _PASSING.search(str(error))
        if passing or (isinstance(error, OSError) and not isinstance(error, _MISSING)):
            return False
        error = error.__cause__ or error.__context__
    return True


def has_checkpoints(workdir: str | os.PathLike) -> bool:
    """Whether a run in this workdir has ever saved; converted weights do not count."""
    folder = absolute(workdir) / FOLDER
    if not folder.is_dir() or is_converted(workdir):
        return False
    damaged = any(entry.name.startswith("damaged-") for entry in folder.iterdir())
    return damaged or bool(ocp.utils.checkpoint_steps(folder))


class Checkpoints:
    """The folder `checkpoints/` of a workdir; one folder per step with `params`, `training`, `meta`."""

    def __init__(
        self, workdir: str | os.PathLike, config: ConfigDict, provenance: Mapping[str, Any] | None = None
    ):
        """Opens or creates the folder; `config` and `provenance` are stored with each checkpoint."""
        self._provenance = dict(provenance or {})
        self.folder = absolute(workdir) / FOLDER
        self.config = config
        options = ocp.CheckpointManagerOptions(
            preservation_policy=_NewestAndBest(self.folder),
            enable_async_checkpointing=True,
            cleanup_tmp_directories=True,  # of a run that was killed while it saved
        )
        items = ("params", "training", "meta")
        self.manager = ocp.CheckpointManager(self.folder, options=options, item_names=items)

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, _kind, error: BaseException | None, _trace) -> None:
        if error is not None and lost_connection(error):
            return  # the manager would wait for the process that ended
        with disk_errors(self.folder):
            self.manager.close()  # waits for what is still being written

    def save(self, state: TrainState, metrics: Mapping[str, float] | None = None) -> None:
        """Starts to write the state under its step; returns before it is on disk.

        `metrics`, of the validation at this step if there was one, decide which checkpoint is the best.
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
        meta = sealed(meta, params=state.params, training=_training_part(state))
        items = ocp.args.Composite(
            params=ocp.args.StandardSave(state.params),
            training=ocp.args.StandardSave(_training_part(state)),
            meta=ocp.args.JsonSave(meta),
        )
        with disk_errors(self.folder):
            self.manager.save(step, args=items, metrics=dict(metrics) if metrics else None)

    def restore_latest(self, target: TrainState) -> TrainState:
        """The newest state that is sound, placed like `target` (arrays or shapes with shardings).

        A damaged checkpoint is passed over, and renamed to `damaged-STEP` once an older one was restored.

        Raises:
          InputError: all are damaged, or memory, rights, disk or network fail while one is read.
        """
        damaged: dict[int, ValueError] = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                items = self._restore(step, target)
            except InputError:
                raise
            except ValueError as error:
                damaged[step] = error
                continue
            for bad, reason in damaged.items():
                logging.error(
                    "%s is damaged (%s): going on from step %d; what is left of it is kept as damaged-%d.",
                    *(self.folder / str(bad), reason, step, bad),
                )
                self._set_aside(bad)
            self.manager.reload()
            return target.replace(params=items["params"], **items["training"])
        newest = next(iter(damaged.values()), None)
        raise InputError(
            f"No checkpoint in {self.folder} can be read{f' ({newest})' if newest else ''}: copy a sound one "
            "back, or start again in another --workdir."
        ) from newest

    def _restore(self, step: int, target: TrainState) -> Any:
        """The items of a checkpoint.

        Damage raises ValueError on all processes, even if only the part of one is damaged; InputError means
        that the checkpoint cannot be read now.
        """
        reason, folder = "", self.folder / str(step)
        arrays = {"params": target.params, "training": _training_part(target)}
        try:
            meta = checked_meta(folder)
            # Not through the manager, which has all processes wait for one that cannot read its part.
            handler = ocp.StandardCheckpointHandler()
            items = {
                name: handler.restore(folder / name, args=ocp.args.StandardRestore(shapes))
                for name, shapes in arrays.items()
            }
        except Exception as error:  # a damaged file makes Orbax raise errors of any kind
            reason = " ".join(str(error).split())[:200] or type(error).__name__
            if not _is_damage(error):
                raise InputError(
                    f"{folder} cannot be read now, and nothing was changed ({reason}): look after the disk, "
                    "network, memory or rights, then give the same command again."
                ) from error
        # Before the checksums, which all processes compute together.
        if any_process(bool(reason)):
            raise ValueError(reason or "in the part of another process")
        check_digest(meta, **items)
        return items

    def _set_aside(self, step: int) -> None:
        if jax.process_index() == 0:
            aside = self.folder / f"damaged-{step}"
            if aside.exists():
                aside.rmtree()
            (self.folder / str(step)).rename(aside)
        any_process(False).block_until_ready()  # until it is renamed for all

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        self.manager.wait_until_finished()
