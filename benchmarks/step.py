"""Speed of a training step, next to matrix products on the same device."""

import statistics
import time
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.compile_only import few_inputs, memory_of
from hicfm_jax import config as config_lib
from hicfm_jax.errors import InputError
from hicfm_jax.train import sharding
from hicfm_jax.train.logging.matmul_rate import matmul_rate, published_peak
from hicfm_jax.train.loop import compile_train_step, create_state, state_shapes
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.tasks import check_config, create_task
from hicfm_jax.types import Batch

WARMUP = 2  # steps that are not counted


def step_config(
    model: str, task: str, input_size: tuple[int, int], batch: int, dtype: str, trainable: str
) -> ConfigDict:
    """The defaults with one micro-batch a step: windows of simulated maps, downsampled to 1/16 for heads.

    Args:
      model: a key of `presets.PRESETS`.
      task: "pretrain", or a head's task whose target is a map.
      input_size: (H, W) in bins.
      batch: samples a step.
      dtype: of the products.
      trainable: see `config.optim.trainable`.
    """
    config = config_lib.base_config()
    config.task, config.model.name, config.model.dtype = task, model, dtype
    config.model.input_size = input_size
    config.data.simulate.tile_size = max(input_size)
    config.data.simulate.stride = max(input_size)  # few windows are enough
    config.train.global_batch_size, config.train.accum_steps = batch, 1
    config.optim.trainable = trainable
    if task != "pretrain":
        config.data.thin = (1 / 16, 1 / 16)
        config.targets.map_scaling = "log1000"
    return config


def measure_step(config: ConfigDict, steps: int) -> dict[str, Any]:
    """Trains for a few steps on one batch and discards the result.

    Args:
      config: validated here.
      steps: to time, after two that are not timed.

    Returns:
      `device`, `devices`, `dtype`, `batch` (samples a step), `compile_seconds`, `step_seconds`
      (median), `steps_per_second`, `samples_per_second`, `tflops` (of all devices), `matmul_tflops`
      (likewise, the best of a measurement before and one after), `matmul_fraction` (`tflops` over
      `matmul_tflops`), `mfu` (`tflops` over the published bfloat16 peak, if that is known), and
      `peak_memory_bytes` of a device: from its allocator, on CPUs from the compiler.

    Raises:
      InputError: a config that does not fit, or no step to time.
    """
    if steps < 1:
        raise InputError(f"--steps={steps}: time at least one step.")
    check_config(config)
    mesh = sharding.create_mesh(config)
    inputs = few_inputs(config)
    task, optimizer = create_task(config, inputs.target_shapes()), create_optimizer(config)
    batch = sharding.to_devices(_repeated(inputs.first_batch(), config.train.global_batch_size), mesh)
    shapes = state_shapes(config, task, optimizer, mesh)
    step = compile_train_step(config, task, optimizer, lambda step: 1e-6, shapes, mesh)
    started = time.perf_counter()
    compiled = step.lower(shapes, batch).compile()
    compile_seconds = time.perf_counter() - started
    products = matmul_rate(config.model.dtype)
    state = create_state(config, task, optimizer, mesh, inputs)
    seconds = []
    for _ in range(WARMUP + steps):
        started = time.perf_counter()
        state = jax.block_until_ready(compiled(state, batch))
        seconds.append(time.perf_counter() - started)
    _, means = state.read_window()
    if not np.isfinite(means["loss"]):
        raise InputError("The loss is not finite: nothing was trained, so nothing was measured.")
    products = max(products, matmul_rate(config.model.dtype)) * mesh.size
    median, samples = statistics.median(seconds[WARMUP:]), config.train.global_batch_size
    flops = task.flops * samples / median
    kind = mesh.devices.flat[0].device_kind
    peak = published_peak(kind)
    return {
        "device": kind,
        "devices": mesh.size,
        "dtype": config.model.dtype,
        "batch": samples,
        "compile_seconds": compile_seconds,
        "step_seconds": median,
        "steps_per_second": 1 / median,
        "samples_per_second": samples / median,
        "tflops": flops / 1e12,
        "matmul_tflops": products / 1e12,
        "matmul_fraction": flops / products,
        **({"mfu": flops / (peak * mesh.size)} if peak else {}),
        "peak_memory_bytes": _peak_memory(mesh.devices.flat[0], compiled),
    }


def table(result: dict[str, Any]) -> str:
    """The figures of `measure_step` as text."""
    return (
        f"{result['devices']} x {result['device']}, {result['dtype']}, {result['batch']} samples a step\n"
        f"{result['step_seconds']:.3f} s a step, {result['steps_per_second']:.3g} steps/s, "
        f"{result['samples_per_second']:.1f} samples/s, "
        f"compiled in {result['compile_seconds']:.0f} s\n"
        f"{result['tflops']:.2f} TFLOP/s, {result['matmul_fraction']:.0%} of the "
        f"{result['matmul_tflops']:.2f} TFLOP/s of matrix products\n"
        f"peak memory {result['peak_memory_bytes'] / 1e9:.2f} GB"
    )


def _repeated(few: Batch, size: int) -> Batch:
    def repeat(leaf):
        return np.resize(np.asarray(leaf), (size, *leaf.shape[1:]))

    return jax.tree.map(repeat, few)


def _peak_memory(device: jax.Device, compiled: Any) -> int:
    if stats := device.memory_stats():
        return stats["peak_bytes_in_use"]
    return sum(memory_of(compiled))
