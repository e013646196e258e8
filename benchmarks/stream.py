"""Speed of the batch stream from disk, stage by stage and as a whole."""

import itertools
import os
import time
from collections.abc import Callable

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream import sampling
from hicfm_jax.tiles.stream.batches import densest, place
from hicfm_jax.tiles.stream.context import no_context, place_context
from hicfm_jax.tiles.stream.shallow_windows import Thinning
from hicfm_jax.tiles.stream.source import DiskTiles

STAGES = {
    "read": "records from disk",
    "decode": "parsed and inflated",
    "crop": "windows chosen",
    "batch": "windows copied to batches",
    "context": "covariates of their chromosomes",
    "stream": "all of it, in the background",
    "thinned": "the downsampled stream",
    "pairs": "the stream, downsampled twice",
}

_SAMPLE = 128  # tiles to measure decode, crop and batch on


def measure_stream(
    path: str | os.PathLike,
    *,
    batch_size: int = 32,
    window: tuple[int, int] = (448, 448),
    thin: tuple[float, ...] = (),
    thin_processes: int = 0,
    seconds: float = 3,
) -> dict:
    """Measures the training stream of a dataset on disk, and its stages one by one.

    All but the streams run in one thread. Processor time is that of the whole process; other work on
    the machine affects it less than wall time.

    Args:
      path: folder made by `scripts/make_tiles.py`.
      batch_size: tiles of a batch.
      window: (H, W) in bins.
      thin: least and largest fraction of the contacts to keep, as `shallow_windows.Thinning`; () leaves
        out the two downsampled streams.
      thin_processes: processes for downsampling, 0 for two threads; their processor time is not counted.
      seconds: of each measurement.

    Returns:
      For each of `STAGES` (the context only for tiles that have one)
      `{tiles_per_second, tiles, cpu_seconds, wall_seconds, cpu_ms_per_tile, tiles_per_core_second}`, the
      last by processor time; and `bytes_per_tile` as stored, `density`, `num_tiles`, `tile_shape`,
      `window`, `batch_size`, and `cores`, those that this process may use.

    Raises:
      InputError: no such dataset, or windows or fractions that do not fit.
    """
    if not seconds > 0:
        raise InputError(f"seconds is {seconds}, expected more than 0.")
    if thin and not (len(thin) == 2 and 0 < thin[0] <= thin[1] <= 1):
        raise InputError(f"thin is {thin}, expected two fractions, 0 < least <= largest <= 1, or none.")
    source = DiskTiles(path)
    batches = source.train_stream(batch_size=batch_size, window=window, seed=0)
    tiles, draw = source.tiles("train"), sampling.Draw(window, seed=0)
    order = itertools.count()

    def read() -> int:
        return len(tiles.read_records(sampling.batch_indices(0, next(order), len(tiles), batch_size)))

    sample = np.linspace(0, len(tiles) - 1, min(len(tiles), _SAMPLE)).astype(int)
    records = tiles.read_records(sample)

    def decode() -> int:
        return len([tiles.parse(record).array("counts") for record in records])

    parsed = [tiles.parse(record) for record in records]
    counts = [tile.array("counts") for tile in parsed]

    def crop() -> int:
        diag = [tile.diag for tile in parsed]
        crops = sampling.train_crops(draw, next(order), len(parsed), diag, tiles.tile_shape)
        return len([densest(*each, draw) for each in zip(counts, crops.starts, strict=True)])

    corner, flips = np.zeros(2, int), np.zeros(2, bool)

    def batch() -> int:
        for first in range(0, len(counts), batch_size):
            part = counts[first : first + batch_size]
            out = np.empty((len(part), *window), tiles.dtype)
            for target, tile in zip(out, part, strict=True):
                place(target, tile, corner, flips)
        return len(counts)

    def cut_context() -> int:
        for i, tile in enumerate(parsed):
            place_context(context, i, tile.expected, tuple(tile.starts), window, flips)
        return len(parsed)

    work = {"read": read, "decode": decode, "crop": crop, "batch": batch}
    if tiles.has_context:
        context, work["context"] = no_context(len(parsed), window), cut_context
    rates = {stage: _rate(each, seconds) for stage, each in work.items()}
    streams = {"stream": batches}
    if thin:
        for stage, twice in (("thinned", False), ("pairs", True)):
            whole = source.train_stream(batch_size=batch_size, window=window, seed=0)
            streams[stage] = Thinning(*thin, seed=0, replicate=twice, processes=thin_processes).train(whole)
    for stage in list(streams):
        stream = streams.pop(stage)  # so that it does not run during the next measurement
        rates[stage] = _rate(lambda stream=stream: len(next(stream).counts), seconds, warm_up=4)
        stream.close()
    return rates | {
        "bytes_per_tile": float(np.mean([len(record) for record in records])),
        "density": float(np.mean([np.count_nonzero(each) / each.size for each in counts])),
        "num_tiles": len(tiles),
        "tile_shape": list(tiles.tile_shape),
        "window": list(window),
        "batch_size": batch_size,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
    }


def _rate(work: Callable[[], int], seconds: float, warm_up: int = 1) -> dict[str, float]:
    for _ in range(warm_up):
        work()
    tiles, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        tiles += work()
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    return {
        "tiles_per_second": tiles / wall,
        "tiles": tiles,
        "cpu_seconds": cpu,
        "wall_seconds": wall,
        "cpu_ms_per_tile": 1e3 * cpu / tiles,
        "tiles_per_core_second": tiles / cpu,
    }


def table(result: dict) -> str:
    """The result of `measure_stream` as text."""
    lines = [f"{'stage':8}{'tiles/s':>10}{'a core':>10}{'CPU ms/tile':>13}  what"]
    for stage, what in STAGES.items():
        if stage in result:
            rate = result[stage]
            lines.append(
                f"{stage:8}{rate['tiles_per_second']:10,.0f}{rate['tiles_per_core_second']:10,.0f}"
                f"{rate['cpu_ms_per_tile']:13.3f}  {what}"
            )
    lines.append(
        f"{result['num_tiles']} tiles of {result['tile_shape'][0]} x {result['tile_shape'][1]}, "
        f"{result['bytes_per_tile'] / 1e3:.0f} kB each, {result['density']:.1%} non-zero; on "
        f"{result['cores']} cores."
    )
    return "\n".join(lines)
