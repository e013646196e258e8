"""Time and memory of tiling, inference, stream and step against their work."""

import math
import multiprocessing
import os
import pathlib
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.connection import Connection
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.errors import InputError

FACTORS = (1, 3, 10, 30, 100)

_REACH = 224  # bins from the diagonal to the farthest contact
_ROUNDS = 5


def tiling(bins: int, side: int) -> float:
    """Windows along the diagonal of a map on disk, cut and stored."""
    from hicfm_jax.tiles import dataset
    from hicfm_jax.tiles.build import builder
    from hicfm_jax.tiles.build.map_file import map_files

    dataset.import_tfds()  # not part of the time
    with tempfile.TemporaryDirectory() as folder:
        write_contacts(banded_map(bins, side), f"{folder}/map.cool")
        sources, begun = map_files([f"{folder}/map.cool"], 1000), time.perf_counter()
        builder.build_tiles(
            sources, f"{folder}/tiles", tile_size=side, stride=side // 8, mode="diagonal", min_density=0.0
        )
        return time.perf_counter() - begun


def inference(bins: int, side: int) -> float:
    """A deep map near the diagonal, by an untrained network."""
    from benchmarks.inference import untrained
    from hicfm_jax.infer import enhance
    from hicfm_jax.infer.tasks import INFERENCE_TASKS

    network = untrained(INFERENCE_TASKS["resolution"], _preset(side), (side, side))
    enhance(banded_map(side, side), network)  # compiles
    contact_map, begun = banded_map(bins, side), time.perf_counter()
    enhance(contact_map, network, max_distance=1000 * side)
    return time.perf_counter() - begun


def stream(batch: int, side: int) -> float:
    """A training batch of stored tiles, from a file in the operating system's memory."""
    from benchmarks.synthetic import tiles_folder
    from hicfm_jax.tiles.stream.source import DiskTiles

    with tiles_folder("synthetic:0.12", (side, side)) as folder:
        batches = DiskTiles(folder).train_stream(batch_size=batch, window=(side, side), seed=0)
        for _ in range(4):  # some are prepared already
            next(batches)
        number, begun = max(20, 300 // batch), time.perf_counter()
        for _ in range(number):
            next(batches)
        return (time.perf_counter() - begun) / number


def step(batch: int, side: int) -> float:
    """A step of pretraining, without compiling."""
    from benchmarks.step import WARMUP, Step, step_config

    trained = Step(step_config(_preset(side), "pretrain", (side, side), batch, "float32", "all"))
    return statistics.median([trained() for _ in range(WARMUP + _ROUNDS)][WARMUP:])


class Work(NamedTuple):
    """Something that is timed: `run(amount, side)` -> seconds; amounts are multiples of `least` units."""

    run: Callable[[int, int], float]
    least: int
    unit: str


WORKS = {
    "tiling": Work(tiling, 500, "bins"),
    "inference": Work(inference, 500, "bins"),
    "stream": Work(stream, 1, "windows a batch"),
    "step": Work(step, 1, "windows a batch"),
}


def measure_growth(factors: Sequence[int] = FACTORS, side: int = 224) -> dict[str, Any]:
    """Times each of `WORKS` for several amounts of work, each in a process of its own.

    Args:
      factors: amounts, as multiples of the least.
      side: of the windows in bins; 32 takes a network for tests.

    Returns:
      By name: `unit`, `amounts`, `seconds`, `peak_mb` of the process, and `exponent`: time grows as the work
      to this power between the two largest amounts (1: a straight line).
    """
    found = {}
    for name, work in WORKS.items():
        amounts = [factor * work.least for factor in factors]
        seconds, peaks = zip(*(_in_process(name, amount, side) for amount in amounts), strict=True)
        growth = math.log(seconds[-1] / seconds[-2]) / math.log(amounts[-1] / amounts[-2])
        found[name] = {
            "unit": work.unit,
            "amounts": amounts,
            "seconds": list(seconds),
            "peak_mb": list(peaks),
            "exponent": growth,
        }
    return found


def _in_process(name: str, amount: int, side: int) -> tuple[float, float]:
    context = multiprocessing.get_context("spawn")
    end, theirs = context.Pipe()
    worker = context.Process(target=_run, args=(theirs, name, amount, side), daemon=True)
    worker.start()
    theirs.close()
    try:
        return end.recv()
    except EOFError:
        raise InputError(f"{name} of {amount} {WORKS[name].unit} did not end: see above.") from None
    finally:
        worker.join()


def _run(end: Connection, name: str, amount: int, side: int) -> None:
    seconds = WORKS[name].run(amount, side)
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss
    end.send((seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6))


def banded_map(bins: int, reach: int = _REACH) -> ContactMap:
    """Poisson counts that fall off with distance up to `reach` bins, on a chromosome of bins of 1 kb."""
    mean = 20 / (1.0 + np.arange(min(reach, bins)))
    counts = np.random.default_rng(0).poisson(mean[:, None], (len(mean), bins))
    diagonals = [row[: bins - offset] for offset, row in enumerate(counts)]
    matrix = scipy.sparse.diags_array(
        diagonals, offsets=range(len(mean)), shape=(bins, bins), format="csr", dtype=np.int64
    )
    matrix.eliminate_zeros()
    return ContactMap({"1": 1000 * bins}, 1000, {("1", "1"): matrix}, name="banded")


def _preset(side: int) -> str:
    return "vit_test" if side < 64 else "vit_tiny_patch16"


def table(found: Mapping[str, Any]) -> str:
    """Markdown: seconds, seconds for the same work, and memory of each amount."""
    lines = [
        "| what | work | seconds | time for the same work | peak memory |",
        "| --- | --- | --- | --- | --- |",
    ]
    for name, growth in found.items():
        per_unit = np.array(growth["seconds"]) / growth["amounts"]
        rows = zip(
            growth["amounts"], growth["seconds"], per_unit / per_unit[-1], growth["peak_mb"], strict=True
        )
        for amount, seconds, relative, peak in rows:
            lines.append(
                f"| {name} | {amount:,} {growth['unit']} | {seconds:.3g} | {relative:.2f} | {peak:,.0f} MB |"
            )
    exponents = ", ".join(f"{name} {growth['exponent']:.2f}" for name, growth in found.items())
    lines += ["", f"Exponents between the two largest amounts: {exponents}."]
    return "\n".join(lines)


def draw(found: Mapping[str, Any], path: str | os.PathLike) -> None:
    """Writes a picture: seconds and memory against work, both axes logarithmic."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(found), 5), layout="constrained")
    panels = figure.subplots(2, len(found), squeeze=False)
    for (name, growth), (above, below) in zip(found.items(), panels.T, strict=True):
        amounts, seconds = np.array(growth["amounts"]), np.array(growth["seconds"])
        above.loglog(amounts, seconds[-1] * amounts / amounts[-1], color="0.7", label="in proportion")
        above.loglog(amounts, seconds, "o-", label="measured")
        below.semilogx(amounts, np.array(growth["peak_mb"]) / 1e3, "o-")
        below.set_ylim(bottom=0)
        above.set_title(name)
        below.set_xlabel(growth["unit"])
    panels[0, 0].set_ylabel("seconds")
    panels[0, 0].legend(frameon=False)
    panels[1, 0].set_ylabel("peak memory, GB")
    figure.savefig(pathlib.Path(path), dpi=100)
