"""Runs the stages of an experiment and tabulates their scores."""

import csv
import hashlib
import itertools
import json
import os
import pathlib
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from hicfm_jax.cli import called, of_hicfm
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.comparison import POOLED
from hicfm_jax.evaluate.scores import SCORES
from hicfm_jax.experiment.stages import CHECKPOINTS, Setting, Stage, depth_name
from hicfm_jax.interrupts import run_program
from hicfm_jax.storage import write_atomically

RECORD = "experiment.json"
"""In the workdir: the maps of the experiment, and the command and inputs of each output."""

SMALL_BYTES = 1_000_000  # files up to this size are compared by content
COLUMNS = ("r", "log_r", "mse", "insulation_r", "focus_recovery")  # scores in the table at the end


def run_stages(
    stages: Sequence[Stage],
    root: str | os.PathLike,
    workdir: str | os.PathLike,
    about: Mapping[str, object] | None = None,
) -> None:
    """Runs each stage as a command in its own process, from `root`, the folder of `scripts/`.

    Each command is printed first, so that it can be repeated by hand. A stage is skipped if its output was
    made by the same command from the same inputs; else the old output is removed. A training run always
    starts, because it resumes or finds itself finished. If its inputs changed, the old run is renamed and a
    new one begins. An output that is not recorded is never removed. `about` are facts that all stages in the
    workdir share.

    Raises:
      InputError: the workdir holds another experiment, or a command failed after printing its error.
    """
    path = pathlib.Path(workdir) / RECORD
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        record = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): choose another --workdir.") from error
    for name, value in (about or {}).items():
        before = record.setdefault("about", {}).setdefault(name, value)
        if before != value:
            raise InputError(
                f"{workdir} holds an experiment with {name} {before}, not {value}: choose another "
                "--workdir (OUT= of make)."
            )
    commands, inputs = (record.setdefault(key, {}) for key in ("commands", "inputs"))
    for number, stage in enumerate(stages, 1):
        line, output = f"[{number}/{len(stages)}] {stage.title}", os.path.join(root, stage.output)
        there, recorded = os.path.exists(output), stage.output in commands
        found = {name: fingerprint(os.path.join(root, name)) for name in stage.inputs}
        before = inputs.get(stage.output)
        if there and recorded:
            reason = _outdated(stage, commands[stage.output], before, found)
            if not reason and not stage.resumes:
                print(f"{line}: {stage.output} is there.", flush=True)
                continue
            line += f": {reason}; running again" if reason else ""
            if not stage.resumes:
                (shutil.rmtree if os.path.isdir(output) else os.remove)(output)
            elif reason and before is not None:
                _set_aside(os.path.dirname(output))
        if recorded or stage.resumes or not there:
            commands[stage.output], inputs[stage.output] = None, found  # until the command succeeds
            _write(path, record)
        script, *flags = stage.command
        print(f"{line}\n  {called(pathlib.Path(script).stem)} {shlex.join(flags)}", flush=True)
        started = time.monotonic()
        status = run_program([sys.executable, *_runnable(stage)], cwd=root)
        if status:
            raise InputError(
                f"Stage {number}, {stage.title}, ended with status {status}: see the error above. The same "
                "command continues from this stage."
            )
        commands[stage.output], inputs[stage.output] = list(stage.command), found
        _write(path, record)
        print(f"  took {time.monotonic() - started:,.0f} s", flush=True)


def check_flags(stages: Sequence[Stage], root: str | os.PathLike) -> None:
    """Parses the commands of stages without running them, before the first minute of work.

    Raises:
      InputError: a command has printed what is wrong with its flags.
    """
    for stage in stages:
        if subprocess.run([sys.executable, *_runnable(stage), "--only_check_args"], cwd=root).returncode:
            raise InputError(f"Stage {stage.title} does not take these flags: see the error above.")


def _runnable(stage: Stage) -> tuple[str, ...]:
    """The command of a stage, in the way that this program was called."""
    script, *flags = stage.command
    return ("-m", "hicfm_jax.programs", pathlib.Path(script).stem, *flags) if of_hicfm() else stage.command


def fingerprint(path: str | os.PathLike) -> str:
    """A string that changes with the content of a file or folder, at little cost.

    A file counts by its content up to `SMALL_BYTES`, else by size and modification time. A folder counts by
    the names and sizes of its files and the content of small ones. Of a workdir only the checkpoints count.
    """
    path = pathlib.Path(path)
    if path.is_file():
        status = path.stat()
        if status.st_size > SMALL_BYTES:
            return f"size {status.st_size}, mtime_ns {status.st_mtime_ns}"
        return "sha256 " + hashlib.sha256(path.read_bytes()).hexdigest()
    if not path.is_dir():
        return "missing"
    folder = path / CHECKPOINTS if (path / CHECKPOINTS).is_dir() else path
    digest = hashlib.sha256()
    for file in sorted(file for file in folder.rglob("*") if file.is_file()):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(folder)} {size}\n".encode())
        digest.update(file.read_bytes() if size <= SMALL_BYTES else b"")
    return "sha256 " + digest.hexdigest()


def _outdated(
    stage: Stage, command: list[str] | None, before: Mapping[str, str] | None, found: Mapping[str, str]
) -> str:
    """Why the output of a stage has to be made again; "" if it is up to date."""
    if command != list(stage.command) and not stage.resumes:
        return f"{stage.output} is unfinished or of another command"
    if before is None:
        return "an older version did not record its inputs" if found else ""
    changed = [name for name in found if before.get(name) != found[name]]
    return f"{', '.join(changed)} changed" if changed else ""


def _set_aside(run: str) -> None:
    names = (f"{run}.old-{number}" for number in itertools.count(1))
    old = next(name for name in names if not os.path.exists(name))
    os.rename(run, old)
    print(f"The run {run} is now {old}.", flush=True)


def _write(path: pathlib.Path, record: Mapping[str, object]) -> None:
    write_atomically(path, json.dumps(record, indent=1).encode())


def table(setting: Setting) -> str:
    """Pooled scores of every map on the test chromosomes at each depth, and the paths of the reports."""
    lines = [f"On {', '.join(setting.chromosomes.test)}, not used for training or tuning:"]
    width = 26
    for fraction in setting.fractions:
        folder = setting.report(fraction)
        titles = "".join(f"{SCORES[name].title:>11}" for name in COLUMNS)
        lines += ["", f"{'1/' + depth_name(fraction):{width}}{titles}"]
        with open(os.path.join(folder, "metrics.csv"), newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["chromosome"] == POOLED:
                    texts = [f"{float(row[name]):.4f}" if row[name] else "-" for name in COLUMNS]
                    lines.append(f"{row['map']:{width}}" + "".join(f"{text:>11}" for text in texts))
        lines.append(f"{'':{width}}{os.path.join(folder, 'report.html')}")
    return "\n".join(lines)
