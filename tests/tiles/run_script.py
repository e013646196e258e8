"""Runs a script in this process: starting Python and TensorFlow anew would take seconds."""

import pathlib
import runpy
import sys
from typing import NamedTuple
from unittest import mock

import pytest
from absl import app  # noqa: F401  its flags have to outlive the script's
from absl.testing import flagsaver

ROOT = pathlib.Path(__file__).resolve().parents[2]


class Outcome(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture
def run_script(capsys, monkeypatch):
    """Returns `run(script, *flags) -> Outcome` for a script of scripts/, with the root as current folder."""
    monkeypatch.chdir(ROOT)

    def run(script: str, *flags: str) -> Outcome:
        words = [f"scripts/{script}", *map(str, flags)]
        capsys.readouterr()
        with flagsaver.flagsaver(), mock.patch.multiple(sys, argv=words, path=list(sys.path)):
            with pytest.raises(SystemExit) as exit:
                runpy.run_path(str(ROOT / words[0]), run_name="__main__")
        return Outcome(exit.value.code or 0, *capsys.readouterr())

    return run
