"""Commands and table of the experiment on tracks."""

import csv
import dataclasses
import pathlib
import re

import numpy as np
import pandas as pd
import pytest

from hicfm_jax.contacts import write_contacts
from hicfm_jax.contacts.simulation.simulate import simulate
from hicfm_jax.experiment.run import run_stages
from hicfm_jax.experiment.stages import Chromosomes, Setting
from hicfm_jax.experiment.track_stages import DEPTHS, KINDS, track_stages, track_table
from tests.experiment.test_stages import flag
from tests.run_script import run_script

SPLIT = Chromosomes(["Chr1", "Chr3"], ["Chr5"], ["Chr2", "Chr4"])
TRACKS = "states.tsv.gz:genes,TEs"


def _setting(workdir="runs/x", **options):
    return Setting(str(workdir), "leaf.cool", 30_000, 104e6, SPLIT, DEPTHS, **options)


@pytest.mark.parametrize("seeds", [1, 3])
def test_every_stage_reads_what_was_written_before(seeds):
    written = {"leaf.cool", "states.tsv.gz"}
    for stage in track_stages(_setting(seeds=seeds), TRACKS):
        names = ("input", "config.data.tiles", "config.init_from", "checkpoint", "reference")
        read = [flag(stage, name) for name in names]
        read += [(flag(stage, "track") or "").partition(":")[0], *(flag(stage, "tracks") or "").split(",")]
        for path in filter(None, read):
            path = path.split("=")[-1]
            assert path in written and path in stage.inputs, (stage.title, path)
        if "infer" in stage.command[0]:  # which makes no folder but its output
            assert stage.output.rpartition("/")[0] == "runs/x"
        written |= {stage.output, stage.output.removesuffix("/checkpoints")}


def test_test_chromosomes_are_not_used_for_training_or_fitting():
    found = track_stages(_setting(), TRACKS)
    cut = found[0]
    assert flag(cut, "test_chromosomes") == "Chr2,Chr4" and flag(cut, "track") == TRACKS
    evaluations = [stage for stage in found if "evaluate" in stage.command[0]]
    assert [flag(stage, "chromosomes") for stage in evaluations] == ["Chr2,Chr4"] * 2
    assert [flag(stage, "tune_chromosomes") for stage in evaluations] == ["Chr1,Chr3"] * 2
    assert {flag(stage, "input") for stage in evaluations} == {"leaf.cool", "runs/x/shallow_64.cool"}


def test_training_from_scratch_differs_in_the_start_alone():
    found = [stage for stage in track_stages(_setting(seeds=2), TRACKS) if stage.resumes]
    training = {stage.output.split("/")[2]: stage.command for stage in found}
    assert set(training) == {"pretrain", *KINDS, *(f"{kind}_2" for kind in KINDS)}
    for suffix in ("", "_2"):
        commands = [training[name + suffix] for name in ("pretrained", "scratch")]
        assert "--config.init_from=runs/x/pretrain" in commands[0]
        ours, theirs = (
            [word for word in command if not re.match("--(workdir|config.init_from)=", word)]
            for command in commands
        )
        assert ours == theirs


@pytest.mark.parametrize("test", [SPLIT.test, ["1", "NA"]])
def test_the_table_has_means_and_standard_errors(tmp_path, test):
    setting = _setting(tmp_path, seeds=2)
    setting = dataclasses.replace(setting, chromosomes=SPLIT._replace(test=test))
    values = {"scratch": 0.5, "scratch_2": 0.6, "ridge (baseline)": 0.4}
    values |= {name: 0.7 for kind in ("pretrained", "convolutions") for name in (kind, f"{kind}_2")}
    for folder in ("report_1", "report_64"):
        (tmp_path / folder).mkdir()
        with open(tmp_path / folder / "tracks.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["prediction", "track", "chromosome", "pearson"])
            for name, value in values.items():
                for chrom in test:
                    writer.writerows([(name, "genes", chrom, value + 0.1), (name, "TEs", chrom, value - 0.1)])
                    writer.writerow([name, "constant", chrom, ""])  # has no correlation
    lines = track_table(setting).splitlines()
    rows = {line[:26].strip(): line[26:].split() for line in lines}
    assert rows["1/1"] == rows["1/64"] == test
    assert rows["scratch"] == ["0.550", "±", "0.050"] * 2
    assert rows["ridge (baseline)"] == ["0.400"] * 2


@pytest.mark.slow  # five programs, two of which compile a network
def test_the_commands_run_one_after_the_other(tmp_path, monkeypatch, coarse_pictures):
    """In this process; test_run.py starts others."""
    monkeypatch.setattr("hicfm_jax.train.logging.metric_writer.matmul_rate", lambda dtype: 1.0)
    monkeypatch.setattr("hicfm_jax.experiment.track_stages.KINDS", {"convolutions": ""})
    monkeypatch.setattr("hicfm_jax.experiment.run.run_program", _run_here)
    contact_map = simulate(contacts=2e6, resolution=100_000)
    write_contacts(contact_map, tmp_path / "leaf.cool")
    table = pd.concat(
        pd.DataFrame({"chrom": chrom, "start": np.arange(0, size - 100_000, 100_000)})
        for chrom, size in contact_map.chromsizes.items()
    ).assign(end=lambda rows: rows.start + 100_000, genes=lambda rows: np.sin(rows.start))
    table.to_csv(tmp_path / "tracks.tsv", sep="\t", index=False)
    options = ("--config.train.total_steps=2", "--config.train.global_batch_size=2")
    options += ("--config.model.pixel_width=4", "--config.model.scan=True")
    setting = Setting(
        str(tmp_path / "run"), str(tmp_path / "leaf.cool"), 100_000, 2e6, SPLIT, (1 / 4,), options=options
    )
    stages = track_stages(setting, str(tmp_path / "tracks.tsv"))
    stages = [stage for stage in stages if not stage.title.startswith("pretrain")]  # nothing starts from it
    run_stages(stages, pathlib.Path(__file__).parents[2], setting.workdir)
    assert re.search(r"^convolutions +-?0\.\d+", track_table(setting), re.MULTILINE)


def _run_here(command, cwd):
    """Stands in for `interrupts.run_program`."""
    ended = run_script(command[1].removeprefix("scripts/"), *command[2:])
    assert ended.returncode == 0, ended.stderr
    return ended.returncode
