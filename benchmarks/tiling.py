"""How fast contact maps become tiles, with and without Beam, and what that takes in memory and disk."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import synthetic
from benchmarks.process_tree import ProcessTree
from hicfm_jax.contacts import write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import dataset as records
from hicfm_jax.tiles.build import builder, runners
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps, map_files
from hicfm_jax.tiles.build.plan import plan_tiles

_LOOK_SECONDS = 0.1


def measure_tiling(sources: Mapping[str, MapFile], workers: Sequence[int] = (0, 1, 2), **settings) -> dict:
    """Reads maps, then builds their tiles in temporary folders, once for each number of workers.

    Each build has a process of its own. The files come from the operating system's memory where they
    fit, so the speed of a disk or network is not in the rates.

    Args:
      sources: maps by assay name.
      workers: processes of Beam's DirectRunner; 0 builds without Beam, in one process.
      **settings: which tiles, as for `plan.plan_tiles`.

    Returns:
      `file_mb` of the maps (1 MB is 10^6 bytes), `nonzero` pixels in their matrices, `read_seconds` to
      load each of these once, `read_mb_per_second`, `windows`, `tiles`, `pieces` (no more workers than
      these have work), `disk_mb_per_1000_tiles`; and in `builds`, for each of `workers`:
      `seconds` from the call to the finished dataset, in which are `survey_seconds` (every map is read,
      for the dtype and the context), `start_seconds` (until the first tile) and `cut_seconds` (from then
      to the last); `tiles_per_second` and `map_mb_per_second`, in `cut_seconds`; `cpu_seconds` of all
      processes from the first tile on, and `cpu_ms_per_tile`; `worker_peak_mb` of a process that cuts and
      `total_peak_mb` of all. See `process_tree` for what counts; memory and processor time are 0 where
      there is no /proc.

    Raises:
      InputError: arguments that do not fit the maps, numbers below 0, or Beam is not installed.
    """
    if not workers or min(workers) < 0:
        raise InputError(f"workers is {workers}: give numbers of processes, 0 for a build without Beam.")
    if any(workers):
        runners.beam_runner()  # what is missing is told before anything is measured
    regions = [region for region in plan_tiles(sources, **settings).regions if region.windows]
    file_mb = sum(os.path.getsize(uri) for uri in {each.uri.partition("::")[0] for each in sources.values()})
    file_mb /= 1e6
    nonzero, maps, begin = 0, OpenMaps(sources), time.time()
    for region in regions:
        nonzero += maps[region.assay].matrix(*region.chromosomes).nnz
    read_seconds = time.time() - begin
    del maps
    result = {
        "file_mb": file_mb,
        "nonzero": int(nonzero),
        "read_seconds": read_seconds,
        "read_mb_per_second": file_mb / read_seconds,
    }
    builds = [_measure_build(sources, number, settings) for number in workers]
    for build in builds:
        # These are the same for all builds.
        result |= {name: build.pop(name) for name in ("windows", "tiles", "pieces", "disk_mb_per_1000_tiles")}
        build["tiles_per_second"] = result["tiles"] / build["cut_seconds"]
        build["map_mb_per_second"] = file_mb / build["cut_seconds"]
        build["cpu_ms_per_tile"] = 1e3 * build["cpu_seconds"] / result["tiles"]
    return result | {"builds": builds}


def _measure_build(sources: Mapping[str, MapFile], workers: int, settings: dict) -> dict:
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        tree = ProcessTree(pool.submit(os.getpid).result())
        pieces = pathlib.Path(folder, "tiles.partial", "pieces")
        build, first, cpu_before = pool.submit(_build, sources, folder, workers, settings), None, 0.0
        while not build.done():
            tree.look()
            if first is None and any(pieces.glob("*")):
                first, cpu_before = time.time(), tree.cpu_seconds
            concurrent.futures.wait([build], _LOOK_SECONDS)
        counted, begun, cutting, cut, finished = build.result()
    if first is None or first >= cut:  # too quick to be seen
        first, cpu_before = cutting, 0.0
    return counted | {
        "workers": workers,
        "seconds": finished - begun,
        "survey_seconds": cutting - begun,
        "start_seconds": first - cutting,
        "cut_seconds": cut - first,
        "cpu_seconds": tree.cpu_seconds - cpu_before,
        "worker_peak_mb": (tree.branch_peak_bytes if workers else tree.peak_bytes) / 1e6,
        "total_peak_mb": tree.peak_bytes / 1e6,
    }


def _build(sources: Mapping[str, MapFile], folder: str, workers: int, settings: dict) -> tuple:
    records.import_tfds(), records.import_tensorflow()  # no part of the time
    inner, seen = builder.run_here, {}
    if workers:
        many = ["--direct_running_mode=multi_processing", f"--direct_num_workers={workers}"]
        inner = runners.beam_runner(["--runner=DirectRunner", *many])

    def runner(job, pieces, progress) -> None:
        seen["windows"], seen["pieces"] = sum(piece.windows for piece in pieces), len(pieces)
        cutting = time.time()
        inner(job, pieces, progress)
        # Workers take some seconds to end after their last piece.
        seen["times"] = cutting, max(path.stat().st_mtime for path in pathlib.Path(job.folder).iterdir())

    begun, output = time.time(), pathlib.Path(folder, "tiles")
    manifest, _ = builder.build_tiles(sources, output, runner=runner, **settings)
    finished = time.time()
    times = begun, *seen.pop("times"), finished
    tiles = sum(split["tiles"] for split in manifest["splits"].values())
    size = sum(path.stat().st_size for path in output.iterdir())
    return seen | {"tiles": tiles, "disk_mb_per_1000_tiles": size / 1e3 / tiles}, *times


@contextlib.contextmanager
def map_sources(text: str, resolution: int | None, tile_shape: tuple[int, int]) -> Iterator[dict]:
    """The map to measure with, as `measure_tiling` takes it.

    Args:
      text: a file, or `synthetic:DENSITY` for a temporary .cool of ten tiles a side.
      resolution: bin width in bp of a file.
      tile_shape: (H, W) in bins.

    Raises:
      InputError: no resolution for a file, or no density.
    """
    density = synthetic.parse_density(text)
    if density is None:
        if resolution is None:
            raise InputError("--resolution is missing: give the bin width of the map in bp.")
        yield map_files([text], resolution)
        return
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "synthetic.cool")
        contact_map = synthetic.synthetic_map(density, 10 * max(tile_shape))
        write_contacts(contact_map, path)
        yield map_files([path], contact_map.resolution)


def table(result: dict) -> str:
    """The result of `measure_tiling` for reading."""
    lines = [
        f"{result['file_mb']:,.1f} MB with {result['nonzero']:,} non-zero pixels, read in "
        f"{result['read_seconds']:.1f} s: {result['read_mb_per_second']:,.1f} MB/s.",
        f"{result['tiles']:,} tiles of {result['windows']:,} windows in {result['pieces']} pieces, "
        f"{result['disk_mb_per_1000_tiles']:,.1f} MB per 1,000 tiles on disk.",
        f"{'workers':10}{'survey s':>9}{'start s':>9}{'cut s':>9}{'tiles/s':>9}{'map MB/s':>9}"
        f"{'CPU ms/tile':>13}{'MB a worker':>13}{'MB in all':>11}",
    ]
    for build in result["builds"]:
        lines.append(
            f"{build['workers'] or 'no Beam':<10}{build['survey_seconds']:9.1f}{build['start_seconds']:9.1f}"
            f"{build['cut_seconds']:9.1f}{build['tiles_per_second']:9,.0f}{build['map_mb_per_second']:9.2f}"
            f"{build['cpu_ms_per_tile']:13.2f}{build['worker_peak_mb']:13,.0f}{build['total_peak_mb']:11,.0f}"
        )
    return "\n".join(lines)
