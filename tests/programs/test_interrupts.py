"""Ctrl-C ends a program with one line and status 130, whatever it does."""

import signal
import subprocess
import sys
import time

import pytest

from tests.commands import ROOT

SETUP = """
import hashlib, sys, time
from hicfm_jax import interrupts
interrupts.GRACE = {grace}
def body():
    {body}
def ready():
    print("ready", flush=True)
with interrupts.watched():
    body()
"""
BODIES = {
    "while importing": """ready()
    time.sleep(30)""",
    "swallowed": """interrupts.working()
    ready()
    while True:
        try:
            time.sleep(30)
        except KeyboardInterrupt:
            pass""",
    "in compiled code": """interrupts.working()
    ready()
    hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)""",
    "in a program of its own": """interrupts.working()
    ready()
    child = "import time; from hicfm_jax import interrupts\\nwith interrupts.watched(): time.sleep(30)"
    interrupts.run_program([sys.executable, "-c", child])""",
    "unwinding": """interrupts.working()
    try:
        ready()
        time.sleep(30)
    except KeyboardInterrupt:
        print("closed", flush=True)
        interrupts.stop()""",
}


def _interrupted(command, wait):
    """(status, output, errors, seconds) of a program that gets SIGINT when `wait(process)` returns."""
    pipes = dict(stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    # Shells let background jobs ignore SIGINT, and these tests may be one. A program inherits that, but no
    # handler. (`preexec_fn` would run between fork and exec, where threads of this process may hold locks.)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen([sys.executable, *command], cwd=ROOT, **pipes)
    signal.signal(signal.SIGINT, before)
    try:
        wait(process)
        start = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        return process.returncode, out, err, time.monotonic() - start
    finally:
        process.kill()


@pytest.mark.parametrize("name", BODIES)
def test_one_line_and_status_130(name):
    grace = 20 if name == "unwinding" else 0.2
    program = SETUP.format(body=BODIES[name], grace=grace)

    def wait(process):
        process.stdout.readline()
        time.sleep(0.5)  # for the step from that line to what is to be interrupted

    ended = _interrupted(["-c", program], wait)
    status, out, err, seconds = ended
    assert (status, err) == (130, "Stopped.\n") and seconds < 3
    assert out == ("closed\n" if name == "unwinding" else "")


@pytest.mark.slow  # starts whole programs
@pytest.mark.parametrize("seconds", [0.7, 4.0, 8.0])
def test_a_script_at_any_moment(seconds, tmp_path):
    """While it imports JAX, and while it simulates or, on a fast machine, compiles."""
    flags = ["--config=configs/pretrain_arabidopsis.py:demo", f"--workdir={tmp_path / 'run'}"]
    ended = _interrupted(["scripts/train.py", *flags], lambda _: time.sleep(seconds))
    status, _, err, took = ended
    lines = [line for line in err.splitlines() if not line.endswith("…")]
    assert (status, lines) == (130, ["Stopped."]) and took < 5
