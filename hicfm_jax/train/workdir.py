"""Folder of a run: one config, one process, and its summary."""

import contextlib
import itertools
import json
import os
import pathlib
import shutil
from collections.abc import Iterator

import jax
from etils import epath
from ml_collections import ConfigDict

from hicfm_jax.checkpoints.folder import absolute
from hicfm_jax.cli import called
from hicfm_jax.config import check_resumable, to_json
from hicfm_jax.errors import InputError
from hicfm_jax.storage import in_bucket, locked, write_atomically
from hicfm_jax.train.metrics import METRICS
from hicfm_jax.train.tasks import TASKS

# Folders that a process killed while it wrote a file leaves behind, see `storage.atomic_file`.
_PARTIAL = (".config.json.*", ".metrics.jsonl.*", "images/.step_*")


def check_workdir(workdir: str | os.PathLike, config: ConfigDict) -> None:
    """Refuses a workdir before any work is done for it; creates nothing.

    Raises:
      InputError: it belongs to a run with another config, or is a file.
    """
    if not os.fspath(workdir):
        raise InputError("--workdir is empty: give a folder.")
    folder = absolute(workdir)
    if folder.exists() and not folder.is_dir():
        raise InputError(f"--workdir={workdir} is a file: give a folder.")
    if not in_bucket(folder):
        there = next(part for part in (pathlib.Path(folder), *pathlib.Path(folder).parents) if part.exists())
        if not there.is_dir() or not os.access(there, os.W_OK):
            raise InputError(f"--workdir={workdir} cannot be made, as {there} is not a writable folder.")
    stored = folder / "config.json"
    if stored.exists():
        check_resumable(config, stored.read_text(), str(workdir))


@contextlib.contextmanager
def open_workdir(workdir: str | os.PathLike, config: ConfigDict) -> Iterator[epath.Path]:
    """Creates or reopens a workdir that passed `check_workdir`, and locks it against a second run.

    Raises:
      InputError: it is in use.
    """
    folder, first = absolute(workdir), jax.process_index() == 0
    folder.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as lock:
        if first and not in_bucket(folder):
            local = pathlib.Path(folder)
            in_use = f"{folder} is in use by another run: wait for it or use another --workdir."
            lock.enter_context(locked(local / ".lock", in_use))
            for partial in itertools.chain.from_iterable(map(local.glob, _PARTIAL)):
                shutil.rmtree(partial, ignore_errors=True)
        if first:
            write_atomically(folder / "config.json", (to_json(config) + "\n").encode())
        yield folder


def _number(value: float | None) -> str:
    return "     nan" if value is None else f"{value:8.3f}"  # JSON has no NaN, the file has null


def summary(config: ConfigDict, workdir: str, finished: bool, step: int) -> str:
    """Text for the end of `scripts/train.py`, after `step` optimizer steps."""
    lines = [
        "",
        f"{'Finished' if finished else 'Stopped and saved'} at step {step}. Everything is in {workdir}:",
        "  checkpoints/     parameters and optimizer (newest and best)",
        f"  images/          held-out windows: {', '.join(TASKS[config.task].pictures)}",
        f"  tensorboard/     tensorboard --logdir={workdir}/tensorboard",
        "  metrics.jsonl    every logged number",
    ]
    records = map(json.loads, (epath.Path(workdir) / "metrics.jsonl").read_text().splitlines())
    validations = [record for record in records if record["split"] == "val"]
    if len(validations) > 1:
        first, last = validations[0], validations[-1]
        data = f"the val split of {config.data.tiles}" if config.data.tiles else "SIMULATED maps held out"
        lines += ["", f"Learned, on {data} (step {first['step']} -> step {last['step']}):"]
        for name, metric in METRICS.items():
            if metric.meaning and name in last:
                numbers = f"{_number(first[name])} -> {_number(last[name])}"
                lines.append(f"  {name:<21} {numbers}   {metric.meaning}")
    if not finished:
        lines += ["", "The same command continues from here."]
    elif not config.data.tiles and config.task != "pretrain":
        lines += [
            "",
            f"These maps were simulated. With your own: --config.data.tiles=TILES of {called('make_tiles')}.",
        ]
    elif not config.data.tiles:
        simulate = config.data.simulate
        size = simulate.tile_size
        variant = ":demo" if size < 448 else ":small_batch"
        lines += [
            "",
            "These maps were simulated. With your own map:",
            f"  {called('make_tiles')} --input=MAP.mcool --resolution={simulate.resolution} \\",
            f"      --tile_size={size} --stride={simulate.stride} --val_chromosomes=Chr4 --output=tiles/mine",
            f"  {called('train')} --config=configs/pretrain_arabidopsis.py{variant} \\",
            "      --config.data.tiles=tiles/mine --workdir=runs/mine",
        ]
    return "\n".join(lines)
