"""Commands of `make enhance`, and the maps that it refuses."""

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.experiment.own_reads import check_input, own_stages
from hicfm_jax.experiment.stages import Chromosomes, Setting
from tests.experiment.test_stages import flag
from tests.run_script import run_script

SETTING = Setting("runs/e", "root.mcool", 30_000, 6.5e6, Chromosomes(["Chr1", "Chr2"], [], []))


@pytest.mark.parametrize(
    ("holdout", "tune"), [(0.0, "scratch"), (0.1, "scratch"), (0.1, ""), (0.0, ""), (0.1, "1")]
)
def test_every_stage_reads_what_was_written_before(holdout, tune):
    written = {"root.mcool"}
    found = own_stages(SETTING, holdout=holdout, tune=tune)
    for stage in found:
        names = ("input", "config.data.tiles", "checkpoint", "enhanced", "fitted", "held_out")
        for value in filter(None, (flag(stage, name) for name in names)):
            for path in value.split("=")[-1].split(","):
                known = path in written and path in stage.inputs
                assert known or path == "any_map", (stage.title, path)
        written |= {stage.output, stage.output.removesuffix("/checkpoints"), flag(stage, "best")}
    assert "runs/e/enhanced.mcool" in written
    if tune != "1":  # whose last file is the best map
        assert ("runs/e/certificate.json" in written) == bool(holdout)


def test_nothing_but_the_certificate_sees_the_reads_set_aside():
    aside, take, *fitting, judge = own_stages(SETTING, target_contacts=5e7)
    assert flag(aside, "output") == flag(judge, "held_out") == "runs/e/held_out.cool"
    # The same draw, of which one writes what the other drops.
    assert [word for word in aside.command if "output" not in word and word != "--rest"] == [
        *take.command[:-1]
    ]
    assert float(flag(aside, "fraction")) == pytest.approx(0.9)
    assert not [stage for stage in fitting if "held_out" in " ".join(stage.command)]
    assert flag(fitting[-1], "target_contacts") == "50000000"


def _map(bins=300, mean=1.0, factor=1):
    counts = factor * np.triu(np.random.default_rng(0).poisson(mean, (bins, bins)))
    return ContactMap({"Chr1": 1000 * bins}, 1000, {("Chr1", "Chr1"): scipy.sparse.csr_array(counts)}, "root")


@pytest.mark.parametrize(
    ("contact_map", "choices", "message"),
    [
        (_map(mean=0.1), {}, "too few to learn from"),
        (_map(factor=0.5), {}, "not whole: give raw counts"),
        (_map(bins=200), {}, "no chromosome of 225 bins at 1000 bp to train on, the longest has 200"),
        (_map(), {"holdout": 1.0}, "holdout is 1.0"),
        (_map(), {"tune": "1", "holdout": 0}, "keeps the better of two networks"),
    ],
)
def test_what_cannot_be_enhanced_is_one_sentence(contact_map, choices, message):
    with pytest.raises(InputError, match=message):
        check_input(contact_map, **{"holdout": 0.1, "tune": "scratch", **choices})


@pytest.mark.parametrize(
    ("changes", "message"), [({"factor": 0.5}, "not whole"), ({"bins": 60}, "too few to learn from")]
)
def test_a_refused_map_leaves_nothing(tmp_path, changes, message):
    write_contacts(_map(**changes), tmp_path / "root.cool")
    flags = (f"--map={tmp_path}/root.cool", "--own_reads", f"--workdir={tmp_path}/enhance")
    ended = run_script("experiment.py", *flags)
    assert ended.returncode == 2 and message in ended.stderr.splitlines()[-1]
    assert [path.name for path in tmp_path.iterdir()] == ["root.cool"]


def test_a_map_that_can_be_enhanced_is_taken():
    check_input(_map(), 0.1, "scratch")
    check_input(_map(bins=200), 0.1, "")  # nothing is trained
