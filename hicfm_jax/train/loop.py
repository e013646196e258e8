"""The training loop of every task."""

import contextlib
import os
import signal
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from hicfm_jax import config as config_lib
from hicfm_jax.train import checkpoint, sharding
from hicfm_jax.train.optim import create_optimizer, create_schedule
from hicfm_jax.train.progress import Progress, matmul_rate
from hicfm_jax.train.sources import create_source
from hicfm_jax.train.state import TrainState
from hicfm_jax.train.step import create_train_step
from hicfm_jax.train.tasks import Task, create_task
from hicfm_jax.train.workdir import open_workdir
from hicfm_jax.types import Batch


class Result(NamedTuple):
    """How a call of `train_and_evaluate` ended.

    Attributes:
      state: the last state.
      first, last: validation metrics at step 0 (empty if this call resumed) and at the last
        validation of this call (empty if there was none).
      finished: False if a signal stopped it before the last step.
    """

    state: TrainState
    first: dict[str, float]
    last: dict[str, float]
    finished: bool


class Plan(NamedTuple):
    """How long training is, in optimizer steps."""

    steps_per_epoch: int
    total_steps: int

    @classmethod
    def create(cls, config: ConfigDict, num_tiles: int) -> "Plan":
        steps_per_epoch = max(1, num_tiles // config.train.global_batch_size)
        return cls(steps_per_epoch, config.train.total_steps or steps_per_epoch * config.train.epochs)

    def due(self, step: int, every_epochs: int) -> bool:
        """Whether a validation falls on this step: at whole epochs and at the end."""
        return step == self.total_steps or step % (self.steps_per_epoch * every_epochs) == 0


def train_and_evaluate(config: ConfigDict, workdir: str | os.PathLike) -> Result:
    """Trains, validates, saves; takes up where an earlier call in the same workdir stopped.

    Order of a resume: (1) the config is compared with the stored one, (2) the newest sound
    checkpoint is restored, (3) `metrics.jsonl` is cut back to its step, (4) the stream starts at
    that step. SIGTERM saves and returns.

    Args:
      config: from `configs/`, validated here.
      workdir: folder for `config.json`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `images/`.

    Raises:
      InputError: a config, workdir, tiles or parameters that do not fit; nothing is left behind.
    """
    config_lib.validate(config)
    mesh = sharding.create_mesh(config)
    source = create_source(config)
    task = create_task(config)
    plan = Plan.create(config, source.num_tiles("train"))
    schedule = create_schedule(config, plan.total_steps)
    optimizer = create_optimizer(config)
    host = dict(host_index=jax.process_index(), host_count=jax.process_count())
    stream_arguments = dict(
        window=tuple(config.model.input_size),
        seed=config.train.seed,
        min_density=config.data.min_density,
        max_redraws=config.data.max_redraws,
        **host,
    )
    validations = Validation(config, task, source, mesh, stream_arguments)
    batch_arguments = dict(
        batch_size=config.train.global_batch_size, flips=config.data.flips, **stream_arguments
    )
    # The whole first batch on every host: they must agree.
    whole = {**batch_arguments, "host_index": 0, "host_count": 1}
    first_batch = next(source.train_stream("train", **whole)) if config.model.center_count else None
    state = create_state(config, task, optimizer, mesh, first_batch)

    with open_workdir(workdir, config) as folder, _sigterm() as stopped:
        checkpoints = checkpoint.Checkpoints(folder)
        state = checkpoints.restore_latest(state) or state
        start = int(state.step)
        train_step = compile_train_step(config, task, optimizer, schedule, state, mesh)
        batches = source.train_stream("train", start_step=start, **batch_arguments)
        progress = Progress(
            folder, start, plan.total_steps, plan.steps_per_epoch, config.train.global_batch_size
        )
        full_speed = matmul_rate(config.model.dtype) * jax.device_count()
        first = last = validations.run(state, progress) if start == 0 else {}
        progress.restart_clock(start)

        for step in range(start + 1, plan.total_steps + 1):
            state = train_step(state, sharding.to_devices(next(batches), mesh))
            if step == start + 1:
                jax.block_until_ready(state.step)
                progress.restart_clock(step)
            if step % config.log.every_steps == 0 or step == plan.total_steps:
                state, means = state.read_window()
                means["learning_rate"] = float(schedule(step - 1))
                means["skipped_micro_batches"] = int(state.skipped)
                progress.train(step, means, full_speed, task.flops)
            if plan.due(step, config.log.eval_every_epochs):
                last = validations.run(state, progress)
                checkpoints.save(state, last)
            elif stopped() or _every(step, config.log.checkpoint_every_steps):
                checkpoints.save(state)
            if stopped():
                break
        checkpoints.close()
        progress.close()
    return Result(state, first, last, finished=int(state.step) >= plan.total_steps)


def create_state(
    config: ConfigDict, task: Task, optimizer, mesh, center_on: Batch | None = None
) -> TrainState:
    """A fresh state on the mesh, its parameters from `config.init_from` if that is given.

    Args:
      config, task, optimizer, mesh: of the run.
      center_on: batch whose targets' means the output biases start at; None: they start at 0.
    """

    def init(key):
        params = task.init(key)
        if center_on is not None:
            params = task.center(params, center_on)
        return TrainState.create(params, optimizer, list(task.metrics))

    key = jax.random.key(config.train.seed)
    shardings = sharding.state_shardings(jax.eval_shape(init, key), mesh)
    state = jax.jit(init, out_shardings=shardings)(key)
    if config.init_from:
        state = state.replace(params=checkpoint.load_params(config.init_from, state.params))
    return state


def compile_train_step(config: ConfigDict, task: Task, optimizer, schedule, state: TrainState, mesh):
    """The jitted `(state, batch) -> state`; the old state's memory is given to the new one."""
    # A key of its own, so that masks are not made of the numbers that made the parameters.
    key = jax.random.fold_in(jax.random.key(config.train.seed), 1)
    step = create_train_step(task.loss, optimizer, schedule, config.train.accum_steps, key, mesh)
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    batch = NamedSharding(mesh, sharding.BATCH_SPEC)
    return jax.jit(step, in_shardings=(shardings, batch), out_shardings=shardings, donate_argnums=0)


class Validation:
    """Judges a state on every held-out tile, at crops and masks that never change."""

    def __init__(self, config: ConfigDict, task: Task, source, mesh, stream_arguments: dict):
        self.config, self.task, self.source, self.mesh = config, task, source, mesh
        self.arguments = stream_arguments
        self.batch_size = config_lib.micro_batch_size(config)
        self.key = jax.random.fold_in(jax.random.key(config.train.seed), 2)
        self.evaluate = jax.jit(task.evaluate)
        replicated = NamedSharding(mesh, PartitionSpec())
        self.panels = jax.jit(task.panels, out_shardings=replicated)

    def run(self, state: TrainState, progress: Progress) -> dict[str, float]:
        """Evaluates and logs; returns the metrics."""
        jax.block_until_ready(state)  # steps still under way are training time
        started = time.perf_counter()
        totals: dict[str, float] = {}
        pictures: list[jax.Array] = []
        batches = self.source.evaluation_stream("val", batch_size=self.batch_size, **self.arguments)
        count = -(-self.source.num_tiles("val") // self.batch_size)
        # Windows for the picture come from all over the split, not from its first batch alone.
        wanted = self._pictured(count)
        for number, batch in enumerate(batches):
            batch = sharding.to_devices(batch, self.mesh)
            keys = self._keys(number)
            sums = jax.device_get(self.evaluate(state.params, batch, keys))
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + float(value)
            if number in wanted:
                pictures.append(self.panels(state.params, batch, keys)[: wanted[number]])
        metrics = self.task.finish(totals)
        panels = jax.device_get(jnp.concatenate(pictures)) if pictures else []
        progress.validation(int(state.step), metrics, panels, self.task.panel_names)
        progress.pause(time.perf_counter() - started)
        return metrics

    def _keys(self, number: int):
        # One key per tile, so that a mask does not depend on the batch size.
        index = number * self.batch_size + jnp.arange(self.batch_size)
        return jax.vmap(lambda i: jax.random.fold_in(self.key, i))(index)

    def _pictured(self, count: int) -> dict[int, int]:
        pictures = min(self.config.log.image_count, self.source.num_tiles("val"))
        wanted: dict[int, int] = {}
        for i in range(pictures):
            number = i * count // pictures
            wanted[number] = wanted.get(number, 0) + 1
        return wanted


def _every(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0


@contextlib.contextmanager
def _sigterm():
    """Yields `stopped()`: whether SIGTERM came. The signal then no longer ends the process."""
    seen = []
    try:
        previous = signal.signal(signal.SIGTERM, lambda *_: seen.append(True))
    except ValueError:  # not the main thread: signals belong to somebody else
        yield lambda: False
        return
    try:
        yield lambda: bool(seen)
    finally:
        signal.signal(signal.SIGTERM, previous)
