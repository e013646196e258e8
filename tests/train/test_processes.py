"""Several processes train as one, and end as one; real ones, on this machine.

They train the matrix of `faults`; test_sharding.py divides the network among devices.
"""

import random
import shutil
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from hicfm_jax.checkpoints import folder
from hicfm_jax.errors import InputError
from hicfm_jax.train import loop, processes
from tests.train import faults, small_run

SIZES = (
    "--config.train.global_batch_size=8",
    "--config.train.total_steps=30",
    "--config.log.every_steps=1",
    "--config.log.eval_every_epochs=6",
    "--config.log.image_count=0",
)


def _free_port():
    with socket.create_server(("", 0)) as server:
        return server.getsockname()[1]


HEARTBEAT_SECONDS = 10
SCRIPT = f"""
import pytest, runpy, sys
from hicfm_jax.train import processes
from tests.train import faults

processes.HEARTBEAT_SECONDS = {HEARTBEAT_SECONDS}
faults.with_a_matrix(pytest.MonkeyPatch())
sys.argv[0] = "scripts/train.py"
runpy.run_path(sys.argv[0], run_name="__main__")
"""


class Group:
    """A run in `count` processes."""

    def __init__(self, count, tiles, workdir, *more):
        self.workdir = workdir
        port = _free_port()
        self.processes = []
        for i in range(count):
            own = [f"--coordinator=localhost:{port}", f"--processes={count}", f"--process={i}"]
            flags = small_run.flags(tiles, workdir, *SIZES, *more)
            self.processes.append(faults.Program(flags + (own if count > 1 else []), SCRIPT))

    def end(self):
        """Exit status, standard output and standard error of each."""
        return small_run.outcomes(self.processes)

    def wait_for_step(self, step):
        deadline = time.monotonic() + small_run.PATIENCE_SECONDS
        try:
            while not any(line["step"] >= step for line in small_run.metrics(self.workdir)):
                assert all(process.poll() is None for process in self.processes), self.end()
                assert time.monotonic() < deadline, f"Step {step} was not reached in time."
                time.sleep(0.05)
        except BaseException:
            small_run.kill(self.processes)
            raise


def _finish(*arguments):
    results = Group(*arguments).end()
    assert [status for status, *_ in results] == [0] * len(results), results


def _errors(results):
    return [line for _, _, err in results for line in err.splitlines() if line.startswith("error: ")]


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def straight(tiles, tmp_path_factory):
    """A run of one process from beginning to end."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    with pytest.MonkeyPatch.context() as patch:
        faults.with_a_matrix(patch)
        assert loop.train_and_evaluate(small_run.config(tiles, *SIZES), workdir).finished
    return workdir


@pytest.mark.slow  # five processes train
def test_two_lose_one_go_on_and_stop_and_one_finishes(tiles, straight, tmp_path):
    """8 samples a step in 2 micro-batches, 10 tiles, 5 to validate."""
    workdir = tmp_path / "run"
    group = Group(2, tiles, workdir, "--config.mesh.fsdp=2")
    group.wait_for_step(3)
    group.processes[1].kill()
    killed = time.monotonic()
    results = group.end()
    # Mostly at once. If Orbax waits for the other to save its part, it takes until JAX misses its heartbeat.
    assert time.monotonic() - killed < HEARTBEAT_SECONDS + 30
    assert results[0][0] != 0 and results[1][0] == -signal.SIGKILL, results

    group = Group(2, tiles, workdir, "--config.mesh.fsdp=2")
    group.wait_for_step(small_run.metrics(workdir)[-1]["step"] + 1)
    group.processes[1].send_signal(signal.SIGTERM)
    results = group.end()
    assert [status for status, *_ in results] == [0, 0], results
    assert "Stopped and saved at step" in results[0][1] and "Stopped" not in results[1][1]

    _finish(1, tiles, workdir)
    lines, others = small_run.metrics(workdir), small_run.metrics(straight)
    assert len(lines) == len(others) > 30
    for line, expected in zip(lines, others, strict=True):
        assert line.keys() == expected.keys() and line["split"] == expected["split"]
        for name, value in line.items():
            if name != "split":
                # Correlations near 0 are small differences of large sums.
                assert value == pytest.approx(expected[name], rel=1e-5, abs=1e-5), (line["step"], name)
        assert line["loss"] == pytest.approx(expected["loss"], rel=1e-5)


FAILING = """
import os, signal, sys, time
from hicfm_jax.errors import InputError
from hicfm_jax.train import processes

coordinator, count, process, failing, failure = sys.argv[1:]
processes.JOIN_SECONDS, processes.HEARTBEAT_SECONDS = 20, 4
if failure == "absent":
    processes.JOIN_SECONDS = 4
    if process == failing:
        sys.exit(0)
with processes.joined(coordinator, int(count), int(process)):
    bool(processes.any_process(False))
    if process == failing:
        if failure == "mistake":
            raise InputError("tiles.npz is missing.")
        os.kill(os.getpid(), getattr(signal, failure))
    for _ in range(1000):
        bool(processes.any_process(False))
        time.sleep(0.1)
"""


@pytest.mark.slow  # two processes each
@pytest.mark.parametrize(
    ("failing", "failure"),
    [(1, "SIGKILL"), (0, "SIGKILL"), (1, "SIGSTOP"), (1, "mistake"), (0, "mistake"), (1, "absent")],
)
def test_one_that_fails_ends_all(failing, failure):
    """Killed, silent like a machine that hangs, ended by a mistake of the user, or never started."""
    place = f"localhost:{_free_port()}"
    each = [[place, "2", str(i), str(failing), failure] for i in range(2)]
    started = [faults.Program(arguments, FAILING) for arguments in each]
    try:
        other = started[1 - failing]
        _, err = other.communicate(timeout=120)
        assert other.returncode != 0, err
        assert "Waiting up to" in err
        if failure == "mistake":
            _, err = started[failing].communicate(timeout=60)
            assert started[failing].returncode == 2
            assert f"error: tiles.npz is missing. (process {failing})" in err and "Traceback" not in err
    finally:
        small_run.kill(started)


@pytest.mark.parametrize(
    ("error", "lost"),
    [
        (ValueError("UNKNOWN: Gloo AllGather failed: Connection closed by peer"), True),
        (jax.errors.JaxRuntimeError("UNKNOWN: Gloo all-reduce failed:\nread timeout"), True),
        (jax.errors.JaxRuntimeError("UNAVAILABLE: failed to connect to all addresses"), True),
        (jax.errors.JaxRuntimeError("INTERNAL: a barrier failed: UNAVAILABLE: Socket closed"), True),
        (jax.errors.JaxRuntimeError("INTERNAL: cuSOLVER has failed"), False),
        (ValueError("DEADLINE_EXCEEDED: gs://bucket/run/coordination/checkpoints"), False),
        (ValueError("NCCL is not a codec"), False),
    ],
)
def test_what_a_lost_connection_looks_like(error, lost):
    assert processes.lost_connection(error) == lost


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (InputError("UNAVAILABLE: tiles.npz"), 2, "error: UNAVAILABLE: tiles.npz (process 0)\n"),
        (KeyboardInterrupt(), 130, "error: Stopped. (process 0)\n"),
        (ValueError("UNKNOWN: Gloo failed"), 1, "error: Another process of the run ended"),
        (ValueError("a defect"), 1, "error: ValueError: a defect (process 0)\n"),
    ],
)
def test_a_failing_process_says_why_in_one_sentence(monkeypatch, capsys, error, status, message):
    ended = []
    monkeypatch.setattr(processes.os, "_exit", ended.append)
    processes._fail(error)
    assert ended == [status]
    assert capsys.readouterr().err.splitlines(keepends=True)[-1].startswith(message)


def test_the_question_to_all_processes_is_compiled_once(monkeypatch):
    made = []
    jit = jax.jit
    monkeypatch.setattr(
        jax, "jit", lambda *arguments, **options: made.append(1) or jit(*arguments, **options)
    )
    assert [bool(processes.any_process(flag)) for flag in (False, True, False)] == [False, True, False]
    assert len(made) <= 1


MOVE = """
import sys
import jax
from hicfm_jax.train import loop, optim, sharding
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.processes import joined
from tests.train import faults, small_run

coordinator, process, source, target = sys.argv[1:]
with joined(coordinator, 2, int(process)):
    config = small_run.config("", "--config.train.global_batch_size=8", "--config.mesh.fsdp=2")
    mesh = sharding.create_mesh(config)
    shapes = loop.state_shapes(config, faults.matrix_task(config), optim.create_optimizer(config), mesh)
    with Checkpoints(source, config) as checkpoints:
        state = checkpoints.restore_latest(shapes)
    with Checkpoints(target, config) as checkpoints:
        checkpoints.save(state)
"""


def _move(source, target):
    """Restores the newest checkpoint in 2 processes with fsdp 2 and saves it elsewhere."""
    place = f"localhost:{_free_port()}"
    each = [[place, str(i), str(source), str(target)] for i in range(2)]
    ended = small_run.outcomes([faults.Program(arguments, MOVE) for arguments in each])
    assert [status for status, *_ in ended] == [0, 0], ended
    return target


@pytest.mark.slow  # two processes, twice
def test_a_checkpoint_moves_between_layouts_and_damage_of_one_part_is_found_by_all(straight, tmp_path):
    """1 process -> 2 with fsdp 2 -> 1, bit by bit; then the part that process 1 wrote is damaged."""
    split = _move(straight, tmp_path / "split")
    found, expected = (folder.read(workdir, with_adam=True) for workdir in (split, straight))
    newest = expected.folder.name
    jax.tree.map(np.testing.assert_array_equal, found.params, expected.params)
    jax.tree.map(np.testing.assert_array_equal, found.adam, expected.adam)

    damaged = shutil.copytree(straight, tmp_path / "damaged")
    shutil.rmtree(damaged / "checkpoints" / newest)
    shutil.copytree(split / "checkpoints" / newest, damaged / "checkpoints" / newest)
    (part,) = (damaged / "checkpoints" / newest / "params").glob("ocdbt.process_1")
    for file in part.rglob("d/*"):  # process 0 can read all that it needs
        file.write_bytes(b"")
    restored = _move(damaged, tmp_path / "restored")
    assert int(folder.step_folder(restored).name) < int(newest)
    assert (damaged / "checkpoints" / f"damaged-{newest}").is_dir()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (("node:1", None, None), "--coordinator given without --processes and --process"),
        ((None, 2, 0), "without --coordinator"),
        (("node:1", 2, 2), "--process=2 with --processes=2"),
        (("node:1", 0, 0), "--processes=0"),
        (("node", 2, 0), "--coordinator=node is not HOST:PORT"),
        (("node:http", 2, 0), "is not HOST:PORT"),
        ((":1", 2, 0), "is not HOST:PORT"),
        (("[::1]:70000", 2, 0), "is not HOST:PORT"),
    ],
)
def test_flags_that_do_not_go_together(given, named):
    with pytest.raises(InputError, match=named), processes.joined(*given):
        pass


def test_a_single_process_needs_nothing(monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "1")
    with processes.joined(None, None, None), processes.joined("node:1", 1, 0):
        assert jax.process_count() == 1


PRINT = """
import jax
from hicfm_jax.train.processes import joined
with joined(None, None, None):
    print(jax.process_index(), jax.process_count(), jax.device_count())
"""


@pytest.mark.slow  # two processes
def test_tasks_of_srun_find_each_other():
    """With the variables that srun sets, one step of two tasks on this machine."""
    step = {
        "SLURM_JOB_ID": str(random.SystemRandom().randrange(1 << 20)),  # gives the port
        "SLURM_STEP_NODELIST": "localhost",
        "SLURM_STEP_NUM_TASKS": "2",
        "SLURM_NTASKS": "2",
        "SLURM_LOCALID": "0",
    }
    tasks = [faults.Program([], PRINT, **step, SLURM_PROCID=str(i)) for i in range(2)]
    (first, printed, _), (second, nothing, _) = small_run.outcomes(tasks)
    assert first == second == 0
    # Beside lines of Gloo's; process 0 alone prints.
    assert "0 2 2\n" in printed and "1 2 2\n" not in nothing


def test_a_tpu_pod_is_asked(monkeypatch):
    asked = []
    monkeypatch.setattr(jax.distributed, "initialize", lambda **options: asked.append(options))
    monkeypatch.setenv("TPU_WORKER_HOSTNAMES", "host-0,host-1")
    with processes.joined(None, None, None):
        pass
    assert len(asked) == 1 and asked[0].keys() == {"initialization_timeout", "heartbeat_timeout_seconds"}


MEMORY = """
import ctypes
import resource
from hicfm_jax.train import processes

processes.importlib.metadata.entry_points = lambda group: []  # a GPU's plugin changes nothing here
assert processes.keep_freed_memory()
# PR_SET_THP_DISABLE: no huge pages, each of which would count as one.
assert ctypes.CDLL(None).prctl(41, 1, 0, 0, 0) == 0

import numpy as np

for _ in range(2):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(1 << 26, np.uint8)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow  # starts a program
@pytest.mark.skipif(sys.platform != "linux", reason="a setting of glibc")
def test_freed_memory_serves_the_next_array():
    done = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 100  # page faults, of 16,384


def test_the_defaults_stay_where_there_is_an_accelerator(monkeypatch):
    monkeypatch.setattr(processes.importlib.metadata, "entry_points", lambda group: [group])
    assert not processes.keep_freed_memory()
