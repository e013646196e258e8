"""Runs a script's flags and `main` in this process, which is much faster than starting one."""

import contextlib
import dataclasses
import io
import runpy
import sys
from unittest import mock

from absl import flags
from absl.testing import flagsaver

from hicfm_jax import cli
from tests.commands import ROOT


@dataclasses.dataclass(frozen=True)
class Done:
    """Exit status and output of a script."""

    returncode: int
    stdout: str
    stderr: str


def run_script(name: str, *arguments: str) -> Done:
    """Runs `scripts/NAME` as `hicfm_jax.cli.run` does, except for absl's set-up of the process."""
    words = [f"scripts/{name}", *arguments]
    out, err = io.StringIO(), io.StringIO()
    status = 0
    with (
        flagsaver.flagsaver(),
        mock.patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        flags.FLAGS.unparse_flags()
        main = []
        with mock.patch.object(cli, "run", main.append):
            runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        try:
            cli._parse(words)
            main[0]()
        except SystemExit as end:
            status = end.code
        except (cli.InputError, OSError) as error:
            assert cli.mistake(error), "not a mistake of the user"
            err.write(f"error: {error}\n")
            status = 2
    return Done(status, out.getvalue(), err.getvalue())
