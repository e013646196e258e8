"""Checkpoints of a run: the last ones and the best, written while training goes on."""

import contextlib
import errno
import json
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging
from etils import epath
from ml_collections import ConfigDict

from hicfm_jax.checkpoints.checksums import check_digest, sealed
from hicfm_jax.checkpoints.folder import FOLDER, absolute, is_converted, read_meta
from hicfm_jax.config import to_json
from hicfm_jax.errors import InputError
from hicfm_jax.train.distributed import any_process
from hicfm_jax.train.state import TrainState

KEPT = 2  # newest checkpoints; two, so that a damaged one is not the only one
BEST_METRIC = "loss"  # of the validation; lower is better


class _NewestAndBest:
    """Orbax's question which checkpoints are to stay.

    Orbax knows the metrics only of what was saved since it was opened, and would delete the best one of
    before the last resume: the checkpoints say themselves.
    """

    def __init__(self, folder: epath.Path):
        self._folder = folder

    def should_preserve(self, checkpoints: Sequence[Any], *, context: Any) -> list[bool]:
        losses = [self._loss(each) for each in checkpoints]
        unread = {i for i, loss in enumerate(losses) if loss is None}
        stay = unread | set(range(len(losses))[-KEPT:])
        if known := set(range(len(losses))) - unread:
            stay.add(max(known, key=lambda i: (-losses[i], i)))  # the best
        return [i in stay for i in range(len(losses))]

    def _loss(self, checkpoint: Any) -> float | None:
        """Of the validation at that step; infinite if there was none, None if it cannot be read now."""
        metrics = checkpoint.metrics
        if not metrics:
            meta = read_meta(self._folder / str(checkpoint.step))
            if not meta:
                return None
            metrics = meta.get("validation", {})
        loss = metrics.get(BEST_METRIC, math.inf)
        return loss if math.isfinite(loss) else math.inf


def _manager(folder: epath.Path) -> ocp.CheckpointManager:
    options = ocp.CheckpointManagerOptions(
        preservation_policy=_NewestAndBest(folder),
        enable_async_checkpointing=True,
        cleanup_tmp_directories=True,  # of a run that was killed while it saved
    )
    return ocp.CheckpointManager(folder, options=options, item_names=("params", "training", "meta"))


def _training_part(state: TrainState) -> dict[str, Any]:
    return {name: getattr(state, name) for name in ("step", "opt_state", "skipped", "window")}


@contextlib.contextmanager
def _full_disk_named(folder: epath.Path) -> Iterator[None]:
    """Turns what Orbax makes of a full disk, a full quota or a file size limit back into an OSError."""
    try:
        yield
    except Exception as error:
        full = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        if any(os.strerror(code) in str(error) for code in full):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from error
        raise


def _speaks_of_damage(error: Exception) -> bool:
    """Whether an error in reading is about the checkpoint, and not about memory, rights or a network."""
    signs = ("RESOURCE_EXHAUSTED", "PERMISSION_DENIED", "UNAUTHENTICATED", "UNAVAILABLE", "DEADLINE_EXCEEDED")
    passing = (MemoryError, PermissionError, ConnectionError, TimeoutError)
    return not isinstance(error, passing) and not any(sign in str(error) for sign in signs)


def has_checkpoints(workdir: str | os.PathLike) -> bool:
    """Whether a run in this workdir has ever saved: what was converted and not trained since is none."""
    folder = absolute(workdir) / FOLDER
    if not folder.is_dir() or is_converted(workdir):
        return False
    damaged = any(entry.name.startswith("damaged-") for entry in folder.iterdir())
    return damaged or bool(ocp.utils.checkpoint_steps(folder))


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
        meta = sealed(meta, params=state.params, training=_training_part(state))
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
        damaged: dict[int, ValueError] = {}
        for step in sorted(self.manager.all_steps(), reverse=True):
            try:
                items = self._restore(step, target)
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
        newest = damaged.get(max(damaged, default=None))
        raise InputError(
            f"No checkpoint in {self.folder} can be read{f' ({newest})' if newest else ''}: copy a sound one "
            "back, or start again in another --workdir."
        ) from newest

    def _restore(self, step: int, target: TrainState) -> Any:
        """The items of a checkpoint.

        Raises:
          ValueError: it is damaged; on all processes, though it were damaged in the part of one alone.
        """
        reason, folder = "", self.folder / str(step)
        arrays = {"params": target.params, "training": _training_part(target)}
        try:
            meta = json.loads((folder / "meta" / "metadata").read_text())
            # Not through the manager, which has all processes wait for one that cannot read its part.
            handler = ocp.StandardCheckpointHandler()
            items = {
                name: handler.restore(folder / name, args=ocp.args.StandardRestore(shapes))
                for name, shapes in arrays.items()
            }
        except Exception as error:  # whatever a damaged file makes Orbax raise
            if not _speaks_of_damage(error):
                raise
            reason = " ".join(str(error).split())[:200]
        # Before the sums over bits, in which all take part.
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
        any_process(False).block_until_ready()  # all see it renamed

    def wait(self) -> None:
        """Returns when everything saved so far is on disk."""
        self.manager.wait_until_finished()
