"""From file to file, as users do it."""

import importlib

import cooler
import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts, write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.infer import enhance, enhance_file
from hicfm_jax.progress import NullProgress
from tests.convert import made_up
from tests.infer.toy_networks import CHROMSIZES, SEEN, toy_map
from tests.run_script import run_script

enhance_file_module = importlib.import_module("hicfm_jax.infer.tasks.enhance_file")


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    """A file of the toy map with 500 trans contacts."""
    path = tmp_path_factory.mktemp("maps") / "shallow.cool"
    write_contacts(toy_map(trans=500), path)
    return path


def test_the_script_writes_a_deep_mcool(tmp_path, shallow, checkpoint, expected):
    output = tmp_path / "deep.mcool"
    done = run_script(
        "infer.py",
        "--task=resolution",
        f"--input={shallow}",
        "--resolution=1000",
        f"--checkpoint={checkpoint}",
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    assert "500 contacts between chromosomes are left out" in done.stdout
    held = cooler.Cooler(f"{output}::/resolutions/1000")
    assert dict(held.chromsizes) == CHROMSIZES
    assert "weight" in held.bins().columns
    about = held.info["metadata"]["enhancement"]
    assert about["trained_on"] == SEEN["seen"]["train"] and about["validated_on"] == SEEN["seen"]["val"]
    assert about["target_contacts"] == 80_000 and about["step"] == 7 and about["merge"] == "average"
    assert about["input_contacts"] == toy_map(trans=500).total_count
    deep = open_contacts(output, 1000)
    same = expected[False].matrix("Chr1").toarray()
    np.testing.assert_allclose(deep.matrix("Chr1").toarray(), same, atol=2e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["deep.mcool"]


@pytest.fixture(scope="module")
def expected(network):
    """The deep map in real counts and in whole ones."""
    return {integer: enhance(toy_map(trans=500), network, integer=integer) for integer in (False, True)}


@pytest.mark.parametrize(
    "suffix", [".cool", ".npz", pytest.param(".hic", marks=pytest.mark.needs("hictkpy")), ".pairs.gz"]
)
def test_every_format_holds_the_same_map(tmp_path, shallow, checkpoint, expected, suffix):
    output = tmp_path / f"deep{suffix}"
    line = enhance_file(str(shallow), 1000, checkpoint, output)
    deep = open_contacts(output, 1000)
    same = expected[suffix == ".pairs.gz"]
    for chrom in CHROMSIZES:
        np.testing.assert_array_equal(deep.matrix(chrom).toarray(), same.matrix(chrom).toarray())
    assert f"{same.total_count:,.0f} cis contacts of 3 chromosomes" in line


@pytest.mark.needs("torch")
def test_published_weights_go_the_same_way(tmp_path, shallow):
    weights = made_up.save({"model": made_up.state_dict("resolution", size=(32, 32))}, tmp_path)
    output = tmp_path / "deep.cool"
    choices = dict(input_size=(32, 32), merge="original", target_contacts=1e5, balance=False)
    enhance_file(str(shallow), None, weights, output, **choices)
    about = cooler.Cooler(str(output)).info["metadata"]["enhancement"]
    assert about["trained_on"] is None and about["merge"] == "original"
    assert about["stride"] == 20 and about["bound"] == 0
    assert "weight" not in cooler.Cooler(str(output)).bins().columns
    assert open_contacts(output).total_count < 1e5


def test_what_cannot_be_written_is_told_before_the_work(tmp_path, shallow, checkpoint):
    (tmp_path / "there.cool").touch()
    for output, choices, message in [
        ("there.cool", {}, "exists already"),
        ("no/deep.cool", {}, "there is no folder"),
        ("deep.bed", {}, "cannot write .bed, expected .cool"),
        ("deep", {}, "a file without a suffix"),
        ("deep.pairs.gz", {"integer": False}, "a .pairs.gz file holds whole contacts only"),
        ("deep.npz", {"balance": True}, "keeps no weights"),
    ]:
        with pytest.raises(InputError, match=message):
            enhance_file(str(shallow), 1000, checkpoint, tmp_path / output, **choices)
    assert [path.name for path in tmp_path.iterdir()] == ["there.cool"]


def test_what_a_large_map_takes_is_told_before_the_work(tmp_path, shallow, checkpoint, monkeypatch):
    monkeypatch.setattr(enhance_file_module, "MUCH_MEMORY", 1000)
    said = []

    class Listener(NullProgress):
        def say(self, text):
            said.append(text)

    enhance_file(shallow, None, checkpoint, tmp_path / "deep.npz", progress=Listener())
    assert any("GB of memory; --max_distance" in line for line in said)
    monkeypatch.setattr(enhance_file_module, "ROW_BYTES", 1 << 60)
    with pytest.raises(OSError, match="are needed there"):
        enhance_file(shallow, None, checkpoint, tmp_path / "deeper.npz")


def test_a_users_mistake_is_one_sentence_and_status_2(tmp_path, shallow, checkpoint):
    output = tmp_path / "deep.cool"
    flags = (f"--input={shallow}", f"--checkpoint={checkpoint}", f"--output={output}")
    done = run_script("infer.py", "--task=loop", *flags)
    assert done.returncode == 2
    assert done.stderr == "error: --task=loop is to come: resolution is the only task so far.\n"
    for resolution, path, message in [
        (1500, checkpoint, "cannot give 1500 bp"),
        (1000, tmp_path, "no checkpoint"),
    ]:
        with pytest.raises(InputError, match=message):
            enhance_file(str(shallow), resolution, path, output)
    assert not list(tmp_path.iterdir())
