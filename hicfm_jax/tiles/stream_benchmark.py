"""How fast tiles come from disk, and where the time goes: read, decode, crop, batch, whole stream."""

import itertools
import os
import time
from collections.abc import Callable

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles import assemble, sampling
from hicfm_jax.tiles.pipeline import DiskTiles

STAGES = {
    "read": "records from disk",
    "decode": "parsed and inflated",
    "crop": "windows chosen",
    "batch": "windows copied to batches",
    "stream": "all of it, ahead of the consumer",
}

_SAMPLE = 128  # tiles that decode, crop and batch are measured on


def measure_stream(
    path: str | os.PathLike, *, batch_size: int = 32, window: tuple[int, int] = (448, 448), seconds: float = 3
) -> dict:
    """Measures the training stream of a dataset on disk, and its stages one by one.

    All but the stream run in one thread. Processor time is that of the whole process, so that what
    else the machine does matters less to it than to wall time.

    Args:
      path: folder made by `scripts/make_tiles.py`.
      batch_size: tiles of a batch.
      window: (H, W) in bins.
      seconds: of each measurement.

    Returns:
      For each of `STAGES` `{tiles_per_second, tiles, cpu_seconds, wall_seconds, cpu_ms_per_tile}`, for
      the stream also `free_cores_tiles_per_second`, what `cores` without other work would give; and
      `bytes_per_tile` as stored, `density`, `num_tiles`, `tile_shape`, `window`, `batch_size`, `cores`.

    Raises:
      InputError: no dataset there, or not one for such windows.
    """
    if not seconds > 0:
        raise InputError(f"seconds is {seconds} but a measurement takes some: give more than 0.")
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
        return len([assemble.densest(*each, draw) for each in zip(counts, crops.starts, strict=True)])

    corner, flips = np.zeros(2, int), np.zeros(2, bool)

    def batch() -> int:
        for first in range(0, len(counts), batch_size):
            part = counts[first : first + batch_size]
            out = np.empty((len(part), *window), tiles.dtype)
            for target, tile in zip(out, part, strict=True):
                assemble.place(target, tile, corner, flips)
        return len(counts)

    work = {"read": read, "decode": decode, "crop": crop, "batch": batch}
    rates = {stage: _rate(each, seconds) for stage, each in work.items()}
    rates["stream"] = _rate(lambda: len(next(batches).counts), seconds, warm_up=4)
    cores = os.cpu_count()
    rates["stream"]["free_cores_tiles_per_second"] = cores * 1e3 / rates["stream"]["cpu_ms_per_tile"]
    return rates | {
        "bytes_per_tile": float(np.mean([len(record) for record in records])),
        "density": float(np.mean([np.count_nonzero(each) / each.size for each in counts])),
        "num_tiles": len(tiles),
        "tile_shape": list(tiles.tile_shape),
        "window": list(window),
        "batch_size": batch_size,
        "cores": cores,
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
    }


def table(result: dict) -> str:
    """The result of `measure_stream` for reading."""
    lines = [f"{'stage':8}{'tiles/s':>10}{'CPU ms/tile':>13}  what"]
    for stage, what in STAGES.items():
        rate = result[stage]
        lines.append(f"{stage:8}{rate['tiles_per_second']:10,.0f}{rate['cpu_ms_per_tile']:13.3f}  {what}")
    lines.append(
        f"{result['num_tiles']} tiles of {result['tile_shape'][0]} x {result['tile_shape'][1]}, "
        f"{result['bytes_per_tile'] / 1e3:.0f} kB each, {result['density']:.1%} non-zero; "
        f"{result['cores']} free cores would stream {result['stream']['free_cores_tiles_per_second']:,.0f}/s."
    )
    return "\n".join(lines)
