"""Runs the stages one after another; what is done already is left as it is."""

import os
import shlex
import subprocess
import sys
import time
from collections.abc import Sequence

from hicfm_jax.errors import InputError
from hicfm_jax.experiment.stages import Stage


def run_stages(stages: Sequence[Stage], root: str | os.PathLike) -> None:
    """Runs each stage as the command it is, in a process of its own, from the folder `root`.

    Each is printed first, so that it can be repeated by hand. A stage whose output is there is skipped,
    but a training run is asked to go on, which knows itself whether it is finished.

    Raises:
      InputError: a command failed; what it said is on the screen.
    """
    for number, stage in enumerate(stages, 1):
        there = os.path.exists(os.path.join(root, stage.output))
        line = f"[{number}/{len(stages)}] {stage.title}"
        if there and not stage.resumes:
            print(f"{line}: {stage.output} is there.", flush=True)
            continue
        python = min(os.path.relpath(sys.executable), sys.executable, key=len)
        print(f"{line}\n  {python} {shlex.join(stage.command)}", flush=True)
        started = time.monotonic()
        status = subprocess.run([sys.executable, *stage.command], cwd=root).returncode
        if status:
            raise InputError(
                f"Stage {number}, {stage.title}, ended with status {status}: what is wrong stands above; the "
                "same command goes on from here."
            )
        print(f"  took {time.monotonic() - started:,.0f} s", flush=True)
