"""scripts/evaluate.py: its files, its output, and its errors."""

import csv
import hashlib
import re
import subprocess
import sys

import PIL.Image
import pytest

from tests.commands import ROOT
from tests.run_script import run_script


@pytest.mark.slow  # draws a whole report
def test_from_files_to_a_report(files, tmp_path):
    """Drawing takes 8 s, so one test looks at all that it gives."""
    folder = tmp_path / "new" / "folder"
    done = run_script(
        "evaluate.py",
        f"--reference={files}/deep.cool",
        f"--maps=input={files}/shallow.mcool::/resolutions/60000,a <b>={files}/leak.cool",
        "--chromosomes=4",
        "--baselines_of=input",
        "--tune_chromosomes=chr3",
        f"--output={folder}",
    )
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in folder.iterdir()) == ["metrics.csv", "report.html", "report.png"]
    assert "coverage-aware blend" in done.stdout and "report.html" in done.stdout
    rows = list(csv.DictReader((folder / "metrics.csv").open()))
    assert {row["chromosome"] for row in rows} == {"pooled", "Chr4"}
    assert [row["map"] for row in rows][:3] == ["input", "a <b>", "rescaled input"]
    assert float(rows[1]["r"]) == 1
    page = (folder / "report.html").read_text()
    assert "a &lt;b&gt;" in page and "a <b>" not in page
    assert re.search(r"data range of \d\.\d\d", page)
    assert not re.search(r'(src|href)="(?!data:|#)', page)  # nothing is fetched
    # Seven maps, the ratios of six of them to the reference, foci, curves.
    assert page.count("data:image/png;base64,") == 15
    assert hashlib.sha256((files / "deep.cool").read_bytes()).hexdigest() in page
    assert "evaluate.py --reference=" in page and len(page) < 5e6
    with PIL.Image.open(folder / "report.png") as image:
        assert min(image.size) > 800
    # One of the maps was enhanced by a model that was trained on the chromosome.
    assert "WARNING" in done.stderr and "trained on Chr4" in done.stderr
    assert "trained on Chr4" in page


MISTAKES = {
    "NAME=URI": ["--maps=input="],
    "twice": ["--maps=input={files}/deep.cool,input={files}/deep.cool"],
    "does not exist": ["--maps=input={files}/none.cool"],
    "Chr9": ["--chromosomes=Chr9"],
    "both evaluated": ["--chromosomes=4", "--baselines_of=input", "--tune_chromosomes=Chr3,Chr4"],
    "is a file": ["--output={files}/deep.cool"],
    "--reference is not given": ["--reference="],
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
