"""Whatever ends or damages a run: nothing that was saved is lost, and it ends as if nothing had happened.

`docs/how-to/survival.md` tells users the same.
"""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from hicfm_jax.checkpoints import folder as checkpoint_folder
from hicfm_jax.checkpoints.folder import Adam
from hicfm_jax.contacts import simulate
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import load_network
from hicfm_jax.tiles.build.builder import build_tiles
from hicfm_jax.tiles.build.splits import HeldOut
from hicfm_jax.train import loop
from hicfm_jax.train.checkpoint import Checkpoints
from tests.train import faults, small_run
from tests.train.faults import Fault, Run, assert_same


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return small_run.save_tiles(tmp_path_factory.mktemp("faults"))


@pytest.fixture(scope="module")
def straight(tiles, tmp_path_factory):
    """Workdir of a run that nothing happened to."""
    workdir = tmp_path_factory.mktemp("straight") / "run"
    with pytest.MonkeyPatch.context() as patch:
        faults.with_a_matrix(patch)
        assert loop.train_and_evaluate(faults.config(tiles), workdir).finished
    return workdir


@pytest.fixture(scope="module")
def stopped(tiles, tmp_path_factory):
    """Workdir of a run that got SIGTERM in step 8, with checkpoints of steps 6 and 8."""
    workdir = tmp_path_factory.mktemp("stopped") / "run"
    assert not _train_until(Fault("step", 8, signal.SIGTERM), tiles, workdir).finished
    assert faults.checkpoints(workdir) == {"6", "8"}
    return workdir


@pytest.fixture
def workdir(stopped, tmp_path):
    """A copy of `stopped`."""
    return shutil.copytree(stopped, tmp_path / "run")


@pytest.fixture
def train(monkeypatch):
    """Trains in this process."""
    faults.with_a_matrix(monkeypatch)
    return lambda tiles, workdir, *more: loop.train_and_evaluate(faults.config(tiles, *more), workdir)


def _train_until(fault, tiles, workdir):
    """Trains the matrix in this process, which outlives a SIGTERM that the run does not handle."""
    before = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with pytest.MonkeyPatch.context() as patch:
            faults.with_a_matrix(patch)
            fault.install(patch)
            return loop.train_and_evaluate(faults.config(tiles), workdir)
    finally:
        signal.signal(signal.SIGTERM, before)


@pytest.mark.slow  # two processes each
@pytest.mark.parametrize(
    ("fault", "saved"),
    [
        (Fault("compile"), {0}),
        (Fault("step", 8), {4, 6}),  # that of step 6 is being written
        (Fault("save", 6), {4}),
        (Fault("validation", 2), {4, 6}),
    ],
    ids=lambda value: value.phase if isinstance(value, Fault) else "",
)
def test_kill_9(tiles, straight, tmp_path, fault, saved, train, capsys):
    arguments = faults.flags(tiles, tmp_path / "run")
    status, printed = Run(arguments, tmp_path / "log", fault).wait()
    assert status == -signal.SIGKILL, printed
    newest = max((int(name) for name in faults.checkpoints(tmp_path / "run") if name.isdigit()), default=0)
    assert newest in saved
    train(tiles, tmp_path / "run")
    assert (f"Going on from step {newest}." in capsys.readouterr().out) == bool(newest)
    assert_same(tmp_path / "run", straight)


@pytest.mark.slow  # whole runs
@pytest.mark.parametrize(
    ("fault", "step"),
    [
        pytest.param(Fault("compile", 0, signal.SIGTERM), 1, id="compile"),
        pytest.param(Fault("validation", 1, signal.SIGTERM), 5, id="validation"),
    ],
)
def test_sigterm(tiles, straight, tmp_path, train, fault, step):
    """During a step: see `stopped`, from which most tests of this file go on."""
    stopped = _train_until(fault, tiles, tmp_path / "run")
    assert not stopped.finished and int(stopped.state.step) == step
    assert str(step) in faults.checkpoints(tmp_path / "run")
    train(tiles, tmp_path / "run")
    assert_same(tmp_path / "run", straight)


@pytest.mark.slow  # a process; what the script does is the subject
def test_the_script_ends_with_status_0_after_sigterm(tiles, tmp_path):
    fault = Fault("step", 8, signal.SIGTERM)
    status, printed = Run(faults.flags(tiles, tmp_path / "run"), tmp_path / "log", fault).wait()
    assert status == 0 and "Stopped and saved at step 8." in printed


def _arrays(step):
    """Files of a checkpoint that hold arrays."""
    return sorted(path for path in pathlib.Path(step).rglob("d/*"))


def _flip(file, position, bit=0):
    content = bytearray(file.read_bytes())
    content[position] ^= 1 << bit
    file.write_bytes(content)


def _flip_bits(step):
    for file in _arrays(step):
        _flip(file, file.stat().st_size // 2)


def _truncate(step):
    for file in _arrays(step):
        os.truncate(file, file.stat().st_size // 2)


def _change_the_metadata(step):
    meta = json.loads((step / "meta" / "metadata").read_text())
    meta["config"]["train"]["seed"] += 1
    (step / "meta" / "metadata").write_text(json.dumps(meta))


def _lose_a_folder(step):
    shutil.rmtree(step / "training")


@pytest.mark.slow  # whole runs, as the ones below
@pytest.mark.parametrize("damage", [_flip_bits, _truncate, _change_the_metadata, _lose_a_folder])
def test_a_damaged_checkpoint_costs_the_steps_since_the_one_before(
    tiles, straight, workdir, train, damage, caplog
):
    damage(workdir / "checkpoints" / "8")
    (workdir / "checkpoints" / "damaged-8").mkdir()  # of the last time
    train(tiles, workdir)
    (message,) = [record.getMessage() for record in caplog.records if record.levelname == "ERROR"]
    assert "/checkpoints/8 is damaged (" in message and "going on from step 6; " in message
    assert (workdir / "checkpoints" / "damaged-8" / "params").is_dir()
    assert_same(workdir, straight)


@pytest.mark.slow  # 30 checkpoints are read
def test_no_flipped_bit_comes_through(stopped, tiles, train, tmp_path):
    """Orbax alone reads on over nearly every bit that matters."""
    config = faults.config(tiles)
    target = train(tiles, tmp_path / "target").state
    with Checkpoints(stopped, config) as checkpoints:
        sound = jax.device_get(checkpoints.restore_latest(target))
    rng, passed_over = np.random.default_rng(0), 0
    sizes = {file: file.stat().st_size for file in _arrays(stopped / "checkpoints" / "8")}
    for _ in range(30):
        workdir = shutil.copytree(stopped, tmp_path / "flipped")
        file = rng.choice(list(sizes), p=np.array(list(sizes.values())) / sum(sizes.values()))
        _flip(workdir / file.relative_to(stopped), rng.integers(sizes[file]), rng.integers(8))
        with Checkpoints(workdir, config) as checkpoints:
            found = checkpoints.restore_latest(target)
        if int(found.step) == 8:  # the bit was in a part that nobody reads
            jax.tree.map(np.testing.assert_array_equal, sound, jax.device_get(found))
        passed_over += int(found.step) == 6
        shutil.rmtree(workdir)
    assert passed_over > 20


@pytest.mark.slow
def test_a_damaged_checkpoint_is_nothing_to_start_from(tiles, workdir, train, tmp_path):
    _flip_bits(workdir / "checkpoints" / "8")
    with pytest.raises(InputError, match="checkpoints/8 cannot be read .*: give another"):
        load_network(workdir)
    with pytest.raises(InputError, match="checkpoints/8 cannot be read .*: give another"):
        train(tiles, tmp_path / "new", f"--config.init_from={workdir}")
    assert not (tmp_path / "new").exists()


def test_converted_weights_have_checksums_too(tmp_path):
    """Their files are not compressed: Orbax would notice nothing."""
    params = {"encoder/kernel": np.random.default_rng(0).random((64, 64), np.float32)}
    adam = Adam(params, params, 3)
    config = {"task": "pretrain", "model": {"name": "vit_test", "input_size": [32, 32]}}
    checkpoint_folder.write(tmp_path / "run", 3, params, adam, {"config": config})
    checkpoint_folder.read(tmp_path / "run", with_adam=True)
    step = checkpoint_folder.step_folder(tmp_path / "run")
    for item in ("adam", "params"):
        for file in _arrays(step / item):  # when two arrays are written at once, one file may be left unread
            if file.stat().st_size >= params["encoder/kernel"].nbytes:
                _flip(file, file.stat().st_size // 2)
        with pytest.raises(InputError, match=f"{item}.* changed after"):
            checkpoint_folder.read(tmp_path / "run", with_adam=True)


@pytest.mark.slow  # a process of its own, for its file size limit
def test_a_full_disk_keeps_what_was_saved(tiles, straight, tmp_path, train):
    fault = Fault("full_disk", 6)
    status, printed = Run(faults.flags(tiles, tmp_path / "run"), tmp_path / "log", fault).wait()
    assert status == 2, printed
    errors = printed[printed.index("error: ") :]
    assert errors.startswith(f"error: {tmp_path}/run/checkpoints cannot be used: No space left on device.\n")
    assert "orbax" not in errors
    saved = {name for name in faults.checkpoints(tmp_path / "run") if name.isdigit()}
    assert saved == {"2", "4"}
    train(tiles, tmp_path / "run")
    assert_same(tmp_path / "run", straight)


@pytest.mark.slow  # compiles a run for each kind of NaN
@pytest.mark.parametrize("what", ["loss", pytest.param("gradient", marks=pytest.mark.slow)])
def test_nan_is_skipped_and_counted(tiles, tmp_path, train, monkeypatch, capsys, what):
    faults.change_batches(monkeypatch, faults.poison(what, {2, 5, 8}))
    state = train(tiles, tmp_path / "run").state
    lines = [line for line in small_run.metrics(tmp_path / "run") if line["split"] == "train"]
    assert [line["skipped_micro_batches"] for line in lines] == [1, 2, 3, 3]
    assert "step 6/12" in (out := capsys.readouterr().out) and "dropped 2" in out
    assert all(np.isfinite(line["loss"]) for line in lines)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(state.params))
    # The count goes on where it was.
    assert not _train_until(Fault("step", 6, signal.SIGTERM), tiles, tmp_path / "stopped").finished
    train(tiles, tmp_path / "stopped")
    assert_same(tmp_path / "stopped", tmp_path / "run")


@pytest.mark.slow
def test_nothing_but_nan_ends_the_run(tiles, tmp_path, train, monkeypatch):
    monkeypatch.setattr(loop, "PATIENCE", 4)
    faults.change_batches(monkeypatch, faults.poison("both", {2, 3, 4, *range(6, 13)}))
    with pytest.raises(InputError, match="From step 7 to 12 no micro-batch had a finite loss"):
        train(tiles, tmp_path / "run", "--config.train.total_steps=20")


HOLDER = """
import fcntl, sys
file = open(sys.argv[1], "a")
fcntl.lockf(file, fcntl.LOCK_EX)
print("locked", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
def test_a_workdir_in_use_is_refused_until_its_holder_is_killed(tiles, workdir, straight, train):
    before = small_run.metrics(workdir)
    command = [sys.executable, "-c", HOLDER, str(workdir / ".lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"locked\n"
        with pytest.raises(InputError, match="run is in use by another run: wait for it or use another"):
            train(tiles, workdir)
        holder.kill()
    assert small_run.metrics(workdir) == before
    train(tiles, workdir)
    assert_same(workdir, straight)


@pytest.mark.slow
def test_what_another_run_saved_while_this_one_started_is_taken_up(
    tiles, stopped, straight, tmp_path, train, monkeypatch, capsys
):
    create_state = loop.create_state

    def meanwhile(*arguments):
        shutil.copytree(stopped, tmp_path / "run")
        return create_state(*arguments)

    monkeypatch.setattr(loop, "create_state", meanwhile)
    train(tiles, tmp_path / "run")
    assert "Going on from step 8." in capsys.readouterr().out
    assert_same(tmp_path / "run", straight)


@pytest.mark.slow
def test_what_a_kill_left_half_written_is_cleared_away(tiles, straight, workdir, train):
    shutil.copytree(workdir / "checkpoints" / "8", workdir / "checkpoints" / "9.orbax-checkpoint-tmp")
    for name in (".config.json.a1", ".metrics.jsonl.b2", "images/.step_00000012.png.c3"):
        (workdir / name).mkdir()
        (workdir / name / "half").touch()
    with open(workdir / "metrics.jsonl", "a") as file:
        file.write('{"step": 9, "epoch": 4.5, "spl')
    train(tiles, workdir)
    left = {path.name for path in workdir.rglob("*") if path.name.startswith(".") or "tmp" in path.name}
    assert left == {".lock"}
    assert_same(workdir, straight)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Tiles on disk, as users have them."""
    folder = tmp_path_factory.mktemp("stored") / "tiles"
    maps = {"assay": simulate(contacts=1e6, resolution=200_000, seed=0)}
    build_tiles(maps, folder, tile_size=64, stride=48, held_out=HeldOut(val_chromosomes=["Chr4"]))
    return folder


@pytest.fixture(scope="module")
def straight_from_disk(stored, tmp_path_factory):
    """Workdir of a run on them that nothing happened to."""
    workdir = tmp_path_factory.mktemp("straight_from_disk") / "run"
    with pytest.MonkeyPatch.context() as patch:
        faults.with_a_matrix(patch)
        loop.train_and_evaluate(faults.config(stored), workdir)
    return workdir


@pytest.mark.slow  # TensorFlow reads the tiles
def test_tiles_on_disk_are_no_exception(stored, straight_from_disk, tmp_path, train):
    status, printed = Run(faults.flags(stored, tmp_path / "run"), tmp_path / "log", Fault("step", 8)).wait()
    assert status == -signal.SIGKILL, printed
    train(stored, tmp_path / "run")
    assert_same(tmp_path / "run", straight_from_disk)


@pytest.mark.slow  # TensorFlow reads the tiles
@pytest.mark.parametrize("damage", ["flipped byte", "truncated"])
def test_a_damaged_tile_ends_the_run_and_sound_ones_go_on(
    stored, straight_from_disk, tmp_path, train, damage
):
    (shard,) = stored.glob("*train*array_record*")
    content = shard.read_bytes()
    try:
        if damage == "truncated":
            os.truncate(shard, len(content) // 2)
        else:
            _flip(shard, content.rindex(b"matrix_count"))
        with pytest.raises(InputError, match=f"{shard.name} is damaged .*make it again"):
            train(stored, tmp_path / "run")
    finally:
        shard.write_bytes(content)
    train(stored, tmp_path / "run")
    assert_same(tmp_path / "run", straight_from_disk)
