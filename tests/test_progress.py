"""Steps of a program are shown once they take a while; those of a library are not."""

import time

import pytest

from hicfm_jax import progress
from hicfm_jax.progress import doing, shown_steps


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(progress, "_PATIENCE_OF_LOGS", 0.1)


def test_the_innermost_step_that_takes_long_is_shown_once(capsys):
    with shown_steps(), doing("Reading leaf.cool"):
        with doing("Balancing"):
            time.sleep(0.8)
        with doing("Writing"):
            pass
    assert capsys.readouterr().err.splitlines() == ["Balancing…"]


@pytest.mark.parametrize("program", [False, True])
def test_a_library_and_a_quiet_program_show_nothing(capsys, program):
    if program:
        with shown_steps(quiet=True), doing("Balancing"):
            time.sleep(0.5)
    else:
        with doing("Balancing"):
            time.sleep(0.5)
    assert not capsys.readouterr().err


def test_a_log_says_how_long_it_will_take(capsys, monkeypatch):
    monkeypatch.setattr(progress, "_SECONDS", -1)
    bar = progress.Progress()
    bar.start(100)
    bar._begun -= 600
    bar.advance(50, "Chr1")
    assert capsys.readouterr().err == "50 of 100 windows done, Chr1, about 10 min left\n"
