"""What counts as damage, and which checkpoints stay."""

import jax.numpy as jnp
import orbax.checkpoint as ocp
import pytest

from hicfm_jax.config import base_config
from hicfm_jax.errors import InputError
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.state import TrainState


@pytest.fixture
def state():
    return TrainState.create({"w": jnp.ones((2, 2))}, create_optimizer(base_config()), ["loss"])


@pytest.fixture
def workdir(state, tmp_path):
    """Steps 1, whose loss was best, and 2 to 4."""
    with Checkpoints(tmp_path, base_config()) as checkpoints:
        for step in range(1, 5):
            checkpoints.save(state.replace(step=jnp.asarray(step)), {"loss": float(step)})
    return tmp_path


def _steps(workdir):
    return sorted(path.name for path in (workdir / "checkpoints").iterdir())


@pytest.mark.parametrize(
    "error",
    [MemoryError("host"), PermissionError(13, "denied"), RuntimeError("RESOURCE_EXHAUSTED: Out of memory")],
)
def test_memory_and_rights_are_no_damage(state, workdir, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(ocp.StandardCheckpointHandler, "restore", fail)
    with Checkpoints(workdir, base_config()) as checkpoints, pytest.raises(type(error)):
        checkpoints.restore_latest(state)
    assert _steps(workdir) == ["1", "3", "4"]


def test_why_none_can_be_read(state, workdir):
    for step in (1, 3, 4):
        (workdir / "checkpoints" / str(step) / "meta" / "metadata").write_text("{")
    with Checkpoints(workdir, base_config()) as checkpoints:
        with pytest.raises(InputError, match=r"can be read \(Expecting property name"):
            checkpoints.restore_latest(state)
    assert _steps(workdir) == ["1", "3", "4"]


def test_a_checkpoint_whose_loss_cannot_be_read_stays(state, workdir):
    meta = workdir / "checkpoints" / "1" / "meta" / "metadata"
    meta.rename(workdir / "away")  # as a network disk may do for a moment
    with Checkpoints(workdir, base_config()) as checkpoints:
        checkpoints.save(state.replace(step=jnp.asarray(5)), {"loss": 9.0})
    assert _steps(workdir) == ["1", "3", "4", "5"]
    (workdir / "away").rename(meta)
    with Checkpoints(workdir, base_config()) as checkpoints:
        checkpoints.save(state.replace(step=jnp.asarray(6)), {"loss": 9.0})
    assert _steps(workdir) == ["1", "5", "6"]
