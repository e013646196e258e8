"""scripts/thin_map.py: the file it writes, and that it replaces none."""

import subprocess
import sys

import cooler
import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts, simulate, write_contacts
from tests.commands import ROOT
from tests.run_script import run_script


def thin_map(*flags):
    return run_script("thin_map.py", *flags)


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "deep.cool"
    write_contacts(simulate(contacts=1e5, resolution=250_000, seed=4), path)
    return path


def test_keeps_a_fraction_of_the_contacts_and_records_it(deep, tmp_path):
    for name in ("one", "two"):
        done = thin_map(f"--input={deep}", "--fraction=0.25", "--seed=3", f"--output={tmp_path}/{name}.cool")
        assert done.returncode == 0, done.stderr
    one, two, whole = (
        cooler.Cooler(str(path)) for path in (tmp_path / "one.cool", tmp_path / "two.cool", deep)
    )
    assert f"{one.info['sum']:,} of {whole.info['sum']:,} contacts" in done.stdout
    assert one.info["sum"] == pytest.approx(whole.info["sum"] / 4, rel=0.05)
    assert one.pixels()[:].equals(two.pixels()[:])
    assert one.info["metadata"]["thinned"] == {"input": str(deep), "fraction": 0.25, "seed": 3}


def test_the_rest_is_what_was_not_kept(deep, tmp_path):
    paths = tmp_path / "kept.cool", tmp_path / "rest.cool"
    for path, flags in zip(paths, ([], ["--rest"]), strict=True):
        done = thin_map(f"--input={deep}", "--fraction=0.9", f"--output={path}", *flags)
        assert done.returncode == 0, done.stderr
    whole, kept, rest = (open_contacts(path) for path in (deep, *paths))
    for pair in whole.pairs():
        both = kept.matrix(*pair) + rest.matrix(*pair)
        np.testing.assert_array_equal(both.toarray(), whole.matrix(*pair).toarray())
    assert rest.total_count == pytest.approx(whole.total_count / 10, rel=0.05)


@pytest.mark.slow  # starts a program
def test_runs_as_a_program(deep, tmp_path):
    """With nothing in its environment, and with the exit status of a mistake."""
    command = [sys.executable, ROOT / "scripts" / "thin_map.py", f"--input={deep}", "--output=map.txt"]
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert done.returncode == 2 and done.stderr.startswith("error: map.txt"), done.stderr


def test_an_existing_map_is_never_replaced(deep):
    before = deep.read_bytes()
    done = thin_map(f"--input={deep}", f"--output={deep}")
    assert done.returncode == 2 and "exists already" in done.stderr
    assert deep.read_bytes() == before


@pytest.mark.parametrize("flag", ["--fraction=1.5", "--fraction=0", "--resolution=1000", "--seed=-1"])
def test_user_mistakes_are_one_sentence(deep, tmp_path, flag):
    done = thin_map(f"--input={deep}", f"--output={tmp_path}/map.cool", flag)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
