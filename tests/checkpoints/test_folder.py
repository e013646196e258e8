"""Which step of a workdir is taken, and what is read of it."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from hicfm_jax.checkpoints import folder
from hicfm_jax.config import base_config
from hicfm_jax.errors import InputError
from hicfm_jax.train.checkpoint import Checkpoints
from hicfm_jax.train.step import TrainState

CONFIG = {"task": "pretrain", "model": {"name": "vit_test", "input_size": [32, 32]}}


def _write(workdir, losses):
    """A workdir with a checkpoint per step; its one parameter is the step."""
    for step, loss in losses.items():
        validation = {} if loss is None else {"validation": {"loss": loss}}
        params = {"step": np.array([step], np.float32)}
        folder.write(workdir / f"of {step}", step, params, None, {"config": CONFIG, **validation})
        (workdir / "checkpoints").mkdir(exist_ok=True)
        (workdir / f"of {step}" / "checkpoints" / str(step)).rename(workdir / "checkpoints" / str(step))
    return workdir


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Validated at 800 and 900, best at 800."""
    return _write(tmp_path_factory.mktemp("run"), {800: 0.5881, 900: 0.6, 1000: None})


@pytest.mark.parametrize(
    ("suffix", "step", "reason"),
    [
        ("", 800, "lowest validation loss 0.5881"),
        ("@best", 800, "lowest validation loss 0.5881"),
        ("@last", 1000, "the last step"),
        ("@900", 900, "the step given"),
        ("/checkpoints@last", 1000, "the last step"),
        ("/checkpoints/900", 900, "the one given"),
    ],
)
def test_the_step_that_a_path_means(run, suffix, step, reason):
    path = f"{run}{suffix}"
    assert folder.chosen_step(path) == (step, reason)
    assert folder.step_folder(path).name == str(step)
    stored = folder.read(path)
    assert stored.params["step"] == [step] and stored.meta["step"] == step


@pytest.mark.parametrize(
    ("losses", "step"),
    [
        ({1: None, 2: None}, 2),
        ({1: 2.0, 2: float("nan"), 3: float("inf")}, 1),
        ({1: 2.0, 2: 2.0, 3: 3.0}, 2),
        ({4: None}, 4),
    ],
)
def test_without_a_suffix_the_best_step_or_else_the_last(tmp_path, losses, step):
    assert folder.chosen_step(_write(tmp_path, losses))[0] == step


@pytest.mark.parametrize(
    ("suffix", "message"),
    [
        ("@700", "holds checkpoints at steps 800, 900, 1000 but none at '700'"),
        ("@worst", "none at 'worst': give @last or @STEP"),
        ("@", "none at ''"),
        ("-not", "-not is not a folder"),
        ("-not@best", "-not is not a folder"),
        ("/checkpoints/800/meta", "holds no checkpoint"),
    ],
)
def test_a_step_that_is_missing_lists_those_there_are(run, suffix, message):
    with pytest.raises(InputError, match=message):
        folder.step_folder(f"{run}{suffix}")


def test_there_is_no_best_step_without_a_validation(tmp_path):
    _write(tmp_path, {1: None, 2: None})
    with pytest.raises(InputError, match="steps 1, 2 but none with a validation loss"):
        folder.step_folder(f"{tmp_path}@best")


def test_a_path_may_hold_an_at_sign(tmp_path):
    workdir = tmp_path / "me@home"
    workdir.mkdir()
    _write(workdir, {1: 1.0, 2: 2.0})
    assert folder.chosen_step(workdir)[0] == 1
    assert folder.chosen_step(f"{workdir}@last")[0] == 2


def test_a_step_whose_metadata_are_damaged_is_not_the_best(tmp_path):
    _write(tmp_path, {1: 1.0, 2: 2.0})
    (tmp_path / "checkpoints" / "1" / "meta" / "metadata").write_text("{")
    assert folder.chosen_step(tmp_path)[0] == 2
    with pytest.raises(InputError, match="checkpoints/1 cannot be read"):
        folder.read(f"{tmp_path}@1")


def test_the_best_step_of_a_training_run(tmp_path):
    """As `train.checkpoint` stores it."""
    state = TrainState.create({"a": jnp.zeros(3)}, optax.sgd(0.1), ["loss"])
    with Checkpoints(tmp_path, base_config()) as checkpoints:
        for step, metrics in enumerate([{"loss": 2.0}, {"loss": 1.0}, {"loss": 3.0}, None], start=1):
            checkpoints.save(state.replace(step=jnp.asarray(step, jnp.int32)), metrics)
    assert folder.chosen_step(tmp_path) == (2, "lowest validation loss 1")
    assert folder.chosen_step(f"{tmp_path}@last")[0] == 4


def test_a_folder_in_use_is_not_written_to(tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "file").touch()
    with pytest.raises(InputError, match="exists already: remove it"):
        folder.write(tmp_path / "run", 0, {}, None, {})
