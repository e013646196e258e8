"""scripts/evaluate.py: what it writes, what it says, and how it fails."""

import csv
import pathlib
import subprocess
import sys

import pytest

from hicfm_jax.contacts import write_contacts

ROOT = pathlib.Path(__file__).resolve().parents[2]


def run(*flags):
    return subprocess.run(
        [sys.executable, ROOT / "scripts" / "evaluate.py", *flags],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(ROOT), "PATH": ""},
    )


@pytest.fixture(scope="module")
def files(deep, shallow, tmp_path_factory):
    folder = tmp_path_factory.mktemp("maps")
    write_contacts(deep, folder / "deep.cool")
    write_contacts(shallow, folder / "shallow.mcool")
    return folder


def test_from_files_to_a_report(files, tmp_path):
    done = run(
        f"--reference={files}/deep.cool",
        f"--maps=input={files}/shallow.mcool::/resolutions/60000,same={files}/deep.cool",
        "--chromosomes=4",
        "--baselines_of=input",
        "--tune_chromosomes=chr3",
        f"--output={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "metrics.csv",
        "report.html",
        "report.png",
    ]
    rows = list(csv.DictReader((tmp_path / "out" / "metrics.csv").open()))
    assert {row["chromosome"] for row in rows} == {"pooled", "Chr4"}
    assert [row["map"] for row in rows][:3] == ["input", "same", "rescaled input"]
    assert float(rows[1]["r"]) == 1
    assert "coverage-aware blend" in done.stdout and "report.html" in done.stdout


def test_user_mistakes_are_one_sentence(files, tmp_path):
    reference, maps = f"--reference={files}/deep.cool", f"--maps=input={files}/deep.cool"
    output = f"--output={tmp_path}/out"
    for word, flags in {
        "NAME=URI": [reference, f"--maps={files}/deep.cool", output],
        "twice": [reference, f"{maps},input={files}/deep.cool", output],
        "does not exist": [reference, f"--maps=input={files}/none.cool", output],
        "Chr9": [reference, maps, output, "--chromosomes=Chr9"],
        "both evaluated": [reference, maps, output, "--chromosomes=4", "--baselines_of=input"]
        + ["--tune_chromosomes=Chr3,Chr4"],
        "is a file": [reference, maps, f"--output={files}/deep.cool"],
    }.items():
        done = run(*flags)
        assert done.returncode == 2, (word, done.stderr)
        assert "Traceback" not in done.stderr
        assert "error:" in done.stderr and word in done.stderr
        assert list(tmp_path.iterdir()) == []


def test_a_leak_is_told_on_stderr_and_in_the_report(files, deep, tmp_path):
    seen = {"enhancement": {"trained_on": {"leaf": ["chr4"]}, "validated_on": {}}}
    write_contacts(deep, tmp_path / "model.cool", metadata=seen)
    done = run(
        f"--reference={files}/deep.cool",
        f"--maps=model={tmp_path}/model.cool",
        "--chromosomes=Chr4",
        f"--output={tmp_path}/out",
    )
    assert done.returncode == 0, done.stderr
    assert "WARNING" in done.stderr and "trained on Chr4" in done.stderr
    assert "trained on Chr4" in (tmp_path / "out" / "report.html").read_text()
