"""What makes a step fast on a GPU: each change alone, and those that help together."""

import dataclasses
import json
import multiprocessing
import os
import pathlib
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any

import jax
from ml_collections import ConfigDict

from benchmarks import gpu_levers, roofline
from benchmarks.inference import measure_inference
from benchmarks.step import WARMUP, Step, spread, step_config, used_memory
from configs import enhance_arabidopsis
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file
from hicfm_jax.train.logging.matmul_rate import matmul_rate

BASE = "pretraining"
TOGETHER = "together"

_RESERVE = 1.5  # times the longest case: left for the last one
_LEAST = 60.0  # seconds for a case whose length is not known


@dataclasses.dataclass(frozen=True)
class Case:
    """One measurement, in a process of its own.

    Attributes:
      name: in the tables.
      work: what is timed: a key of `WORKS`, or "inference".
      changes: fields of its config.
      levers: keys of `gpu_levers.LEVERS`.
      flags: of XLA, added to XLA_FLAGS.
    """

    name: str
    work: str = BASE
    changes: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    levers: tuple[str, ...] = ()
    flags: str = ""


def pretraining(model: str, side: int, batch: int) -> ConfigDict:
    """The original's objective on windows of 448."""
    return step_config(model, "pretrain", (side, side), batch, "bfloat16", "all")


def finetuning(model: str, side: int, batch: int) -> ConfigDict:
    """Deep maps from windows of 224."""
    return step_config(model, "resolution", (side // 2, side // 2), batch, "bfloat16", "all")


def enhancement(model: str, side: int, batch: int) -> ConfigDict:
    """The network of configs/enhance_arabidopsis.py, whose convolutions correct a map."""
    config = enhance_arabidopsis.get_config()
    config.model.name, config.model.input_size = model, (side // 2, side // 2)
    config.data.simulate.tile_size = config.data.simulate.stride = side
    config.train.global_batch_size = batch // 8
    return config


WORKS = {BASE: pretraining, "fine-tuning": finetuning, "enhancement": enhancement}

_FLAGS = {
    "latency hiding": "--xla_gpu_enable_latency_hiding_scheduler=true",
    "no command buffers": "--xla_gpu_enable_command_buffer=",
    "no Triton products": "--xla_gpu_enable_triton_gemm=false",
    "merged products": "--xla_gpu_dot_merger_threshold_mb=256",
    "more autotuning": "--xla_gpu_exhaustive_tiling_search=true",
    "cuDNN LayerNorm": "--xla_gpu_enable_cudnn_layer_norm=true",
}

CASES = (
    Case(BASE),
    Case("fine-tuning, all layers", "fine-tuning"),
    Case("fine-tuning, encoder frozen", "fine-tuning", {"optim.trainable": "decoder"}),
    Case("enhancement", "enhancement"),
    Case("inference", "inference", {"dtype": "float32", "batch_size": 64}),
    Case("inference in bfloat16", "inference", {"dtype": "bfloat16", "batch_size": 64}),
    *(Case(lever, levers=(lever,)) for lever in gpu_levers.LEVERS),
    Case("blocks unrolled", changes={"model.scan": False}),
    Case("half the batch", changes={"train.global_batch_size": 0.5}),
    Case("twice the batch", changes={"train.global_batch_size": 2}),
    Case("products kept only", changes={"model.remat": "products"}),
    Case("the same, twice the batch", changes={"model.remat": "products", "train.global_batch_size": 2}),
    *(Case(name, flags=flags) for name, flags in _FLAGS.items()),
    Case("fine-tuning, batch doubled", "fine-tuning", {"train.global_batch_size": 2}),
    Case("enhancement, batch of 128", "enhancement", {"train.global_batch_size": 8}),
    Case("pretraining in float32", changes={"model.dtype": "float32"}),
)
"""In the order of their worth; `train.global_batch_size` is a factor. `TOGETHER` is measured last."""

DRY = (
    *(BASE, "fine-tuning, encoder frozen", "enhancement", "inference in bfloat16"),
    *("bfloat16 stream", "latency hiding"),
)


@dataclasses.dataclass(frozen=True)
class Size:
    """Sizes of all cases: preset, side of a pretraining window in bins, batch, steps, bins of inference."""

    model: str = "vit_large_patch16"
    side: int = 448
    batch: int = 128
    steps: int = 12
    bins: int = 2000


TOY = Size("vit_test", 64, 8, 2, 100)


def measure(
    size: Size,
    seconds: float,
    folder: str | os.PathLike,
    names: Sequence[str] = (),
    data: str = "",
) -> dict[str, Any]:
    """Times the cases one after another, until the time is over, and writes the results after each.

    A case that crashes or runs out of memory is recorded with its reason.

    Args:
      size: of the networks and batches.
      seconds: for all cases.
      folder: gets `gpu_ablation.json` and `gpu_ablation.md`; it exists.
      names: of the cases to measure; none: all.
      data: `.npz` of tiles, see `MemoryTiles.save`; empty: simulated maps.

    Returns:
      `size`, `rates` (`flops_per_second`, `bytes_per_second`), `cases`: name -> `samples_per_second` and
      `step_ms` as `[median, least, most]`, `matmul_fraction`, `peak_memory_bytes`, `compile_seconds`,
      `loss` after the same steps, `kinds`: milliseconds by kind of kernel; or `error`. `left_out`: names.

    Raises:
      InputError: an unknown case.
    """
    known = [case.name for case in CASES] + [TOGETHER]
    if unknown := [name for name in names if name not in known]:
        raise InputError(f"There is no case {unknown[0]!r}: take one of {', '.join(known)}.")
    jax.config.update("jax_platforms", "cpu")  # of this process, which would take the memory of the GPU
    end, longest = time.monotonic() + seconds, _LEAST
    result: dict[str, Any] = {"size": dataclasses.asdict(size), "cases": {}, "left_out": []}
    for case in _with_together([case for case in CASES if not names or case.name in names], names, result):
        begun = time.monotonic()
        if end - begun < (longest if case.name == TOGETHER else (1 + _RESERVE) * longest):
            result["left_out"].append(case.name)
            continue
        found = _in_process(case, size, data, end - begun)
        if case.name == BASE and "rates" in found:
            result["rates"] = found.pop("rates")
        result["cases"][case.name] = found
        longest = max(0.0 if longest == _LEAST else longest, time.monotonic() - begun)
        for name, text in (("json", json.dumps(result, indent=1)), ("md", table(result))):
            with atomic_file(pathlib.Path(folder, f"gpu_ablation.{name}")) as path:
                path.write_text(text + "\n")
        print(_row(case.name, found), flush=True)
    return result


def _with_together(cases: Sequence[Case], names: Sequence[str], result: Mapping[str, Any]) -> Iterator[Case]:
    yield from cases
    if names and TOGETHER not in names:
        return
    helpful = [case for case in cases if case.work == BASE and _helps(case.name, result["cases"])]
    changes: dict[str, Any] = {}
    for case in helpful:
        changes |= case.changes
    levers = tuple(lever for case in helpful for lever in case.levers)
    yield Case(TOGETHER, BASE, changes, levers, " ".join(case.flags for case in helpful if case.flags))


def _helps(name: str, cases: Mapping[str, Any]) -> bool:
    """Whether the slowest step of a case is faster than the fastest of the base."""
    found, base = cases.get(name, {}), cases.get(BASE, {})
    if name == BASE or "error" in found or not found or "error" in base:
        return False
    return found["samples_per_second"][1] > base["samples_per_second"][2]


def _in_process(case: Case, size: Size, data: str, limit: float) -> dict[str, Any]:
    """The result of a case from a new process, which has its compiler settings and its memory."""
    context = multiprocessing.get_context("spawn")
    end, theirs = context.Pipe()
    before = os.environ.get("XLA_FLAGS")
    os.environ["XLA_FLAGS"] = " ".join(filter(None, [before, case.flags]))
    try:
        worker = context.Process(target=_run, args=(theirs, case, size, data), daemon=True)
        worker.start()
    finally:
        os.environ.pop("XLA_FLAGS") if before is None else os.environ.update(XLA_FLAGS=before)
    theirs.close()
    try:
        return end.recv() if end.poll(limit) else {"error": f"not done after {limit:.0f} s"}
    except EOFError:
        worker.join()
        return {"error": f"the process ended with status {worker.exitcode}"}
    finally:
        worker.kill()
        worker.join()


def _run(end: Connection, case: Case, size: Size, data: str) -> None:
    os.environ.setdefault("XLA_PYTHON_CLIENT_MEM_FRACTION", ".95")  # a batch of 128 takes 63 GB
    try:
        end.send(_inference(case, size) if case.work == "inference" else _training(case, size, data))
    except Exception as error:  # of any library; the other cases go on
        end.send({"error": f"{type(error).__name__}: {str(error)[:300].partition(chr(10))[0]}"})


def _training(case: Case, size: Size, data: str) -> dict[str, Any]:
    for lever in case.levers:
        gpu_levers.LEVERS[lever]()
    config = WORKS[case.work](size.model, size.side, size.batch)
    config.data.tiles, config.model.scan = data, True
    for field, value in case.changes.items():
        if field == "train.global_batch_size":
            value = int(value * config.train.global_batch_size)
        config.update_from_flattened_dict({field: value})
    step = Step(config)
    products = matmul_rate("bfloat16")
    seconds = [step() for _ in range(WARMUP + size.steps)][WARMUP:]
    loss, batch = step.check(), config.train.global_batch_size
    products = max(products, matmul_rate("bfloat16"))
    found = _figures(seconds, batch, step.flops, products)
    found |= {
        "peak_memory_bytes": used_memory(step.mesh.devices.flat[0].memory_stats()),
        "compile_seconds": step.compile_seconds,
        "loss": loss,
        "kinds": gpu_levers.kernel_kinds(step.compiled, step),
        "tensorflow": "tensorflow" in sys.modules,  # which this has to do without
    }
    if case.name == BASE:
        found["rates"] = {"flops_per_second": products, "bytes_per_second": roofline.memory_rate()}
    return found


def _inference(case: Case, size: Size) -> dict[str, Any]:
    """A whole chromosome, cutting and merging included."""
    side = size.side // 2
    settings = dict(bins=size.bins, rounds=2, window=(side, side), **case.changes)
    (run,) = measure_inference(["resolution"], [size.model], **settings)["runs"]
    median, least, most = run["seconds_per_1000_windows"]
    windows = [1000 / median, 1000 / most, 1000 / least]
    return {"samples_per_second": windows, "compile_seconds": run["first_seconds"]}


def _figures(seconds: Sequence[float], batch: int, flops: int, products: float) -> dict[str, Any]:
    found = {
        "batch": batch,
        "step_ms": spread([1e3 * each for each in seconds]),
        "samples_per_second": spread([batch / each for each in seconds]),
        "matmul_tflops": products / 1e12,
    }
    return found | {"matmul_fraction": found["samples_per_second"][0] * flops / products}


_HEAD = (
    "case",
    "samples/s (least to most)",
    "ms a step",
    "of the products' rate",
    "GB",
    "compiled in",
    "loss",
)


def table(result: Mapping[str, Any]) -> str:
    """The results as Markdown: figures, milliseconds by kind of kernel, and the least that is possible."""
    cases, size = result["cases"], Size(**result["size"])
    lines = [f"| {' | '.join(_HEAD)} |", "| --- " * len(_HEAD) + "|"]
    lines += [_row(name, found) for name, found in cases.items()]
    if result["left_out"]:
        lines += ["", f"Not measured for lack of time: {', '.join(result['left_out'])}."]
    profiled = {name: found["kinds"] for name, found in cases.items() if found.get("kinds")}
    if profiled:
        kinds = dict.fromkeys(kind for found in profiled.values() for kind in found)
        lines += ["", f"| ms of kernels a step | {' | '.join(kinds)} |", "| --- " * (1 + len(kinds)) + "|"]
        for name, found in profiled.items():
            lines.append(f"| {name} | {' | '.join(f'{found.get(kind, 0):.2f}' for kind in kinds)} |")
    if rates := result.get("rates"):
        on_paper = roofline.pretraining_kinds(size.model, (size.side, size.side), size.batch)
        flops, moved = rates["flops_per_second"], rates["bytes_per_second"]
        lines += ["", f"Pretraining on paper, at {flops / 1e12:.3g} TFLOP/s and {moved / 1e12:.3g} TB/s:", ""]
        lines.append(roofline.table(on_paper, size.batch, flops, moved))
    return "\n".join(lines)


def _row(name: str, found: Mapping[str, Any]) -> str:
    if "error" in found:
        return f"| {name} | {found['error']} " + "| " * (len(_HEAD) - 2) + "|"
    cells = [name, "{:,.1f} ({:,.1f} to {:,.1f})".format(*found["samples_per_second"])]
    cells.append("{:.1f}".format(found["step_ms"][0]) if "step_ms" in found else "")
    cells.append(f"{found['matmul_fraction']:.0%}" if "matmul_fraction" in found else "")
    cells.append(f"{found['peak_memory_bytes'] / 1e9:.1f}" if "peak_memory_bytes" in found else "")
    cells.append(f"{found['compile_seconds']:.0f} s")
    cells.append(f"{found['loss']:.5f}" if "loss" in found else "")
    return f"| {' | '.join(cells)} |"
