"""What counts as damage, and which checkpoints stay."""

import errno
import os
import resource
import shutil

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from hicfm_jax.config import base_config
from hicfm_jax.errors import InputError
from hicfm_jax.train.checkpoint import Checkpoints, has_checkpoints
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.step import TrainState


@pytest.fixture(scope="module")
def state():
    return TrainState.create({"w": jnp.ones((2, 2))}, create_optimizer(base_config()), ["loss"])


@pytest.fixture(scope="module")
def four_steps(state, tmp_path_factory):
    """Steps 1, whose loss was best, and 2 to 4."""
    return _save(tmp_path_factory.mktemp("four"), state, {step: float(step) for step in range(1, 5)})


@pytest.fixture
def workdir(four_steps, tmp_path):
    return shutil.copytree(four_steps, tmp_path / "run")


def _save(workdir, state, losses):
    """Saves a checkpoint for each step with its validation loss, or None without a validation."""
    with Checkpoints(workdir, base_config()) as checkpoints:
        for step, loss in losses.items():
            metrics = None if loss is None else {"loss": loss}
            checkpoints.save(state.replace(step=jnp.asarray(step, jnp.int32)), metrics)
            checkpoints.wait()
    return workdir


def _steps(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


def _empty_arrays(step):
    for file in step.rglob("d/*"):
        file.write_bytes(b"")


def _system(number):
    return OSError(number, os.strerror(number))


# TensorStore puts the status before its message, and Orbax raises it as a ValueError.
@pytest.mark.parametrize(
    "error",
    [
        MemoryError("host"),
        _system(errno.EACCES),
        _system(errno.EIO),
        _system(errno.ESTALE),
        _system(errno.EMFILE),
        _system(errno.ETIMEDOUT),
        RuntimeError("RESOURCE_EXHAUSTED: Out of memory"),
        ValueError("UNKNOWN: Error reading local file: Input/output error [OS error 5: EIO]"),
        ValueError("ABORTED: Error reading local file: Stale file handle [OS error 116: ESTALE]"),
        ValueError("Could not read params: UNAVAILABLE: Connection reset by peer"),
    ],
    ids=lambda error: str(error)[:30],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_an_error_of_the_machine_or_network_is_no_damage(state, workdir, monkeypatch, error, wrapped):
    def fail(*_, **__):
        if wrapped:
            raise ValueError("The checkpoint could not be read") from error
        raise error

    monkeypatch.setattr(ocp.StandardCheckpointHandler, "restore", fail)
    with Checkpoints(workdir, base_config()) as checkpoints:
        with pytest.raises(InputError, match="checkpoints/4 cannot be read now, and nothing was changed"):
            checkpoints.restore_latest(state)
    assert _steps(workdir) == ["1", "3", "4"]


def test_too_many_open_files_are_no_damage(state, workdir):
    """The real error, not one that a test raises."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Checkpoints(workdir, base_config()) as checkpoints:
        os.close(free := os.dup(0))  # the next number that a file would have
        resource.setrlimit(resource.RLIMIT_NOFILE, (free, hard))
        try:
            with pytest.raises(InputError, match="nothing was changed .*Too many open files"):
                checkpoints.restore_latest(state)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert _steps(workdir) == ["1", "3", "4"]
        assert int(checkpoints.restore_latest(state).step) == 4


def test_a_checkpoint_that_cannot_be_read_is_passed_over(state, workdir):
    with Checkpoints(workdir, base_config()) as checkpoints:
        _empty_arrays(workdir / "checkpoints" / "4")
        assert int(checkpoints.restore_latest(state).step) == 3
        assert _steps(workdir) == ["1", "3", "damaged-4"]
        for step in ("1", "3"):
            _empty_arrays(workdir / "checkpoints" / step)
        for _ in range(2):  # and the run does not start over by itself
            with pytest.raises(InputError, match="can be read"):
                checkpoints.restore_latest(state)
    assert has_checkpoints(workdir)


def test_why_none_can_be_read(state, workdir):
    for step in (1, 3, 4):
        (workdir / "checkpoints" / str(step) / "meta" / "metadata").write_text("{")
    with Checkpoints(workdir, base_config()) as checkpoints:
        with pytest.raises(InputError, match=r"can be read \(Expecting property name"):
            checkpoints.restore_latest(state)
    assert _steps(workdir) == ["1", "3", "4"]


def test_only_the_newest_and_the_best_stay(state, tmp_path):
    losses = [5.0, 1.0, None, float("nan"), 3.0, None, 4.0, None]
    _save(tmp_path, state, dict(enumerate(losses, start=1)))
    assert _steps(tmp_path) == ["2", "7", "8"]


def test_the_best_checkpoint_outlives_a_resume(state, tmp_path):
    _save(tmp_path, state, {1: 2.0, 2: 1.0, 3: 3.0})
    _save(tmp_path, state, {4: 4.0, 5: None, 6: 5.0})
    assert _steps(tmp_path) == ["2", "5", "6"]


def test_a_checkpoint_whose_loss_cannot_be_read_stays(state, workdir):
    meta = workdir / "checkpoints" / "1" / "meta" / "metadata"
    meta.rename(workdir / "away")  # as a network disk may do for a moment
    _save(workdir, state, {5: 9.0})
    assert _steps(workdir) == ["1", "3", "4", "5"]
    (workdir / "away").rename(meta)
    _save(workdir, state, {6: 9.0})
    assert _steps(workdir) == ["1", "5", "6"]


def test_a_full_disk_is_named_as_such(state, tmp_path, monkeypatch):
    """Orbax reports it as a ValueError."""

    def full(*_, **__):
        raise ValueError("RESOURCE_EXHAUSTED: write failed: No space left on device")

    with Checkpoints(tmp_path, base_config()) as checkpoints:
        monkeypatch.setattr(checkpoints.manager, "save", full)
        with pytest.raises(OSError, match="No space left") as error:
            checkpoints.save(state)
        assert error.value.errno == errno.ENOSPC
