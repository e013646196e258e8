"""Speed of a training step, next to matrix products on the same device."""

import resource
import statistics
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks.compile_only import few_inputs, memory_of
from benchmarks.original.turns import Side, answer, take_turns
from hicfm_jax import config as config_lib
from hicfm_jax.batch import Batch
from hicfm_jax.errors import InputError
from hicfm_jax.train import sharding
from hicfm_jax.train.logging.matmul_rate import matmul_rate, published_peak
from hicfm_jax.train.loop import compile_train_step, create_state, state_shapes
from hicfm_jax.train.optim import create_optimizer
from hicfm_jax.train.tasks import check_config, create_task

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


class Step:
    """A compiled training step of a config on one batch, with fresh parameters.

    Attributes:
      compiled, mesh, compile_seconds: the program, its devices and the time that compiling took.
      flops: of one sample, forward and backward.
    """

    def __init__(self, config: ConfigDict):
        """Raises `InputError` for a config that does not fit."""
        check_config(config)
        self.mesh = mesh = sharding.create_mesh(config)
        inputs = few_inputs(config)
        task, optimizer = create_task(config, inputs.target_shapes()), create_optimizer(config)
        self.flops = task.flops
        few = inputs.first_batch()
        self._batch = sharding.to_devices(_repeated(few, config.train.global_batch_size), mesh)
        shapes = state_shapes(config, task, optimizer, mesh)
        step = compile_train_step(config, task, optimizer, lambda step: 1e-6, shapes, mesh)
        started = time.perf_counter()
        self.compiled = step.lower(shapes, self._batch).compile()
        self.compile_seconds = time.perf_counter() - started
        self._state = create_state(config, task, optimizer, mesh, inputs)

    def __call__(self) -> float:
        """Seconds of one step."""
        started = time.perf_counter()
        self._state = jax.block_until_ready(self.compiled(self._state, self._batch))
        return time.perf_counter() - started

    def check(self) -> float:
        """The mean loss of the steps so far. Raises `InputError` if nothing was trained."""
        _, means = self._state.read_window()
        if not np.isfinite(means["loss"]):
            raise InputError("The loss is not finite: nothing was trained, so nothing was measured.")
        return means["loss"]


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
    step = Step(config)
    products = matmul_rate(config.model.dtype)
    seconds = [step() for _ in range(WARMUP + steps)]
    step.check()
    products = max(products, matmul_rate(config.model.dtype)) * step.mesh.size
    median, samples = statistics.median(seconds[WARMUP:]), config.train.global_batch_size
    flops = step.flops * samples / median
    kind = step.mesh.devices.flat[0].device_kind
    peak = published_peak(kind)
    return {
        "device": kind,
        "devices": step.mesh.size,
        "dtype": config.model.dtype,
        "batch": samples,
        "compile_seconds": step.compile_seconds,
        "step_seconds": median,
        "steps_per_second": 1 / median,
        "samples_per_second": samples / median,
        "tflops": flops / 1e12,
        "matmul_tflops": products / 1e12,
        "matmul_fraction": flops / products,
        **({"mfu": flops / (peak * step.mesh.size)} if peak else {}),
        "peak_memory_bytes": _peak_memory(step.mesh.devices.flat[0], step.compiled),
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


OURS = "ours"


def compare_steps(config: ConfigDict, rounds: int, compiled: bool = False) -> dict[str, Any]:
    """Times our step and the original's network in PyTorch in turn, each in a process of its own.

    Both run on the same kind of device, in float32.

    Args:
      config: of pretraining, in float32.
      rounds: to time, after one that is not timed.
      compiled: let `torch.compile` make PyTorch's fast variant.

    Returns:
      `batch`, `input_size`, `rounds`; in `seconds`, for "ours" and each of `torch_step.VARIANTS`,
      `[median, least, most]`; in `ratios`, for each of these variants, its time over ours, round by round,
      `[median, least, most]`; `matmul_tflops` and `peak_memory_bytes` of both libraries, by "JAX" and
      "PyTorch": on CPUs of the whole process.
    """
    from benchmarks.original.torch_step import VARIANTS

    facts = (config.model.name, tuple(config.model.input_size), config.train.global_batch_size)
    platform = "cpu" if jax.default_backend() == "cpu" else "cuda"
    sides = {
        "JAX": Side(_run_ours, (config.to_dict(),), [OURS]),
        "PyTorch": Side(_run_torch, (*facts, platform, compiled), list(VARIANTS)),
    }
    seconds, figures = take_turns(sides, rounds)
    ours = np.array(seconds[OURS])
    return {
        "batch": config.train.global_batch_size,
        "input_size": list(config.model.input_size),
        "rounds": rounds,
        "seconds": {name: spread(times) for name, times in seconds.items()},
        "ratios": {name: spread(np.array(seconds[name]) / ours) for name in VARIANTS},
        "matmul_tflops": {library: rate / 1e12 for library, (rate, _) in figures.items()},
        "peak_memory_bytes": {library: peak for library, (_, peak) in figures.items()},
    }


def comparison_table(result: dict[str, Any]) -> str:
    """The figures of `compare_steps` as text."""
    size = " x ".join(map(str, result["input_size"]))
    lines = [
        f"{result['batch']} windows of {size}, float32, median of {result['rounds']} rounds (least to most)",
        f"{'':22}{'s a step':>24}{'times ours':>24}",
    ]
    lines += comparison_rows(result)
    for library, rate in result["matmul_tflops"].items():
        peak = result["peak_memory_bytes"][library] / 1e9
        lines.append(f"{library}: matrix products at {rate:.3f} TFLOP/s, peak memory {peak:.2f} GB")
    return "\n".join(lines)


def comparison_rows(result: dict[str, Any], digits: int = 2) -> list[str]:
    """A line for each of `seconds`, with its place in `ratios`; columns of 22, 24 and 24 characters."""
    lines = []
    for name, spread_of_times in result["seconds"].items():
        times, ratio = (
            "{:.{digits}f} ({:.{digits}f} to {:.{digits}f})".format(*values, digits=kept) if values else ""
            for values, kept in ((spread_of_times, digits), (result["ratios"].get(name), 2))
        )
        lines.append(f"{name:22}{times:>24}{ratio:>24}")
    return lines


def _run_ours(end: Connection, settings: dict[str, Any]) -> None:
    from hicfm_jax.train.processes import keep_freed_memory

    keep_freed_memory()  # as scripts/train.py does
    step = Step(ConfigDict(settings))
    device = step.mesh.devices.flat[0]

    def figures() -> tuple[float, int]:
        step.check()
        peak = used_memory(device.memory_stats())
        return matmul_rate("float32"), peak

    answer(end, lambda _: step(), figures)


def _run_torch(end: Connection, *arguments: Any) -> None:
    import torch

    from benchmarks.original import torch_step

    device = arguments[3]
    step = torch_step.TorchStep(*arguments)

    def figures() -> tuple[float, int]:
        stats = {"peak_bytes_in_use": torch.cuda.max_memory_allocated()} if device == "cuda" else None
        peak = used_memory(stats)
        return torch_step.matmul_rate(device), peak

    answer(end, step, figures)


def used_memory(of_device: dict[str, int] | None) -> int:
    """Peak bytes: of the device's allocator, on CPUs of this process."""
    if of_device:
        return of_device["peak_bytes_in_use"]
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def spread(values: Sequence[float]) -> list[float]:
    """Median, least and most."""
    return [float(statistics.median(values)), float(min(values)), float(max(values))]


def _repeated(few: Batch, size: int) -> Batch:
    def repeat(leaf):
        return np.resize(np.asarray(leaf), (size, *leaf.shape[1:]))

    return jax.tree.map(repeat, few)


def _peak_memory(device: jax.Device, compiled: Any) -> int:
    if stats := device.memory_stats():
        return stats["peak_bytes_in_use"]
    return sum(memory_of(compiled))
