"""scripts/evaluate.py: its files, its output, and its errors."""

import csv
import subprocess
import sys

import pytest

from tests.commands import ROOT
from tests.run_script import run_script


def test_from_files_to_a_report(report):
    done, folder = report
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "report.html", "report.png"]
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert {row["chromosome"] for row in rows} == {"pooled", "Chr4"}
    assert [row["map"] for row in rows][:3] == ["input", "a <b>", "rescaled input"]
    assert float(rows[1]["r"]) == 1
    assert "coverage-aware blend" in done.stdout and "report.html" in done.stdout


def test_leakage_is_reported_on_stderr_and_in_the_report(report):
    done, folder = report
    assert "WARNING" in done.stderr and "trained on Chr4" in done.stderr
    assert "trained on Chr4" in (folder / "report.html").read_text()


MISTAKES = {
    "NAME=URI": ["--maps={files}/deep.cool"],
    "twice": ["--maps=input={files}/deep.cool,input={files}/deep.cool"],
    "does not exist": ["--maps=input={files}/none.cool"],
    "Chr9": ["--chromosomes=Chr9"],
    "both evaluated": ["--chromosomes=4", "--baselines_of=input", "--tune_chromosomes=Chr3,Chr4"],
    "is a file": ["--output={files}/deep.cool"],
    "Flag --reference must have a value": ["--reference="],
    "tune_by": ["--tune_by=ssim"],
}


def _flags(files, tmp_path, changed):
    values = {"reference": f"{files}/deep.cool", "maps": f"input={files}/deep.cool"}
    values["output"] = f"{tmp_path}/out"
    values |= dict(flag.format(files=files)[2:].split("=", 1) for flag in changed)
    return [f"--{name}={value}" for name, value in values.items() if value]


@pytest.mark.parametrize("words", MISTAKES)
def test_a_user_mistake_is_one_sentence(words, files, tmp_path):
    done = run_script("evaluate.py", *_flags(files, tmp_path, MISTAKES[words]))
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and words in done.stderr and done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow  # a process of its own, whose exit status and output are the subject
def test_a_mistake_reaches_the_shell(files, tmp_path):
    flags = _flags(files, tmp_path, MISTAKES["Chr9"])
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    program = [sys.executable, ROOT / "scripts/evaluate.py", *flags]
    done = subprocess.run(program, capture_output=True, text=True, env=environment)
    assert done.returncode == 2 and done.stdout == ""
    assert "Chr9" in done.stderr and "Traceback" not in done.stderr
