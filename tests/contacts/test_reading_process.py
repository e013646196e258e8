"""A reader that crashes, hangs or eats memory takes nobody with it."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts
from hicfm_jax.contacts.formats import reading_process
from hicfm_jax.contacts.formats.reading_process import ReadingProcess
from hicfm_jax.errors import InputError


class Misbehaving:
    """Stands for a library; the other process imports it from here."""

    def __init__(self, path):
        self.path = path
        self.calls = 0

    def count_up(self, n):
        for number in range(n):
            self.calls += 1
            yield np.full(3, number)

    def calls_so_far(self):
        yield self.calls

    def modules(self):
        yield sorted(sys.modules)

    def crash(self):
        os.kill(os.getpid(), signal.SIGSEGV)
        yield

    def exit(self):
        os._exit(0)
        yield

    def hang(self):
        while True:
            pass
        yield

    def take_memory(self):
        yield len(bytearray(2 << 30))

    def fail(self):
        raise ValueError("byte 7\nis odd")
        yield

    def refuse(self):
        raise InputError(f"{self.path} is of last year.")
        yield


@pytest.fixture
def process(tmp_path):
    path = tmp_path / "map.cool"
    path.write_bytes(b"x")
    return ReadingProcess(Misbehaving, str(path))


def test_answers_come_in_order_and_the_reader_stays(process):
    answers = list(process.stream("count_up", 3))
    np.testing.assert_array_equal(answers, [[0, 0, 0], [1, 1, 1], [2, 2, 2]])
    assert process.ask("calls_so_far") == 3


@pytest.mark.parametrize("method", ["crash", "exit", "hang", "take_memory", "fail"])
def test_harm_is_one_sentence_and_the_next_call_works(process, method, monkeypatch):
    monkeypatch.setattr(reading_process, "LIMITS", reading_process.Limits(seconds=0.3))
    with pytest.raises(InputError, match="truncated, damaged") as caught:
        process.ask(method)
    assert process.path in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(list(process.stream("count_up", 2))) == 2


def test_what_the_reader_says_reaches_the_user(process):
    with pytest.raises(InputError, match=r"map\.cool is of last year\.$"):
        process.ask("refuse")


def test_leaving_in_the_middle_does_not_mix_answers(process):
    for answer in process.stream("count_up", 100):
        assert answer[0] == 0
        break
    assert [answer[0] for answer in process.stream("count_up", 2)] == [0, 1]


def test_the_other_process_is_light(process):
    heavy = {"jax", "flax", "tensorflow", "torch", "matplotlib"}
    assert not heavy & set(process.ask("modules"))


def test_relative_paths_start_from_here(cool, monkeypatch):
    for folder in (cool[0].parent, cool[0].parent.parent):
        monkeypatch.chdir(folder)
        contact_map = open_contacts(os.path.relpath(cool[0]))
        monkeypatch.chdir("/")
        assert contact_map.total_count == cool[1].sum()


@pytest.mark.slow  # starts programs anew
def test_scripts_need_no_guard_and_may_fork(cool, tmp_path):
    """Libraries that start processes through multiprocessing run the user's script a second time."""
    script = tmp_path / "script.py"
    script.write_text(f"""
import os
from hicfm_jax.contacts import open_contacts
print("started", flush=True)
contact_map = open_contacts({str(cool[0])!r})
first = contact_map.matrix("Chr1").sum()
child = os.fork()
for _ in range(10):
    assert contact_map.matrix("Chr1", "Chr2").sum() + contact_map.matrix("Chr2").sum() > 0
    assert contact_map.matrix("Chr1").sum() == first
if child:
    assert os.waitpid(child, 0)[1] == 0
    print(first)
""")
    result = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stderr
    assert result.stdout.split() == ["started", str(cool[1][:11, :11].sum())]
