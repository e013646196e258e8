"""Runs a script or command in this process: starting Python and JAX anew takes seconds."""

import contextlib
import io
import runpy
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple
from unittest import mock

from absl import app
from absl.testing import flagsaver

from hicfm_jax import programs
from tests.commands import ROOT

app.define_help_flags()  # absl defines them once in a process; flagsaver would take them away again
with contextlib.suppress(ImportError):  # so does the reader of tiles, of which a core install has none
    from array_record.python import array_record_data_source  # noqa: F401


class Outcome(NamedTuple):
    """Exit status and output of a script."""

    returncode: int
    stdout: str
    stderr: str


def import_readers() -> None:
    """Imports what reads tiles, whose flags a run would otherwise take away with its own."""
    from hicfm_jax.tiles import dataset

    dataset.import_tensorflow()
    dataset.import_tfds()


def run_script(name: str, *arguments: object) -> Outcome:
    """Runs `scripts/NAME` with these flags from its first line to its exit status."""
    path = f"scripts/{name}"
    return _run([path, *arguments], lambda: runpy.run_path(str(ROOT / path), run_name="__main__"))


def run_hicfm(*arguments: object) -> Outcome:
    """Runs the command `hicfm` with these words."""
    return _run(["hicfm", *arguments], programs.main)


def _run(words: Sequence[object], program: Callable[[], object]) -> Outcome:
    words = [str(word) for word in words]
    out, err = io.StringIO(), io.StringIO()
    with (
        flagsaver.flagsaver(),
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            program()
            status = 0
        except SystemExit as end:
            status = end.code or 0
    return Outcome(status, out.getvalue(), err.getvalue())
