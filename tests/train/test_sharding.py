"""The same numbers however the work is spread over devices."""

import functools
import json
import pathlib
import re
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.config import base_config
from hicfm_jax.errors import InputError
from hicfm_jax.models import create_model
from hicfm_jax.train import sharding
from tests.train import small_run

RUNS = (("network", (1, 1, 1)), ("network", (2, 2, 2)), ("matrix", (1, 1, 1)), ("matrix", (-1, 1, 1)))
"""What is trained, and its layout, -1 for all devices; the matrix compiles in no time."""

PROGRAM = """
import json
import jax
from configs import pretrain_arabidopsis
from hicfm_jax.train import loop, optim, sharding
from hicfm_jax.train.tasks import create_task
from tests.train import small_run
from tests.train.faults import matrix_task
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.tiles.stream.source import MemoryTiles

tiles = MemoryTiles({{"train": small_run.make_tiles(16, 0), "val": small_run.make_tiles(1, 1)}})
for what, layout in {runs}:
    config = pretrain_arabidopsis.get_config("demo")
    config.model.name, config.model.input_size = "vit_test", (48, 48)
    config.train.global_batch_size, config.train.accum_steps = 16, 2
    config.mesh.data, config.mesh.fsdp, config.mesh.tensor = layout
    count = layout[0] * layout[1] * layout[2]
    mesh = sharding.create_mesh(config, jax.devices()[: count if count > 0 else None])
    task = create_task(config) if what == "network" else matrix_task(config)
    optimizer = optim.create_optimizer(config)
    inputs = Inputs(config, tiles)
    batches = inputs.train(0)
    state = loop.create_state(config, task, optimizer, mesh, inputs)
    step = loop.compile_train_step(config, task, optimizer, lambda step: 1e-3, state, mesh)
    losses = []
    for _ in range(3):
        state = step(state, sharding.to_devices(next(batches), mesh))
        state, means = state.read_window()
        losses.append(means["loss"])
    adam = next(part for part in state.opt_state if hasattr(part, "mu"))
    leaves = []
    for tree in (state.params, adam.mu):
        leaf = tree["layer"] if what == "matrix" else tree["encoder"]["blocks"]["block_0"]["mlp"]["fc1"]
        leaves.append(list(leaf["kernel"].addressable_shards[0].data.shape))
    print(json.dumps([losses, *leaves, mesh.size]))
"""


@pytest.mark.slow  # compiles the network twice
def test_layouts_of_eight_devices_give_the_same_losses(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=8", prepend=" ")
    monkeypatch.setenv("PYTHONPATH", str(small_run.ROOT))
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(runs=RUNS)],
        cwd=small_run.ROOT,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    results = [json.loads(line) for line in done.stdout.splitlines()]
    for (what, layout), (losses, kernel, moment, devices) in zip(RUNS, results, strict=True):
        expected, whole = results[0 if what == "network" else 2][:2]
        np.testing.assert_allclose(losses, expected, rtol=1e-5, err_msg=str(layout))
        assert kernel == moment == [whole[0] // layout[1], whole[1] // layout[2]], layout
        assert devices == (8 if -1 in layout else np.prod(layout))


@functools.cache
def vit_large():
    model = create_model("vit_large_patch16", (448, 448))
    rngs = {"params": jax.random.key(0), "mask": jax.random.key(0)}
    shapes = jax.eval_shape(lambda: model.init(rngs, jnp.zeros((1, 448, 448, 3))))["params"]
    return shapes, jax.sharding.AbstractMesh((2, 2, 2), sharding.AXES)


def listing():
    """Every parameter of ViT-L, blocks as one: name, shape, axes that split it."""
    shapes, mesh = vit_large()
    places = jax.tree.leaves(sharding.state_shardings(shapes, mesh))
    lines = []
    for (path, leaf), place in zip(jax.tree_util.tree_leaves_with_path(shapes), places, strict=True):
        name = re.sub(r"block_\d+", "block_*", sharding.parameter_name(path))
        axes = ",".join(axis or "-" for axis in place.spec) if any(place.spec) else "whole"
        lines.append(f"{name} {'x'.join(map(str, leaf.shape))} {axes}")
    return list(dict.fromkeys(lines))


@pytest.mark.slow  # traces ViT-L
def test_the_listing_of_vit_large_is_the_known_one():
    """A new parameter, or a changed rule, shows up as a line; look at it, then update the file."""
    assert listing() == (pathlib.Path(__file__).parent / "vit_large_shardings.txt").read_text().splitlines()


@pytest.mark.slow  # traces ViT-L
def test_rules_split_every_large_matrix_of_vit_large():
    shapes, mesh = vit_large()
    whole = [
        sharding.parameter_name(path)
        for path, place in jax.tree_util.tree_leaves_with_path(sharding.state_shardings(shapes, mesh))
        if not any(place.spec)
    ]
    small = ("scale", "bias", "cls_token", "mask_token")
    assert whole and all(name.endswith(small) for name in whole)


@pytest.mark.parametrize(
    ("mesh", "batch", "named"),
    [((3, 1, 1), 4, "devices"), ((1, 1, 2), 4, "devices"), ((1, 1, 1), 3, "multiple")],
)
def test_a_mesh_that_does_not_fit_is_refused(mesh, batch, named):
    config = base_config()
    config.mesh.data, config.mesh.fsdp, config.mesh.tensor = mesh
    config.train.global_batch_size, config.train.accum_steps = batch, 1
    devices = jax.devices()[:1] * (2 if named == "multiple" else 1)
    config.mesh.data = -1 if named == "multiple" else mesh[0]
    with pytest.raises(InputError, match=named):
        sharding.create_mesh(config, devices)
