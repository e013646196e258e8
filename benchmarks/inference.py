"""Speed of each task of inference on one chromosome, and of mean shift."""

import importlib
import pathlib
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
import scipy.sparse
from flax.traverse_util import unflatten_dict

from benchmarks.step import spread
from benchmarks.synthetic import synthetic_map
from hicfm_jax.checkpoints.parameters import fresh_parameters, parameter_shapes
from hicfm_jax.checkpoints.weights import PUBLISHED_SCALINGS
from hicfm_jax.contacts import ContactMap, write_cells
from hicfm_jax.errors import InputError
from hicfm_jax.infer import Network, reconstruct, single_cell
from hicfm_jax.infer.scan import on_devices, scan
from hicfm_jax.infer.scan_plan import InferenceTask, make_plan
from hicfm_jax.infer.tasks import INFERENCE_TASKS
from hicfm_jax.infer.tasks.reconstruction import MaskedModel
from hicfm_jax.models.preprocess import target_scaling
from hicfm_jax.models.presets import create_model
from hicfm_jax.progress import NullProgress

DENSITY = 0.5  # of the random map

Run = Callable[[ContactMap, Network, pathlib.Path, int, NullProgress], None]


class Stopwatch(NullProgress):
    """Windows of a scan, and the seconds from its start to its last batch."""

    def __init__(self):
        self.windows, self.seconds = 0, 0.0

    def start(self, total: int, unit: str = "windows") -> None:
        self._begun = time.perf_counter()

    def advance(self, units: int, where: str = "") -> None:
        self.windows += units
        self.seconds = time.perf_counter() - self._begun

    def say(self, line: str) -> None:
        """Drops the messages."""


def measure_inference(
    tasks: Sequence[str] = (),
    models: Sequence[str] = ("vit_tiny_patch16",),
    *,
    bins: int = 1000,
    rounds: int = 5,
    window: tuple[int, int] | None = None,
    batch_size: int = 8,
    dtype: str = "float32",
) -> dict[str, Any]:
    """Times tasks with untrained networks on one chromosome of a random map.

    After a first round, which compiles, the tasks take turns in each round, so that other work on the machine
    slows all of them alike. Outputs are written to a temporary folder.

    Args:
      tasks: keys of `INFERENCE_TASKS`; none: all.
      models: keys of `presets.PRESETS`.
      bins: of the chromosome.
      rounds: to time.
      window: (H, W) in bins; None: the published one of each task.
      batch_size: windows at once, over all devices.
      dtype: of the networks' products.

    Returns:
      `device`, `devices`, `bins`, `rounds`, `batch_size`, and in `runs`, for each task and model: `task`,
      `model`, `window`, `windows`, `first_seconds` (compiling included), medians over the rounds with the
      least and the most as `[median, least, most]`: `seconds_per_1000_windows` (cutting, network and merge)
      and `seconds_per_chromosome` (writing included, without weights). A run that this map does not fit has
      `skipped`, the reason, instead.

    Raises:
      InputError: an unknown task or model, or no round to time.
    """
    if rounds < 1:
        raise InputError(f"rounds is {rounds}: time at least one.")
    for task in tasks:
        if task not in INFERENCE_TASKS:
            raise InputError(f"There is no task {task!r}: take one of {', '.join(INFERENCE_TASKS)}.")
    contact_map = synthetic_map(DENSITY, bins)
    runs = [{"task": task, "model": model} for model in models for task in tasks or INFERENCE_TASKS]
    networks = [untrained(INFERENCE_TASKS[run["task"]], run["model"], window, dtype) for run in runs]
    times: list[list[tuple[float, float]]] = [[] for _ in runs]
    for _ in range(1 + rounds):
        for run, network, seconds in zip(runs, networks, times, strict=True):
            if "skipped" in run:
                continue
            try:
                watch, whole = _time(INFERENCE_TASKS[run["task"]], contact_map, network, batch_size)
            except InputError as error:
                run["skipped"] = str(error)
                continue
            run["window"], run["windows"] = list(network.window), watch.windows
            seconds.append((1000 * watch.seconds / watch.windows, whole))
    for run, ((_, first), *rest) in ((run, times) for run, times in zip(runs, times, strict=True) if times):
        run["first_seconds"] = first
        per_window, whole = (spread(column) for column in zip(*rest, strict=True))
        run["seconds_per_1000_windows"], run["seconds_per_chromosome"] = per_window, whole
    return {
        "device": jax.devices()[0].device_kind,
        "devices": jax.local_device_count(),
        "bins": bins,
        "rounds": rounds,
        "batch_size": batch_size,
        "runs": runs,
    }


def measure_mean_shift(bins: int = 10_000, loops: int = 2_000, rounds: int = 5) -> dict[str, Any]:
    """Times mean shift on a map of loop scores.

    Returns:
      `bins`, `pixels` above the threshold, `peaks`, and for each rule `seconds_RULE`, as
      `[median, least, most]`; or `skipped`, the reason.
    """
    try:
        mean_shift = importlib.import_module("hicfm_jax.infer.mean_shift")
    except ModuleNotFoundError:
        return {"bins": bins, "skipped": "this version has no mean shift"}
    threshold, scores = 0.5, loop_scores(bins, loops)
    result = {"bins": bins, "pixels": int((scores.data > threshold).sum())}
    seconds: dict[str, list[float]] = {"average": [], "original": []}
    for _ in range(rounds):
        for rule, times in seconds.items():
            begun = time.perf_counter()
            peaks = mean_shift.find_peaks(scores, threshold, rule)
            times.append(time.perf_counter() - begun)
            result[f"peaks_{rule}"] = len(peaks)
    return result | {f"seconds_{rule}": spread(times) for rule, times in seconds.items()}


def loop_scores(bins: int, loops: int) -> scipy.sparse.csr_array:
    """Upper triangle of scores in 0..1: round peaks, most of them within 200 bins of the diagonal."""
    rng = np.random.default_rng(0)
    row = rng.integers(10, bins - 30, loops)
    col = np.minimum(row + 10 + rng.exponential(60, loops).astype(int), bins - 10)
    offsets = np.stack(np.meshgrid(np.arange(-3, 4), np.arange(-3, 4), indexing="ij"), -1).reshape(-1, 2)
    height = rng.uniform(0.6, 1, (loops, 1)) * np.exp(-(offsets**2).sum(axis=1) / 6)
    rows, cols = ((place[:, None] + offsets[:, axis]).ravel() for axis, place in enumerate((row, col)))
    scores = scipy.sparse.coo_array((height.ravel(), (rows, cols)), (bins, bins)).tocsr()
    scores.data = np.minimum(scores.data, 1.0)  # where peaks overlap
    return scores


def table(result: dict[str, Any], mean_shift: dict[str, Any] | None = None) -> str:
    """Both results as text."""
    titles = "s per 1,000 windows", "s a chromosome"
    lines = [
        f"{result['devices']} x {result['device']}, {result['bins']} bins, batches of "
        f"{result['batch_size']}, untrained networks, median of {result['rounds']} rounds (least to most)",
        f"{'task':16}{'model':18}{'window':>10}{'windows':>9}{titles[0]:>26}{titles[1]:>26}",
    ]
    for run in result["runs"]:
        if "skipped" in run:
            lines.append(f"{run['task']:16}{run['model']:18}skipped: {run['skipped']}")
            continue
        size = " x ".join(map(str, run["window"]))
        lines.append(
            f"{run['task']:16}{run['model']:18}{size:>10}{run['windows']:9,}"
            f"{_shown(run['seconds_per_1000_windows']):>26}{_shown(run['seconds_per_chromosome']):>26}"
        )
    if mean_shift and "skipped" in mean_shift:
        lines.append(f"mean shift skipped: {mean_shift['skipped']}")
    elif mean_shift:
        parts = [
            f"{_shown(seconds)} s ({name.removeprefix('seconds_')})"
            for name, seconds in mean_shift.items()
            if name.startswith("seconds_")
        ]
        what = f"mean shift of {mean_shift['pixels']:,} pixels on {mean_shift['bins']:,} bins"
        lines.append(f"{what}: {', '.join(parts)}")
    return "\n".join(lines)


def untrained(
    task: InferenceTask, model: str, window: tuple[int, int] | None, dtype: str = "float32"
) -> Network:
    """An untrained network for a task, on the devices."""
    window, masked = tuple(window or task.default_window or (224, 224)), task.name == "reconstruction"
    head = "pretrain" if masked else task.head[0]
    shapes = parameter_shapes(model, window, head)
    network = create_model(model, window, head, dtype=dtype)
    return on_devices(
        Network(
            model=MaskedModel(network, window) if masked else network,
            params=unflatten_dict(fresh_parameters(model, window, head, list(shapes)), sep="/"),
            scaling=target_scaling(PUBLISHED_SCALINGS.get(head, "none")),
            published=True,
        )
    )


def _time(
    task: InferenceTask, contact_map: ContactMap, network: Network, batch_size: int
) -> tuple[Stopwatch, float]:
    watch = Stopwatch()
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter()
        run = _RUNS.get(task.name, _scan_and_write(task))
        run(contact_map, network, pathlib.Path(folder), batch_size, watch)
        return watch, time.perf_counter() - begun


def _scan_and_write(task: InferenceTask) -> Run:
    def run(contact_map, network, folder, batch_size, progress):
        suffix = task.outputs[0] if task.outputs else ""
        # Balancing takes longer than the rest, and is not inference.
        options = {option.name: False for option in task.options if option.name == "balance"}
        plan = make_plan(task, contact_map, network, **options)
        found = scan(contact_map, network, plan, batch_size, progress)
        task.write(folder / f"output{suffix}", suffix, found, contact_map, network, plan, progress)

    return run


def _single_cell(contact_map, network, folder, batch_size, progress):
    dense = single_cell(contact_map, network, batch_size=batch_size, progress=progress)
    write_cells([("cell", dense)], folder / "output.scool")


def _reconstruct(contact_map, network, folder, batch_size, progress):
    (chrom,) = contact_map.chromsizes
    reconstruct(contact_map, network, chrom, batch_size=batch_size, progress=progress)


_RUNS: dict[str, Run] = {"single_cell": _single_cell, "reconstruction": _reconstruct}


def _shown(spread: Sequence[float]) -> str:
    median, least, most = spread
    return f"{median:.3g} ({least:.3g} to {most:.3g})"
