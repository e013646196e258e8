"""Speed, memory and disk of building tiles, in one and in several processes."""

import concurrent.futures
import contextlib
import multiprocessing
import os
import pathlib
import resource
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence

from benchmarks import synthetic
from hicfm_jax.contacts import write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import builder, runners
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps, map_files
from hicfm_jax.tiles.build.plan import plan_tiles

_LOOK_SECONDS = 0.1


def measure_tiling(sources: Mapping[str, MapFile], processes: Sequence[int] = (0, 1, 2), **settings) -> dict:
    """Reads maps, then builds their tiles in temporary folders, once for each number of processes.

    Each build runs in a new process. The files come from the operating system's memory where they fit,
    so the rates do not include the speed of a disk or network.

    Args:
      sources: maps by assay name.
      processes: numbers of worker processes; 0 cuts in the process of the build.
      **settings: which tiles, as for `plan.plan_tiles`.

    Returns:
      `file_mb` of the maps (1 MB is 10^6 bytes), `nonzero` pixels in their matrices, `read_seconds` to
      load each of these once, `read_mb_per_second`, `windows`, `tiles`, `pieces` (the most processes
      that have work), `disk_mb_per_1000_tiles`; and in `builds`, for each of `processes`: `seconds` from
      the call to the finished dataset, which include `survey_seconds` (every map is read),
      `start_seconds` (until the first tile) and `cut_seconds` (from then to the last); `tiles_per_second`
      and `map_mb_per_second` of `cut_seconds`; `cpu_seconds` of cutting, the start of worker processes
      included, and `cpu_ms_per_tile`; and `peak_mb`, the memory of the largest process that cuts.

    Raises:
      InputError: arguments that do not fit the maps, or numbers below 0.
    """
    if not processes or min(processes) < 0:
        raise InputError(f"processes is {processes}: give numbers of worker processes, 0 or more.")
    regions = [region for region in plan_tiles(sources, **settings).regions if region.windows]
    file_mb = sum(os.path.getsize(uri) for uri in {each.uri.partition("::")[0] for each in sources.values()})
    file_mb /= 1e6
    nonzero, maps, begin = 0, OpenMaps(sources), time.time()
    for region in regions:
        nonzero += maps[region.assay].matrix(*region.chromosomes).nnz
    read_seconds = time.time() - begin
    maps.close()
    result = {
        "file_mb": file_mb,
        "nonzero": int(nonzero),
        "read_seconds": read_seconds,
        "read_mb_per_second": file_mb / read_seconds,
    }
    builds = [_measure_build(sources, number, settings) for number in processes]
    for build in builds:
        # These are the same for all builds.
        result |= {name: build.pop(name) for name in ("windows", "tiles", "pieces", "disk_mb_per_1000_tiles")}
        build["tiles_per_second"] = result["tiles"] / build["cut_seconds"]
        build["map_mb_per_second"] = file_mb / build["cut_seconds"]
        build["cpu_ms_per_tile"] = 1e3 * build["cpu_seconds"] / result["tiles"]
    return result | {"builds": builds}


def _measure_build(sources: Mapping[str, MapFile], processes: int, settings: dict) -> dict:
    context = multiprocessing.get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool,
    ):
        pieces = pathlib.Path(folder, "tiles.partial", "pieces")
        build, first = pool.submit(_build, sources, folder, processes, settings), None
        while not build.done():
            if first is None and any(pieces.glob("*")):
                first = time.time()
            concurrent.futures.wait([build], _LOOK_SECONDS)
        measured, begun, cutting, cut, finished = build.result()
    if first is None or first >= cut:  # faster than the interval between looks
        first = cutting
    return measured | {
        "processes": processes,
        "seconds": finished - begun,
        "survey_seconds": cutting - begun,
        "start_seconds": first - cutting,
        "cut_seconds": cut - first,
    }


def _build(sources: Mapping[str, MapFile], folder: str, processes: int, settings: dict) -> tuple:
    dataset.import_tfds()  # not part of the time
    write = runners.process_runner(processes) if processes else runners.run_here
    # A process that has ended and was waited for counts among the children.
    who = resource.RUSAGE_CHILDREN if processes else resource.RUSAGE_SELF
    measured = {}

    def runner(job, pieces, progress) -> None:
        measured["windows"], measured["pieces"] = sum(piece.windows for piece in pieces), len(pieces)
        cutting, before = time.time(), _cpu_seconds(who)
        write(job, pieces, progress)
        measured["cpu_seconds"] = _cpu_seconds(who) - before
        # Processes take some time to end after their last piece.
        measured["times"] = cutting, max(path.stat().st_mtime for path in pathlib.Path(job.folder).iterdir())

    begun, output = time.time(), pathlib.Path(folder, "tiles")
    manifest, _ = builder.build_tiles(sources, output, runner=runner, **settings)
    times = begun, *measured.pop("times"), time.time()
    measured["tiles"] = sum(split["tiles"] for split in manifest["splits"].values())
    size = sum(path.stat().st_size for path in output.iterdir())
    measured["disk_mb_per_1000_tiles"] = size / 1e3 / measured["tiles"]
    bytes_of = 1 if sys.platform == "darwin" else 1024  # the unit of ru_maxrss
    measured["peak_mb"] = resource.getrusage(who).ru_maxrss * bytes_of / 1e6
    return measured, *times


def _cpu_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


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
    """The result of `measure_tiling` as text."""
    lines = [
        f"{result['file_mb']:,.1f} MB with {result['nonzero']:,} non-zero pixels, read in "
        f"{result['read_seconds']:.1f} s: {result['read_mb_per_second']:,.1f} MB/s.",
        f"{result['tiles']:,} tiles of {result['windows']:,} windows in {result['pieces']} pieces, "
        f"{result['disk_mb_per_1000_tiles']:,.1f} MB per 1,000 tiles on disk.",
        f"{'processes':10}{'survey s':>9}{'start s':>9}{'cut s':>9}{'tiles/s':>9}{'map MB/s':>9}"
        f"{'CPU ms/tile':>13}{'peak MB':>9}",
    ]
    for build in result["builds"]:
        lines.append(
            f"{build['processes'] or 'here':<10}{build['survey_seconds']:9.1f}{build['start_seconds']:9.1f}"
            f"{build['cut_seconds']:9.1f}{build['tiles_per_second']:9,.0f}{build['map_mb_per_second']:9.2f}"
            f"{build['cpu_ms_per_tile']:13.2f}{build['peak_mb']:9,.0f}"
        )
    return "\n".join(lines)
