"""scripts/thin_map.py: what it writes, and what it leaves alone."""

import subprocess
import sys

import cooler
import pytest

from hicfm_jax.contacts import simulate, write_contacts
from tests.train.small_run import ROOT


def run(*flags):
    command = [sys.executable, ROOT / "scripts" / "thin_map.py", *flags]
    return subprocess.run(command, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT), "PATH": ""})


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "deep.cool"
    write_contacts(simulate(contacts=1e5, resolution=250_000, seed=4), path)
    return path


def test_keeps_a_share_of_the_contacts_and_says_so(deep, tmp_path):
    for name in ("one", "two"):
        done = run(f"--input={deep}", "--fraction=0.25", "--seed=3", f"--output={tmp_path}/{name}.cool")
        assert done.returncode == 0, done.stderr
    one, two, whole = (
        cooler.Cooler(str(path)) for path in (tmp_path / "one.cool", tmp_path / "two.cool", deep)
    )
    assert one.info["sum"] == pytest.approx(whole.info["sum"] / 4, rel=0.05)
    assert one.pixels()[:].equals(two.pixels()[:])
    assert one.info["metadata"]["thinned"] == {"input": str(deep), "fraction": 0.25, "seed": 3}


def test_a_map_that_exists_is_never_replaced(deep):
    before = deep.read_bytes()
    done = run(f"--input={deep}", f"--output={deep}")
    assert done.returncode == 2 and "exists already" in done.stderr
    assert deep.read_bytes() == before


def test_users_mistakes_are_one_sentence(deep, tmp_path):
    for flags in (["--fraction=1.5"], ["--fraction=0"], ["--resolution=1000"], ["--seed=-1"]):
        done = run(f"--input={deep}", f"--output={tmp_path}/map.cool", *flags)
        assert done.returncode == 2 and "Traceback" not in done.stderr, flags
        assert list(tmp_path.iterdir()) == []
