"""Runs the stages one after another; what is done already is left as it is.

The scores of an experiment in one table.
"""

import csv
import json
import os
import pathlib
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence

from hicfm_jax.errors import InputError
from hicfm_jax.experiment.stages import Setting, Stage, depth_name, report
from hicfm_jax.storage import write_atomically

RECORD = "experiment.json"
"""In the workdir: the maps it is about, and the command that made each output."""


def run_stages(
    stages: Sequence[Stage],
    root: str | os.PathLike,
    workdir: str | os.PathLike,
    about: Mapping[str, object] | None = None,
) -> None:
    """Runs each stage as the command it is, in a process of its own, from the folder `root`.

    Each is printed first, so that it can be repeated by hand. A stage whose output was made by the same
    command is skipped, but a training run is asked to go on, which knows itself whether it is finished.

    Args:
      stages: in order.
      root: folder of `scripts/`.
      workdir: where `RECORD` lies.
      about: what all stages in the workdir have to agree on, for JSON; None: not looked at.

    Raises:
      InputError: the workdir holds another experiment, or a command failed; what it said is on the screen.
    """
    path = pathlib.Path(workdir) / RECORD
    record = _read(path)
    if about is not None:
        before = record.setdefault("about", dict(about))
        for name, value in about.items():
            if before.get(name) != value:
                raise InputError(
                    f"{workdir} holds an experiment with {name} {before.get(name)}, not {value}: choose "
                    "another --workdir."
                )
    commands = record.setdefault("commands", {})
    for number, stage in enumerate(stages, 1):
        there = os.path.exists(os.path.join(root, stage.output))
        same = commands.get(stage.output) == list(stage.command)
        line = f"[{number}/{len(stages)}] {stage.title}"
        if there and same and not stage.resumes:
            print(f"{line}: {stage.output} is there.", flush=True)
            continue
        # What another command made stays unnamed until it is replaced.
        commands[stage.output] = None if there else list(stage.command)
        _write(path, record)
        python = min(os.path.relpath(sys.executable), sys.executable, key=len)
        print(f"{line}\n  {python} {shlex.join(stage.command)}", flush=True)
        started = time.monotonic()
        status = subprocess.run([sys.executable, *stage.command], cwd=root).returncode
        if status:
            raise InputError(
                f"Stage {number}, {stage.title}, ended with status {status}: what is wrong stands above; the "
                "same command goes on from here."
            )
        # What another command made stays unnamed until it is replaced.
        commands[stage.output] = None if there else list(stage.command)
        _write(path, record)
        commands[stage.output] = list(stage.command)
        _write(path, record)
        print(f"  took {time.monotonic() - started:,.0f} s", flush=True)


def _read(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise InputError(f"{path} is damaged ({error}): choose another --workdir.") from error


def _write(path: pathlib.Path, record: Mapping[str, object]) -> None:
    write_atomically(path, json.dumps(record, indent=1).encode())


COLUMNS = {"r": "r", "log_r": "log r", "mse": "MSE", "insulation_r": "insulation", "focus_recovery": "foci"}
"""Scores of `metrics.csv` that are shown, and their titles; `docs/reference/scores.md` defines them."""


def table(setting: Setting) -> str:
    """Pooled scores of every map on the judging chromosomes, depth by depth, and where the reports are."""
    lines = [f"On {', '.join(setting.chromosomes.test)}, which nothing was trained or tuned on:"]
    width = 26
    for fraction in setting.fractions:
        folder = report(setting, fraction)
        titles = "".join(f"{title:>11}" for title in COLUMNS.values())
        lines += ["", f"{'1/' + depth_name(fraction):{width}}{titles}"]
        with open(os.path.join(folder, "metrics.csv"), newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                if row["chromosome"] == "pooled":
                    scores = "".join(f"{_number(row[name]):>11}" for name in COLUMNS)
                    lines.append(f"{row['map']:{width}}{scores}")
        lines.append(f"{'':{width}}{os.path.join(folder, 'report.html')}")
    return "\n".join(lines)


def _number(text: str) -> str:
    return f"{float(text):.4f}" if text else "-"
