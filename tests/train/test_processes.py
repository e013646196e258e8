"""Several processes train as one, and end as one; real ones, on this machine."""

import contextlib
import fcntl
import random
import re
import shutil
import signal
import socket
import threading
import time

import jax
import numpy as np
import pytest

from hicfm_jax.checkpoints import folder
from hicfm_jax.errors import InputError
from hicfm_jax.train import distributed
from hicfm_jax.train.checkpoint import has_checkpoints
from hicfm_jax.train.roll_call import parse_address, roll_call
from tests.train import small_run

SIZES = (
    "--config.train.global_batch_size=8",
    "--config.train.total_steps=24",
    "--config.log.every_steps=1",
    "--config.log.eval_every_epochs=6",
)


_IPV6 = pytest.mark.skipif(not socket.has_dualstack_ipv6(), reason="no IPv6 on this machine")


def _free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


class Group:
    """A run in `count` processes."""

    def __init__(self, count, tiles, workdir, *more, tiles_of=None, program=None):
        self.workdir = workdir
        port = _free_port()
        self.processes = []
        for i in range(count):
            own = [f"--coordinator=localhost:{port}", f"--processes={count}", f"--process={i}"]
            flags = small_run.flags((tiles_of or {}).get(i, tiles), workdir, *SIZES, *more)
            self.processes.append(small_run.start(flags + (own if count > 1 else []), program))

    def end(self):
        """Exit status, standard output and standard error of each."""
        return small_run.outcomes(self.processes)

    def wait_for_step(self, step):
        self.wait_for(lambda: any(line["step"] >= step for line in small_run.metrics(self.workdir)))

    def wait_for(self, condition):
        deadline = time.monotonic() + small_run.PATIENCE_SECONDS
        try:
            while not condition():
                assert all(process.poll() is None for process in self.processes), self.end()
                assert time.monotonic() < deadline, "What was waited for did not come in time."
                time.sleep(0.05)
        except BaseException:
            small_run.kill(self.processes)
            raise


def _finish(*arguments, **options):
    results = Group(*arguments, **options).end()
    assert [status for status, *_ in results] == [0] * len(results), results
    return results


def _errors(results):
    return [line for _, _, err in results for line in err.splitlines() if line.startswith("error: ")]


def _assert_same_metrics(workdir, other):
    lines, others = small_run.metrics(workdir), small_run.metrics(other)
    assert len(lines) == len(others) > 24
    for line, expected in zip(lines, others, strict=True):
        assert line.keys() == expected.keys() and line["split"] == expected["split"]
        for name, value in line.items():
            if name not in ("split", "mfu"):
                # Correlations near 0 are small differences of large sums.
                assert value == pytest.approx(expected[name], rel=1e-5, abs=1e-5), (line["step"], name)
        assert line["loss"] == pytest.approx(expected["loss"], rel=1e-5)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def straight(tiles, tmp_path_factory):
    """A run of one process from beginning to end."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    _finish(1, tiles, workdir)
    return workdir


@pytest.mark.slow
def test_four_lose_one_two_go_on_and_stop_and_one_finishes(tiles, straight, tmp_path):
    """8 samples a step in 2 micro-batches, 10 tiles, 5 to validate; `fsdp` pairs processes."""
    workdir = tmp_path / "run"
    group = Group(4, tiles, workdir, "--config.mesh.fsdp=2")
    group.wait_for_step(7)
    group.processes[3].kill()
    killed = time.monotonic()
    results = group.end()
    assert time.monotonic() - killed < 60
    assert [status for status, *_ in results] == [1, 1, 1, -signal.SIGKILL], results
    (message,) = _errors(results)
    assert "these died or cannot be reached: 3; " in message and "same command" in message
    for _, out, _ in results[1:]:
        assert not [line for line in out.splitlines() if "[Gloo]" not in line]

    group = Group(2, tiles, workdir, "--config.mesh.fsdp=2")
    group.wait_for_step(small_run.metrics(workdir)[-1]["step"] + 1)
    group.processes[1].send_signal(signal.SIGTERM)
    results = group.end()
    assert [status for status, *_ in results] == [0, 0], results
    assert "Stopped and saved at step" in results[0][1] and "Stopped" not in results[1][1]

    _finish(1, tiles, workdir)
    _assert_same_metrics(workdir, straight)


SOON_SILENT = """
import runpy
import sys

import pytest

from hicfm_jax.train import watch
from tests.train import faults

faults.with_a_matrix(pytest.MonkeyPatch())
watch.SILENCE_SECONDS = 15.0
sys.argv[0] = "scripts/train.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.mark.slow
def test_process_0_is_killed_then_one_falls_silent(tiles, tmp_path):
    """The place where all meet goes with process 0; a machine that hangs breaks no connection."""
    long = ("--config.train.total_steps=5000", "--config.log.checkpoint_every_steps=20")
    run = (2, tiles, tmp_path / "run", "--config.log.eval_every_epochs=1000", *long)
    group = Group(*run, program=SOON_SILENT)
    group.wait_for(lambda: has_checkpoints(group.workdir))
    group.processes[0].kill()
    killed = time.monotonic()
    (_, (status, *printed)) = group.end()
    assert time.monotonic() - killed < 60
    assert status not in (0, -signal.SIGKILL), printed

    group = Group(*run, program=SOON_SILENT)
    group.wait_for_step(small_run.metrics(tmp_path / "run")[-1]["step"] + 1)
    group.processes[1].send_signal(signal.SIGSTOP)
    stopped = time.monotonic()
    try:
        ((status, out, err),) = small_run.outcomes(group.processes[:1])
        assert time.monotonic() - stopped < 60
    finally:
        small_run.kill(group.processes)
    assert status == 1 and "these died or cannot be reached: 1; " in err, err
    assert re.search(r"Going on from step [1-9]\d*\.", out), out


BROKEN = """
import sys
import jax
from hicfm_jax.train import watch
from hicfm_jax.train.distributed import joined

watch.SILENCE_SECONDS = 5.0
with joined(sys.argv[1], 2, int(sys.argv[2])):
    raise jax.errors.JaxRuntimeError("INTERNAL: NCCL: Duplicate GPU detected")
"""


@pytest.mark.slow
def test_a_line_that_broke_though_all_live_says_why():
    place = f"localhost:{_free_port()}"
    ended = small_run.outcomes([small_run.start([place, str(i)], BROKEN) for i in range(2)])
    assert [status for status, *_ in ended] == [1, 1]
    assert "Duplicate GPU detected" in ended[0][2] and "Duplicate GPU" not in ended[1][2]


class Said(BaseException):
    """Instead of the end of all processes."""


class Recorder:
    def lost(self, reason):
        raise Said("lost")

    def fail(self, message, status):
        raise Said("failed")


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer"), "lost"),
        (jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed:\nread timeout"), "lost"),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: failed to connect to all addresses"), "lost"),
        (jax.errors.JaxRuntimeError("INTERNAL: a barrier failed: UNAVAILABLE: Socket closed"), "lost"),
        (jax.errors.JaxRuntimeError("INTERNAL: cuSOLVER has failed"), "failed"),
        (ValueError("DEADLINE_EXCEEDED: gs://bucket/run/coordination/checkpoints"), "failed"),
        (ValueError("NCCL is not a codec"), "failed"),
        (InputError("UNAVAILABLE: tiles.npz"), "failed"),
    ],
)
def test_what_a_broken_line_looks_like(error, said):
    """It may be a dead process, which takes a while to show; anything else is told at once."""
    with pytest.raises(Said, match=said):
        distributed._fail(Recorder(), error)


@pytest.mark.slow
def test_a_mistake_of_one_process_ends_all(tiles, tmp_path):
    missing = tmp_path / "missing.npz"
    results = Group(2, tiles, tmp_path / "run", tiles_of={1: missing}).end()
    assert [status for status, *_ in results] == [2, 2], results
    (message,) = _errors(results)
    assert str(missing) in message and message.endswith("(process 1)")
    assert "Traceback" not in results[0][2] + results[1][2]
    assert not (tmp_path / "run" / "checkpoints").exists()


@pytest.mark.slow
def test_a_workdir_in_use_is_refused_by_all(tiles, tmp_path):
    (tmp_path / "run").mkdir()
    with open(tmp_path / "run" / ".lock", "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        results = Group(2, tiles, tmp_path / "run").end()
    assert [status for status, *_ in results] == [2, 2], results
    (message,) = _errors(results)
    assert "in use by another run" in message


MOVE = """
import sys
import jax
from configs import pretrain_arabidopsis
from hicfm_jax.train import loop, optim, sharding
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.distributed import joined
from hicfm_jax.train.tasks import create_task

coordinator, count, process, fsdp, source, target = sys.argv[1:]
with joined(coordinator, int(count), int(process)):
    config = pretrain_arabidopsis.get_config("demo")
    config.model.name, config.model.input_size = "vit_test", (48, 48)
    config.train.global_batch_size, config.train.accum_steps, config.mesh.fsdp = 8, 2, int(fsdp)
    mesh = sharding.create_mesh(config)
    shapes = loop.state_shapes(config, create_task(config), optim.create_optimizer(config), mesh)
    with Checkpoints(source, config) as checkpoints:
        state = checkpoints.restore_latest(shapes)
    with Checkpoints(target, config) as checkpoints:
        checkpoints.save(state)
"""


def _move(count, fsdp, source, target):
    """Restores the newest checkpoint in `count` processes and saves it elsewhere."""
    place = f"localhost:{_free_port()}"
    each = [[place, str(count), str(i), str(fsdp), str(source), str(target)] for i in range(count)]
    ended = small_run.outcomes([small_run.start(arguments, MOVE) for arguments in each])
    assert [status for status, *_ in ended] == [0] * count, ended
    return target


@pytest.fixture(scope="module")
def split(straight, tmp_path_factory):
    """The straight run's last checkpoint, written by 2 processes with fsdp 2."""
    return _move(2, 2, straight, tmp_path_factory.mktemp("split"))


@pytest.mark.slow
def test_a_checkpoint_moves_between_layouts_bit_by_bit(straight, split, tmp_path):
    """1 process -> 2 with fsdp 2 -> 1 -> 2 with fsdp 1."""
    whole = _move(1, 1, split, tmp_path / "whole")
    copied = _move(2, 1, whole, tmp_path / "copied")
    expected = folder.read(straight, with_adam=True)
    for workdir in (split, whole, copied):
        found = folder.read(workdir, with_adam=True)
        jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
        jax.tree.map(np.testing.assert_array_equal, found.adam, expected.adam)


@pytest.mark.slow
def test_processes_pass_over_a_damaged_checkpoint_together(straight, split, tmp_path):
    damaged = shutil.copytree(straight, tmp_path / "damaged")
    shutil.rmtree(damaged / "checkpoints" / "24")
    shutil.copytree(split / "checkpoints" / "24", damaged / "checkpoints" / "24")
    (part,) = (damaged / "checkpoints" / "24" / "params").glob("ocdbt.process_1")
    for file in part.rglob("d/*"):  # process 0 can read all that it needs
        file.write_bytes(b"")
    restored = _move(2, 2, damaged, tmp_path / "restored")
    assert folder.step_folder(restored).name == "23"
    assert (damaged / "checkpoints" / "damaged-24").is_dir()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("node:1", None, None), "--coordinator given without --processes and --process"),
        ((None, 2, 0), "without --coordinator"),
        (("node:1", 2, 2), "--process=2 with --processes=2"),
        (("node:1", 0, 0), "--processes=0"),
        (("node", 2, 0), "--coordinator=node is not HOST:PORT"),
        (("node:http", 2, 0), "is not HOST:PORT"),
        (("node:70000", 2, 0), "is not HOST:PORT"),
    ],
)
def test_flags_that_do_not_go_together(given, named):
    with pytest.raises(InputError, match=named), distributed.joined(*given):
        pass


def test_a_single_process_needs_nothing(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    with distributed.joined(None, None, None), distributed.joined("node:1", 1, 0):
        assert jax.process_count() == 1


SEEN = """
import jax
from hicfm_jax.train.distributed import joined
with joined(None, None, None):
    print(jax.process_index(), jax.process_count(), jax.device_count())
"""


@pytest.mark.slow
def test_tasks_of_srun_find_each_other():
    """With the variables that srun sets, one step of two tasks on this machine."""
    step = {
        "SLURM_JOB_ID": str(random.SystemRandom().randrange(1 << 20)),  # gives the port
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NTASKS": "2",
        "SLURM_LOCALID": "0",
    }
    tasks = [small_run.start([], SEEN, **step, SLURM_PROCID=str(i)) for i in range(2)]
    (first, said, _), (second, nothing, _) = small_run.outcomes(tasks)
    assert first == second == 0
    # Beside lines of Gloo's; process 0 alone prints.
    assert "0 2 2\n" in said and "1 2 2\n" not in nothing


def test_a_tpu_pod_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: asked.append(options))
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "host-0,host-1")
    with distributed.joined(None, None, None):
        pass
    assert len(asked) == 1 and asked[0].keys() == {"initialization_timeout"}


def _together(*calls):
    """What each of several roll calls at once raised, or None."""
    raised = [None] * len(calls)

    def run(number, arguments):
        try:
            roll_call(*arguments)
        except InputError as error:
            raised[number] = str(error)

    threads = [threading.Thread(target=run, args=each) for each in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return raised


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", pytest.param("[::1]", marks=_IPV6)])
def test_roll_call(host):
    place = f"{host}:{_free_port()}"
    assert _together(*((place, 3, i, 20) for i in range(3))) == [None] * 3


def test_nobody_answers():
    began = time.monotonic()
    (first,) = _together((f"localhost:{_free_port()}", 2, 1, 1))
    assert "Process 0 did not answer" in first and time.monotonic() - began < 10


@pytest.mark.parametrize(
    ("calls", "said"),
    [
        (((3, 0), (3, 2)), "had not come to .*: 1;"),
        (((3, 0), (3, 1), (3, 1)), "Two processes have --process=1"),
        (((2, 0), (3, 1)), "--processes=3 and process 0 has --processes=2"),
    ],
)
def test_a_roll_call_that_fails_says_why_to_all(calls, said):
    place = f"localhost:{_free_port()}"
    raised = _together(*((place, *call, 2) for call in calls))
    assert len(set(raised)) == 1 and re.search(said, raised[0])


def test_something_else_answers():
    """A server that greets at once, as ssh does; some of them in no encoding."""
    with socket.create_server(("localhost", 0)) as server:

        def greet():
            with contextlib.suppress(OSError):  # closed
                while True:
                    with server.accept()[0] as line:
                        line.sendall(b"SSH-2.0-\xffserver\r\n")

        threading.Thread(target=greet, daemon=True).start()
        port = server.getsockname()[1]
        (raised,) = _together((f"localhost:{port}", 2, 1, 1))
    assert f"--coordinator=localhost:{port}" in raised and "something else answers there" in raised


def test_a_port_that_is_taken():
    with socket.create_server(("", 0)) as server:
        with pytest.raises(InputError, match="choose a free one"):
            roll_call(f"localhost:{server.getsockname()[1]}", 2, 0, 1)


def test_addresses():
    assert parse_address("[::1]:80") == ("::1", 80)
