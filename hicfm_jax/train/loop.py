"""The training loop of every task."""

import contextlib
import math
import os
from collections.abc import Mapping
from typing import NamedTuple

import jax
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from hicfm_jax.batch import Batch
from hicfm_jax.errors import InputError
from hicfm_jax.progress import doing
from hicfm_jax.train import sharding
from hicfm_jax.train.checkpoint import Checkpoints, has_checkpoints
from hicfm_jax.train.initialize import read_source, source_of, start_from
from hicfm_jax.train.inputs import Inputs, with_tracks
from hicfm_jax.train.logging.metric_writer import MetricWriter
from hicfm_jax.train.optim import create_optimizer, create_schedule, create_select
from hicfm_jax.train.processes import Stop
from hicfm_jax.train.provenance import provenance, trained_before_on
from hicfm_jax.train.step import TrainState, create_train_step
from hicfm_jax.train.tasks import check_config, create_task
from hicfm_jax.train.tasks.task import Task
from hicfm_jax.train.validation import Validation
from hicfm_jax.train.workdir import check_workdir, open_workdir

PATIENCE = 200
"""Steps without one finite micro-batch, after which a run ends. Parameters do not change meanwhile, only
tiles and masks do: a problem of a few tiles is over long before."""


class Result(NamedTuple):
    """Outcome of `train_and_evaluate`.

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


def train_and_evaluate(config: ConfigDict, workdir: str | os.PathLike) -> Result:
    """Trains, validates and saves; resumes where an earlier call in the same workdir stopped.

    The stored config also names the tracks of the tiles, see `inputs.with_tracks`.

    Order of a resume: (1) the config is compared with the stored one, (2) the newest sound
    checkpoint is restored, (3) `metrics.jsonl` is cut back to its step, (4) the stream starts at
    that step. A run that is made longer keeps its state but follows the schedule of the new length.
    A workdir made by `convert_weights.py` continues from the step where PyTorch stopped.
    SIGTERM saves and returns, after a validation that may be running.

    Args:
      config: from `configs/`, validated here.
      workdir: folder for `config.json`, `checkpoints/`, `metrics.jsonl`, `tensorboard/`, `images/`.

    Raises:
      InputError: an invalid config, or a workdir, tiles or parameters that do not fit it, before anything is
        written; or no finite loss for `PATIENCE` steps.
    """
    check_config(config)
    check_workdir(workdir, config)
    source, go_on = source_of(workdir, config)
    mesh = sharding.create_mesh(config)
    with doing("Opening the tiles" if config.data.tiles else "Simulating maps (about a minute)"):
        inputs = Inputs.create(config, sharding.batch_part(mesh))
    config = with_tracks(config, inputs)
    task = create_task(config, inputs.target_shapes())
    total_steps = config.train.total_steps or config.train.epochs * inputs.steps_per_epoch
    schedule = create_schedule(config, total_steps)
    optimizer = create_optimizer(config)
    made_of = provenance(config, inputs.source, workdir, source)
    if known := trained_before_on(config, inputs.source, source):
        print(
            f"WARNING: {source} was trained on chromosomes of the validation, whose scores mean little "
            f"unless they are of another genome: {', '.join(known)}.",
            flush=True,
        )
    resumes = has_checkpoints(workdir)
    with doing("Compiling the first state"):
        state = None if resumes else create_state(config, task, optimizer, mesh, inputs, source, go_on)
    if state is not None and int(state.step) > total_steps:
        raise InputError(
            f"{workdir} stopped at step {int(state.step)} and this run ends at {total_steps}: raise "
            "train.total_steps or train.epochs, or start anew from it with config.init_from."
        )

    with (
        open_workdir(workdir, config) as folder,
        Stop() as stop,
        Checkpoints(folder, config, made_of) as checkpoints,
        contextlib.ExitStack() as at_the_end,
    ):
        resumes = resumes or has_checkpoints(workdir)  # of a run that held the lock until now
        if resumes:
            state = checkpoints.restore_latest(state_shapes(config, task, optimizer, mesh))
        start = finite = int(state.step)
        batches = inputs.train(start)
        train_step = compile_train_step(config, task, optimizer, schedule, state, mesh)
        validation = Validation(config, task, inputs, mesh)
        writer = MetricWriter(folder, config, start, total_steps, inputs.steps_per_epoch, task.flops)
        at_the_end.callback(writer.close)
        if resumes:
            writer.say(f"Going on from step {start}.")
        first = last = {} if resumes else validation.run(state, writer)
        writer.restart_clock(start)
        evaluation = config.log.eval_every_steps or config.log.eval_every_epochs * inputs.steps_per_epoch

        compiling = iter([doing("Compiling the training step (up to a minute)")])
        ahead = None
        for step in range(start + 1, total_steps + 1):
            with next(compiling, contextlib.nullcontext()):
                state = train_step(state, ahead or sharding.to_devices(next(batches), mesh))
            if step < total_steps:  # goes to the devices while they work, also where a log waits for them
                ahead = sharding.to_devices(next(batches), mesh)
            if step == start + 1:
                jax.block_until_ready(state)  # compiled: the speed of the next line is that of training
                writer.restart_clock(step)
            end = step == total_steps
            if end or step % config.log.every_steps == 0:
                state, means = state.read_window()
                writer.train(step, {**means, "learning_rate": float(schedule(step - 1))}, int(state.skipped))
                finite = last_finite(finite, step, means)
            stopping = stop.agreed()  # once, so that a late signal cannot skip the save
            if end or _every(step, evaluation):
                last = validation.run(state, writer)
                checkpoints.save(state, last)
            elif stopping or _every(step, config.log.checkpoint_every_steps):
                writer.flush()
                checkpoints.save(state)
            if stopping:
                break
    return Result(state, first, last, finished=int(state.step) >= total_steps)


def last_finite(before: int, step: int, means: Mapping[str, float]) -> int:
    """The last logged step with a finite loss: this one, or the one `before` by the previous call.

    `means` are of the metrics since then, NaN if every micro-batch was dropped. Raises InputError if there
    was no finite loss for `PATIENCE` steps.
    """
    if math.isfinite(means["loss"]):
        return step
    if step - before >= PATIENCE:
        raise InputError(
            f"From step {before + 1} to {step} no micro-batch had a finite loss and gradient, so the "
            "parameters no longer change: start anew in another --workdir with a lower "
            "config.optim.learning_rate or config.optim.blr, with config.model.dtype=float32, or with "
            "config.init_from=CHECKPOINT of an earlier step."
        )
    return before


def create_state(
    config: ConfigDict,
    task: Task,
    optimizer,
    mesh,
    inputs: Inputs,
    source: str | os.PathLike = "",
    go_on: bool = False,
) -> TrainState:
    """A fresh state on the mesh.

    With `model.center_count`, output biases start at the mean of the first batch's targets. Parameters
    are taken from `source` where it has them, with `go_on` its optimizer and step too.
    """
    weights = read_source(source, config, go_on=go_on) if source else None
    center_on = inputs.first_batch() if config.model.center_count else None
    init = _initializer(config, task, optimizer, center_on)
    shardings = _shardings(state_shapes(config, task, optimizer, mesh))
    state = jax.jit(init, out_shardings=shardings)(jax.random.key(config.train.seed))
    return start_from(state, weights, go_on=go_on) if weights else state


def state_shapes(config: ConfigDict, task: Task, optimizer, mesh) -> TrainState:
    """Shapes, dtypes and shardings of the state, without allocating it."""
    shapes = jax.eval_shape(_initializer(config, task, optimizer), jax.random.key(0))
    shardings = sharding.state_shardings(shapes, mesh)
    return jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place), shapes, shardings
    )


def _initializer(config: ConfigDict, task: Task, optimizer, center_on: Batch | None = None):
    select = create_select(config)

    def init(key):
        params = task.init(key)
        if center_on is not None:
            params = task.center(params, center_on)
        return TrainState.create(params, optimizer, list(task.metrics), select)

    return init


def compile_train_step(config: ConfigDict, task: Task, optimizer, schedule, state: TrainState, mesh):
    """The jitted `(state, batch) -> state`; the old state's buffers are donated to the new one."""
    # A key of its own: masks do not share random numbers with the initial parameters.
    key = jax.random.fold_in(jax.random.key(config.train.seed), 1)
    step = create_train_step(
        task.loss, optimizer, schedule, config.train.accum_steps, key, mesh, create_select(config)
    )
    shardings, batch = _shardings(state), NamedSharding(mesh, sharding.BATCH_SPEC)
    return jax.jit(step, in_shardings=(shardings, batch), out_shardings=shardings, donate_argnums=0)


def _shardings(state: TrainState) -> TrainState:
    return jax.tree.map(lambda leaf: leaf.sharding, state)


def _every(step: int, interval: int) -> bool:
    return interval > 0 and step % interval == 0
