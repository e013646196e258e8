"""Memory of a training step, compiled for devices that need not exist."""

import time
from typing import Any

import jax
import numpy as np
from jax.sharding import NamedSharding
from ml_collections import ConfigDict

from hicfm_jax.batch import Batch
from hicfm_jax.contacts.simulation.tair10 import CHROMSIZES
from hicfm_jax.train import sharding
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.loop import compile_train_step, state_shapes
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.step import TrainState
from hicfm_jax.train.tasks import check_config, create_task


def stand_in(devices: int) -> None:
    """Gives this process so many devices, all CPUs; call it before JAX looks for devices."""
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", devices)


def compile_step(config: ConfigDict) -> dict[str, Any]:
    """Compiles the training step of a config for all devices of this process, without training.

    Nothing of the model's size is allocated. The figures are those of this machine's compiler; other
    kinds of devices may lay out temporary arrays differently.

    Args:
      config: validated here; without `data.tiles` a small simulated map gives the batch's fields.

    Returns:
      `devices`, `mesh` (data, fsdp, tensor), `seconds` of compiling, and bytes on each device:
      `state` (parameters, optimizer, counters), `batch`, `temporaries` (activations, gradients, gathered
      parameters), `total`.

    Raises:
      InputError: a config, mesh or tiles that do not fit.
    """
    step, state, batch, mesh = trace_step(config)
    started = time.perf_counter()
    arguments, temporaries = memory_of(step.lower().compile())
    return {
        "devices": mesh.size,
        "mesh": list(mesh.shape.values()),
        "seconds": time.perf_counter() - started,
        "state": _bytes(state),
        "batch": _bytes(batch),
        "temporaries": temporaries,
        "total": arguments + temporaries,
    }


def memory_of(compiled: jax.stages.Compiled) -> tuple[int, int]:
    """Bytes on each device of a compiled step's arguments, and of what it needs besides."""
    memory = compiled.memory_analysis()
    # The new state takes the place of the old one.
    beyond = memory.output_size_in_bytes - memory.alias_size_in_bytes
    return memory.argument_size_in_bytes, memory.temp_size_in_bytes + beyond


def trace_step(config: ConfigDict) -> tuple[jax.stages.Traced, TrainState, Batch, jax.sharding.Mesh]:
    """The traced training step of a config, the shapes of its state and batch, and its mesh.

    Raises:
      InputError: as `compile_step`.
    """
    check_config(config)
    mesh = sharding.create_mesh(config)
    inputs = few_inputs(config)
    task, optimizer = create_task(config, inputs.target_shapes()), create_optimizer(config)
    state = state_shapes(config, task, optimizer, mesh)
    batch = _batch_shapes(inputs.first_batch(), config.train.global_batch_size, mesh)
    # No step is taken: any learning rate will do.
    step = compile_train_step(config, task, optimizer, lambda step: 0.0, state, mesh)
    return step.trace(state, batch), state, batch, mesh


def table(result: dict[str, Any]) -> str:
    """The figures of `compile_step` as text."""
    mesh = " x ".join(map(str, result["mesh"]))
    lines = [f"{result['devices']} devices, {mesh} (data x fsdp x tensor); GB on each:"]
    lines += [f"{name:12} {result[name] / 1e9:8.3f}" for name in ("state", "batch", "temporaries", "total")]
    return "\n".join([*lines, f"compiled in {result['seconds']:.0f} s"])


def few_inputs(config: ConfigDict) -> Inputs:
    """Inputs whose first batch has two examples, with the fields that the config's batches have."""
    few = config.copy_and_resolve_references()
    few.train.global_batch_size, few.train.accum_steps = 2, 1
    simulate = few.data.simulate
    simulate.train_assays = simulate.val_assays = 1
    simulate.contacts = 1_000_000
    # The counts do not matter: a coarse map, as large as a tile, is simulated quickly.
    simulate.resolution = max(simulate.resolution, min(CHROMSIZES.values()) // simulate.tile_size)
    return Inputs.create(few)


def _batch_shapes(few: Batch, size: int, mesh: jax.sharding.Mesh) -> Batch:
    place = NamedSharding(mesh, sharding.BATCH_SPEC)
    return jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((size, *leaf.shape[1:]), leaf.dtype, sharding=place), few
    )


def _bytes(shapes: Any) -> int:
    """Bytes that one device holds of sharded arrays."""
    return sum(
        int(np.prod(leaf.sharding.shard_shape(leaf.shape))) * leaf.dtype.itemsize
        for leaf in jax.tree.leaves(shapes)
    )
