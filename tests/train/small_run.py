"""A training run of seconds: the smallest model on tiles of a made-up map.

Every test that trains the network takes the config of `flags`, so that its programs are compiled once.
"""

import ast
import contextlib
import json
import os
import pathlib
import struct
import subprocess
import sys
import time
from collections.abc import Sequence

import numpy as np
import pytest
from ml_collections import ConfigDict

from configs import pretrain_arabidopsis
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import MemoryTiles
from hicfm_jax.train.logging.metric_writer import TIMING, MetricWriter

ROOT = pathlib.Path(__file__).resolve().parents[2]
PATIENCE_SECONDS = 400
"""Whatever a test waits for has come by then, on a slow and busy machine too, or never will."""


def make_tiles(count: int, seed: int) -> ArrayTiles:
    """Tiles of 64 bins with a decay from the diagonal and a visibility of each bin."""
    rng = np.random.default_rng(seed)
    distance = np.abs(np.subtract.outer(np.arange(64), np.arange(64)))
    visibility = rng.gamma(4, 0.25, (count, 64))
    mean = 200 / (1 + distance) * visibility[:, :, None] * visibility[:, None, :]
    upper = np.triu(rng.poisson(mean))
    counts = upper + np.triu(upper, 1).transpose(0, 2, 1)
    return ArrayTiles(
        counts=counts.astype(np.uint16),
        diag=np.zeros(count, np.int32),
        total_count=np.full(count, 1e6, np.float32),
        matrix_count=counts.sum((1, 2)).astype(np.float32),
        chromosomes=np.full((count, 2), "Chr1"),
        starts=np.zeros((count, 2), np.int32),
        assay=np.full(count, "made_up"),
    )


def save_tiles(folder: pathlib.Path) -> pathlib.Path:
    """Writes a file with a `train` and a `val` split of made-up tiles."""
    path = folder / "tiles.npz"
    MemoryTiles({"train": make_tiles(10, 0), "val": make_tiles(5, 1)}).save(path)
    return path


def crash_after(monkeypatch, crash_step: int) -> None:
    """Makes training end by an interrupt once this step is reported."""
    report = MetricWriter.train

    def crash(self, step, *rest):
        report(self, step, *rest)
        if step == crash_step:
            raise KeyboardInterrupt

    monkeypatch.setattr(MetricWriter, "train", crash)


def flags(tiles: pathlib.Path, workdir: pathlib.Path, *more: str) -> list[str]:
    """Command line of a run of 12 steps, 2 micro-batches each, 2 steps an epoch; `more` replaces flags."""
    given = {flag.partition("=")[0] for flag in more}
    defaults = [
        "--config=configs/pretrain_arabidopsis.py:demo",
        f"--workdir={workdir}",
        f"--config.data.tiles={tiles}",
        "--config.model.name=vit_test",
        "--config.model.input_size=48,48",
        "--config.train.global_batch_size=4",
        "--config.train.accum_steps=2",
        "--config.train.total_steps=12",
        "--config.log.every_steps=3",
        "--config.log.eval_every_epochs=2",
        "--config.log.checkpoint_every_steps=1",
    ]
    flags = [*more, *(flag for flag in defaults if flag.partition("=")[0] not in given)]
    return sorted(flags, key=lambda flag: not flag.startswith("--config="))  # which has to come first


def config(tiles: pathlib.Path, *more: str) -> ConfigDict:
    """The config that scripts/train.py makes of `flags`."""
    made, values = pretrain_arabidopsis.get_config("demo"), {}
    for flag in flags(tiles, pathlib.Path(), *more):
        field, _, value = flag.removeprefix("--config.").partition("=")
        with contextlib.suppress(ValueError, SyntaxError):
            value = ast.literal_eval(value)
        if not field.startswith("--"):
            values[field] = value
    made.update_from_flattened_dict(values)
    return made


def start(arguments: list[str], program: str | None = None) -> subprocess.Popen:
    """Starts scripts/train.py as a user would, or a program text that stands in for it.

    `faults.Program` starts a program text in less time, where a cold start is not the subject.
    """
    script = ["-c", program] if program else ["scripts/train.py"]
    return subprocess.Popen(
        [sys.executable, *script, *arguments],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def outcomes(processes: Sequence[subprocess.Popen]) -> list[tuple[int, str, str]]:
    """Waits for all; exit status, standard output and standard error of each. None of them is left behind."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    try:
        printed = [process.communicate(timeout=max(deadline - time.monotonic(), 1)) for process in processes]
    except subprocess.TimeoutExpired:
        running = [number for number, process in enumerate(processes) if process.poll() is None]
        kill(processes)
        printed = [process.communicate(timeout=30) for process in processes]
        pytest.fail(f"After {PATIENCE_SECONDS} s these had not come to their end: {running}; {printed}")
    finally:
        kill(processes)
    return [(process.returncode, *texts) for process, texts in zip(processes, printed, strict=True)]


def kill(processes: Sequence[subprocess.Popen]) -> None:
    """Kills all that still run."""
    for process in processes:
        process.kill()


def metrics(workdir: pathlib.Path) -> list[dict]:
    """Lines of metrics.jsonl without what differs from run to run."""
    path = workdir / "metrics.jsonl"
    if not path.exists():
        return []
    text = path.read_text()
    records = [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
    return [{name: value for name, value in record.items() if name not in TIMING} for record in records]


def board_events(folder: pathlib.Path) -> list:
    """Events of TensorBoard's files, oldest file first, without TensorFlow."""
    from tensorboardX.proto.event_pb2 import Event

    found = []
    for file in sorted(folder.iterdir()):
        content = file.read_bytes()
        while content:  # length, its checksum, the event, its checksum
            (size,) = struct.unpack_from("Q", content)
            found.append(Event.FromString(content[12 : 12 + size]))
            content = content[16 + size :]
    return found
