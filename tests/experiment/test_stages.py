"""The experiment as commands: they fit together, keep the judges' chromosomes out, and go on after a stop."""

import dataclasses
import re
import sys

import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.experiment.chromosomes import Chromosomes
from hicfm_jax.experiment.run import RECORD, run_stages
from hicfm_jax.experiment.stages import Setting, Stage, parse_fraction, stages

SPLIT = Chromosomes(["Chr1", "Chr3"], ["Chr5"], ["Chr2", "Chr4"])


def all_stages(**options):
    return stages(Setting("runs/x", "leaf.cool", 30_000, 104e6, SPLIT, **options))


def flag(stage, name):
    found = [word.partition("=")[2] for word in stage.command if word.startswith(f"--{name}=")]
    return found[0] if found else None


@pytest.mark.parametrize("options", [{}, dict(variant="", seeds=3, weights="original.pth.tar")])
def test_every_stage_reads_what_was_written_before(options):
    written = {"leaf.cool", "original.pth.tar"}
    for stage in all_stages(**options):
        read = [
            flag(stage, name) for name in ("input", "config.data.tiles", "config.init_from", "checkpoint")
        ]
        read += [flag(stage, "reference"), *(flag(stage, "maps") or "").split(",")]
        for path in filter(None, read):
            path = path.split("=")[-1].partition("::")[0]
            assert path in written, (stage.title, path)
        written |= {stage.output, stage.output.removesuffix("/checkpoints")}


def test_judging_chromosomes_are_neither_trained_nor_tuned_on():
    found = all_stages()
    cut = next(stage for stage in found if "make_tiles" in stage.command[0])
    assert flag(cut, "test_chromosomes") == "Chr2,Chr4" and flag(cut, "val_chromosomes") == "Chr5"
    judges = [stage for stage in found if "evaluate" in stage.command[0]]
    assert len(judges) == 3
    for stage in judges:
        assert flag(stage, "chromosomes") == "Chr2,Chr4"
        assert flag(stage, "tune_chromosomes") == "Chr1,Chr3"


def test_from_scratch_differs_from_pretrained_in_the_start_alone():
    training = [stage for stage in all_stages(seeds=3) if "enhance_arabidopsis" in " ".join(stage.command)]
    assert len(training) == 6
    for pretrained, scratch in zip(training[::2], training[1::2], strict=True):
        ours = [word for word in pretrained.command if not re.match("--(workdir|config.init_from)=", word)]
        theirs = [word for word in scratch.command if not word.startswith("--workdir=")]
        assert ours == theirs
        assert flag(pretrained, "config.init_from") == "runs/x/pretrain"


def test_published_weights_are_a_row_of_their_own():
    found = all_stages(weights="original.pth.tar")
    assert [flag(stage, "checkpoint") for stage in found].count("original.pth.tar") == 3
    assert "original=" in flag(found[-1], "maps")
    # Whose depth is a human one: at that of the reference its errors are comparable.
    assert {flag(stage, "target_contacts") for stage in found if "infer" in stage.command[0]} == {"104000000"}


@pytest.mark.parametrize("text", ["1", "0", "-4", "many", "nan", "1e9"])
def test_a_fraction_is_how_many_times_shallower(text):
    assert parse_fraction("64") == 1 / 64
    with pytest.raises(InputError, match="fractions"):
        parse_fraction(text)


def a_stage(tmp_path, name, code, resumes=False):
    path = tmp_path / f"{name}.py"
    path.write_text(code)
    return Stage(name, (str(path),), str(tmp_path / name), resumes)


def test_what_is_done_is_left_and_what_resumes_is_asked(tmp_path, capfd):
    make = (
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[0])\n"
        "open(path.parent / 'log', 'a').write(path.stem + ' ')\n"
        "path.with_suffix('').mkdir(exist_ok=True)\n"
    )
    chain = [a_stage(tmp_path, "cut", make), a_stage(tmp_path, "train", make, resumes=True)]
    run_stages(chain, tmp_path, tmp_path)
    run_stages(chain, tmp_path, tmp_path)
    assert (tmp_path / "log").read_text() == "cut train train "
    shown = capfd.readouterr().out
    assert (
        f"{tmp_path}/cut.py" in shown and "cut is there" in shown and sys.executable.split("/")[-1] in shown
    )


def test_a_stage_that_fails_ends_the_experiment(tmp_path):
    chain = [a_stage(tmp_path, "bad", "import sys; sys.exit(2)"), a_stage(tmp_path, "next", "1/0")]
    with pytest.raises(InputError, match="Stage 1, bad, ended with status 2"):
        run_stages(chain, tmp_path, tmp_path)


def test_what_another_command_made_is_made_again_until_it_succeeds(tmp_path):
    """New maps to compare, or a comparison that was cut short after it had made its folder."""
    code = (
        "import pathlib, sys\n"
        "path = pathlib.Path(sys.argv[0])\n"
        "path.with_suffix('').touch()\n"
        "open(path.parent / 'log', 'a').write(sys.argv[1] + ' ')\n"
        "sys.exit((path.parent / 'broken').exists())\n"
    )
    stage = a_stage(tmp_path, "compare", code)

    def run(word):
        run_stages([dataclasses.replace(stage, command=(*stage.command, word))], tmp_path, tmp_path)

    run("two")
    (tmp_path / "broken").touch()
    for _ in range(2):
        with pytest.raises(InputError):
            run("three")
    (tmp_path / "broken").unlink()
    run("three")
    run("three")
    assert (tmp_path / "log").read_text() == "two three three three "


def test_a_workdir_is_for_one_experiment(tmp_path):
    chain = [a_stage(tmp_path, "any", "")]
    run_stages(chain, tmp_path, tmp_path, {"map": "leaf.cool", "test": ["Chr2"]})
    for other in ({"map": "root.cool", "test": ["Chr2"]}, {"map": "leaf.cool", "test": ["Chr4"]}):
        with pytest.raises(InputError, match="holds an experiment with .* choose another --workdir"):
            run_stages(chain, tmp_path, tmp_path, other)
    (tmp_path / RECORD).write_text("{")
    with pytest.raises(InputError, match="is damaged"):
        run_stages(chain, tmp_path, tmp_path)
