"""Faults that come at an exact moment of a run: of its process, its checkpoints, its disk, its numbers.

A run is the real script with the real loop, stream, validation and checkpoints; only the network is, unless
asked for, a matrix, which compiles in no time. What is done to it is said by a `Fault`.
"""

import dataclasses
import itertools
import multiprocessing
import os
import pathlib
import re
import resource
import runpy
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ml_collections import ConfigDict

from hicfm_jax.batch import Batch
from hicfm_jax.checkpoints import folder as checkpoint_folder
from hicfm_jax.train import loop
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.logging import metric_writer
from hicfm_jax.train.tasks.task import Task
from tests.train import small_run

metric_writer.import_tensorboard()  # slow, and done once: runs are forked from a server that has it

OWN = ("--config.log.checkpoint_every_steps=2", "--config.log.image_count=2")


def flags(tiles: pathlib.Path, workdir: pathlib.Path, *more: str) -> list[str]:
    """Command line of a run of 12 steps, logged every 3, saved every 2, validated every 4."""
    return small_run.flags(tiles, workdir, *OWN, *more)


def config(tiles: pathlib.Path, *more: str) -> ConfigDict:
    """What the script makes of these flags."""
    return small_run.config(tiles, *OWN, *more)


def with_a_matrix(patch: pytest.MonkeyPatch) -> None:
    """Makes runs of this process train the matrix, and leave out what only says how fast they are."""
    patch.setattr(loop, "create_task", matrix_task)
    patch.setattr(metric_writer, "matmul_rate", lambda dtype: 1.0)


def matrix_task(config, targets=None) -> Task:
    """Predicts the logarithm of a window from its visible half, row by row, with one matrix.

    The loss is NaN where a `total_count` is, and the gradient alone where one is negative.
    """
    height, width = config.model.input_size

    def predict(params, batch, noise):
        seen = jnp.log1p(batch.counts.astype(jnp.float32))
        return (seen * (noise > 0.5)) @ params["layer"]["kernel"] + params["layer"]["bias"], seen

    def errors(params, batch, noise):
        predicted, seen = predict(params, batch, noise)
        return jnp.mean((predicted - seen) ** 2, axis=(1, 2))

    def noise_of(keys):
        return jax.vmap(lambda key: jax.random.uniform(key, (height, width)))(keys)

    def loss(params, batch, keys):
        error = errors(params, batch, noise_of(keys)).mean()
        sound = jnp.where(batch.total_count.min() < 0, 0.0, 1.0)
        trap = jnp.sqrt(sound * jnp.sum(params["layer"]["bias"] ** 2 + 1))
        error += 0.0 * (trap + batch.total_count.mean())
        return error, {"loss": error}

    def evaluate(params, batch, keys):
        error = errors(params, batch, noise_of(keys))
        return {"examples": batch.mask.sum(), "loss": (error * batch.mask).sum()}

    def panels(params, batch, keys):
        return jnp.stack(predict(params, batch, noise_of(keys)), axis=2)

    def init(key):
        return {"layer": {"kernel": 0.02 * jax.random.normal(key, (width, width)), "bias": jnp.zeros(width)}}

    return Task(
        model=None,
        init=init,
        center=lambda params, batch: params,
        loss=loss,
        evaluate=evaluate,
        finish=lambda sums: {"loss": sums["loss"] / sums["examples"]},
        panels=panels,
        panel_names=("predicted", "true"),
        metrics=("loss",),
        flops=1,
    )


@dataclasses.dataclass(frozen=True)
class Fault:
    """What is done to a run, and when.

    Attributes:
      phase: "compile" (of the first step), "step" (step `number`, while the batch after it is fetched),
        "save" (all of step `number` is written, under another name), "full_disk" (as that save begins) or
        "validation" (at its second batch; `number` counts from 0, that before the first step).
      number: see there.
      signal: what the process sends itself; None makes it wait to be killed.
    """

    phase: str
    number: int = 0
    signal: int | None = signal.SIGKILL

    def happen(self) -> None:
        if self.signal:
            os.kill(os.getpid(), self.signal)
            return
        print("waiting", flush=True)
        time.sleep(600)

    def install(self, patch: pytest.MonkeyPatch) -> None:
        getattr(self, f"_in_{self.phase}")(patch)

    def _in_compile(self, patch):
        create = loop.create_train_step

        def traced(*arguments):
            step = create(*arguments)

            def first_part_of_compiling(*values):
                self.happen()
                return step(*values)

            return first_part_of_compiling

        patch.setattr(loop, "create_train_step", traced)

    def _in_step(self, patch):
        def watch(step, batch):
            if step == self.number + 1:
                self.happen()
            return batch

        change_batches(patch, watch)

    def _in_save(self, patch):
        # Orbax gives a checkpoint its name last; hooks of this kind cannot be removed: children only.
        def watch(event, arguments):
            if event == "os.rename" and re.search(rf"/checkpoints/{self.number}$", str(arguments[1])):
                self.happen()

        sys.addaudithook(watch)

    def _in_full_disk(self, patch):
        save = Checkpoints.save

        def watched(checkpoints, state, *rest):
            if int(state.step) == self.number:
                checkpoints.wait()
                limit_files(4_000)  # less than a matrix takes
            return save(checkpoints, state, *rest)

        patch.setattr(Checkpoints, "save", watched)

    def _in_validation(self, patch):
        validation, count = Inputs.validation, itertools.count()

        def watched(inputs):
            batches = validation(inputs)

            def second_batch():
                number = next(count)
                for index, batch in enumerate(batches):
                    if number == self.number and index == 1:
                        self.happen()
                    yield batch

            return second_batch()

        patch.setattr(Inputs, "validation", watched)


def change_batches(patch: pytest.MonkeyPatch, change: Callable[[int, Batch], Batch]) -> None:
    """Passes the batch of each training step through `change(step, batch)`."""
    train = Inputs.train

    def changed(inputs, start):
        return itertools.starmap(change, zip(itertools.count(start + 1), train(inputs, start), strict=False))

    patch.setattr(Inputs, "train", changed)


def poison(name: str, steps: set[int]) -> Callable[[int, Batch], Batch]:
    """A change that makes the "loss" or the "gradient" of each first micro-batch NaN, or of "both" halves."""
    value = -1.0 if name == "gradient" else np.nan

    def change(step, batch):
        total_count = np.array(batch.total_count)
        total_count[: None if name == "both" else len(total_count) // 2] = value
        return dataclasses.replace(batch, total_count=total_count) if step in steps else batch

    return change


def checkpoints(workdir: pathlib.Path) -> set[str]:
    """Names in the folder of a run's checkpoints."""
    return {path.name for path in (workdir / "checkpoints").glob("*")}


def assert_same(workdir: pathlib.Path, other: pathlib.Path) -> None:
    """The same lines of metrics.jsonl, the same parameters and moments, to the last bit."""
    assert small_run.metrics(workdir) == small_run.metrics(other)
    one, two = (checkpoint_folder.read(path, with_adam=True) for path in (workdir, other))
    assert one.folder.name == two.folder.name
    for a, b in zip(*(jax.tree.leaves((each.params, each.adam)) for each in (one, two)), strict=True):
        np.testing.assert_array_equal(a, b)
    left = {name for name in checkpoints(workdir) if not name.isdigit() and not name.startswith("damaged-")}
    assert not left


def limit_files(size: int) -> None:
    """Lets no file of this process grow beyond `size` bytes, which fails where a full disk does."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


class Run:
    """`scripts/train.py` in a process of its own.

    Attributes:
      process: may be killed.
    """

    def __init__(
        self, arguments: list[str], log: pathlib.Path, fault: Fault | None = None, matrix: bool = True
    ):
        """Starts it; `log` is made of what it prints; without `matrix` it trains what it is told to."""
        self._log = log
        self.process = _forked(_run, arguments, log, fault, matrix)

    def printed(self) -> str:
        return self._log.read_text() if self._log.exists() else ""

    def wait(self) -> tuple[int, str]:
        """Exit status, or minus the signal that ended it, and what was printed. It is not left behind."""
        try:
            self.process.join(small_run.PATIENCE_SECONDS)
            assert self.process.exitcode is not None, f"Not at its end in time: {self.printed()}"
        finally:
            self.process.kill()
        return self.process.exitcode, self.printed()

    def wait_for(self, word: str) -> None:
        """Waits until it has printed the word; if it does not, it is not left behind."""
        deadline = time.monotonic() + small_run.PATIENCE_SECONDS
        try:
            while word not in self.printed():
                assert self.process.is_alive(), f"Ended without printing {word!r}: {self.printed()}"
                assert time.monotonic() < deadline, f"{word!r} not printed in time: {self.printed()}"
                time.sleep(0.02)
        except BaseException:
            self.process.kill()
            raise


class Program:
    """A program text in a process of its own, with what tests use of `subprocess.Popen`.

    It begins with what this module imports, which a new Python would take seconds for.
    """

    def __init__(self, arguments: list[str], text: str, **variables: str):
        """Starts it; `variables` are added to those of the environment."""
        self._folder = tempfile.TemporaryDirectory()
        self._printed = [pathlib.Path(self._folder.name, name) for name in ("out", "err")]
        self._process = _forked(_run_text, text, arguments, self._printed, variables)

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self.returncode

    def communicate(self, timeout: float) -> tuple[str, str]:
        """Standard output and standard error, once it has ended."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired("a program text", timeout)
        return tuple(path.read_text() if path.exists() else "" for path in self._printed)

    def kill(self) -> None:
        self._process.kill()

    def send_signal(self, number: int) -> None:
        if self.returncode is None:
            os.kill(self._process.pid, number)


def _forked(target: Callable, *arguments: object) -> multiprocessing.Process:
    """A started process, forked from a server that has imported this module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    process = context.Process(target=target, args=arguments)
    process.start()
    return process


def _print_to(*paths: pathlib.Path) -> None:
    """Sends standard output and standard error of this process to files."""
    for number, path in enumerate(paths, 1):
        with open(path, "wb", buffering=0) as file:
            os.dup2(file.fileno(), number)


def _run_text(
    text: str, arguments: list[str], printed: list[pathlib.Path], variables: dict[str, str]
) -> None:
    _print_to(*printed)
    os.environ.update(variables)
    os.chdir(small_run.ROOT)
    sys.argv = ["-c", *arguments]
    exec(compile(text, "<program>", "exec"), {"__name__": "__main__"})


def _run(arguments: list[str], log: pathlib.Path, fault: Fault | None, matrix: bool) -> None:
    with open(log, "wb", buffering=0) as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    patch = pytest.MonkeyPatch()
    if matrix:
        with_a_matrix(patch)
    if fault:
        fault.install(patch)
    os.chdir(small_run.ROOT)
    sys.argv = ["scripts/train.py", *arguments]
    runpy.run_path(sys.argv[0], run_name="__main__")
