"""A run that is killed and started again ends as if nothing had happened, to the last bit."""

import signal
import time

import jax
import numpy as np
import orbax.checkpoint as ocp
import pytest

from hicfm_jax.contacts import simulate
from hicfm_jax.tiles.builder import HeldOut, build_tiles
from tests.train import small_run


def _final_params(workdir):
    folder = max((workdir / "checkpoints").iterdir(), key=lambda p: int(p.name) if p.name.isdigit() else -1)
    with ocp.StandardCheckpointer() as checkpointer:
        tree = checkpointer.restore(folder / "params")
    return folder.name, jax.tree.map(np.asarray, tree)


def _finish(arguments):
    process = small_run.start(arguments)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    return out


def _wait_for_step(process, workdir, step):
    while process.poll() is None:
        records = small_run.metrics(workdir)
        if records and records[-1]["step"] >= step:
            return
        time.sleep(0.02)


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """A dataset on disk, as users have it: the stream and its threads are killed too."""
    folder = tmp_path_factory.mktemp("survival") / "tiles"
    maps = {"assay": simulate(contacts=1e6, resolution=200_000, seed=0)}
    build_tiles(maps, folder, tile_size=64, stride=48, held_out=HeldOut(val_chromosomes=["Chr4"]))
    return folder


def test_three_kills_and_a_sigterm_leave_no_trace(tiles, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    # 4 steps an epoch; a validation and a checkpoint after each, none in between.
    epochs = (
        "--config.train.total_steps=40",
        "--config.log.checkpoint_every_steps=0",
        "--config.log.eval_every_epochs=1",
    )
    out = _finish(small_run.flags(tiles, straight, *epochs))
    assert "Finished at step 40" in out
    rng = np.random.default_rng()
    # A moment: a logged step to wait for, then a random pause. -1 kills before anything is logged.
    for step in (-1, 3, 15):
        process = small_run.start(small_run.flags(tiles, broken, *epochs))
        if step >= 0:
            _wait_for_step(process, broken, step)
        time.sleep(rng.uniform(0, 3.0 if step < 0 else 0.3))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    process = small_run.start(small_run.flags(tiles, broken, *epochs))
    printed = [process.stdout.readline()]
    while printed[-1] and not printed[-1].startswith("step "):
        printed.append(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    # "Finished" if the last kill came after the last step.
    assert any(word in "".join(printed) + out for word in ("Stopped and saved", "Finished"))
    _finish(small_run.flags(tiles, broken, *epochs))

    assert small_run.metrics(broken) == small_run.metrics(straight)
    (name_a, a), (name_b, b) = _final_params(straight), _final_params(broken)
    assert name_a == name_b == "40"
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_array_equal(x, y)
