"""Commands of an experiment: inputs, outputs and chromosomes."""

import re

import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.experiment.stages import Chromosomes, Setting, parse_fraction, stages

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
            assert path in stage.inputs, (stage.title, path)
        written |= {stage.output, stage.output.removesuffix("/checkpoints")}


def test_test_chromosomes_are_not_used_for_training_or_tuning():
    found = all_stages()
    cut = next(stage for stage in found if "make_tiles" in stage.command[0])
    assert flag(cut, "test_chromosomes") == "Chr2,Chr4" and flag(cut, "val_chromosomes") == "Chr5"
    evaluations = [stage for stage in found if "evaluate" in stage.command[0]]
    assert len(evaluations) == 3
    for stage in evaluations:
        assert flag(stage, "chromosomes") == "Chr2,Chr4"
        assert flag(stage, "tune_chromosomes") == "Chr1,Chr3"


def test_training_from_scratch_differs_in_the_start_alone():
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
    # Its depth is that of a human map; at the reference's its errors are comparable.
    assert {flag(stage, "target_contacts") for stage in found if "infer" in stage.command[0]} == {"104000000"}


@pytest.mark.parametrize("text", ["1", "0", "-4", "many", "nan", "1e9"])
def test_a_fraction_is_how_many_times_shallower(text):
    assert parse_fraction("64") == 1 / 64
    with pytest.raises(InputError, match="fractions"):
        parse_fraction(text)
