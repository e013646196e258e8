"""Contact maps -> a TFDS dataset of tiles on disk, split by chromosome or by assay."""

import contextlib
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import local_path
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import shards, summary, windows
from hicfm_jax.tiles.build import shards as unfinished
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps
from hicfm_jax.tiles.build.pieces import Job, Tally, finished_piece, write_piece
from hicfm_jax.tiles.build.plan import Piece, Plan, find_pieces, plan_tiles
from hicfm_jax.tiles.build.splits import HeldOut
from hicfm_jax.tiles.stream import context

__all__ = ["HeldOut", "build_tiles", "run_here"]

PIECE_WINDOWS = 4096
"""Windows of one piece at most."""

PIECE_PIXELS = 1 << 29
"""Pixels of one piece at most: 1 GB as uint16, and a third of that or less on disk."""

Runner = Callable[[Job, Sequence[Piece], NullProgress], None]


def run_here(job: Job, pieces: Sequence[Piece], progress: NullProgress) -> None:
    """Writes the pieces one after another; no chromosome pair is loaded twice."""
    maps = OpenMaps(job.sources)
    for piece in pieces:
        write_piece(job, piece, maps, progress.advance)


def build_tiles(
    sources: Mapping[str, ContactMap | MapFile],
    output: str | os.PathLike,
    *,
    runner: Runner = run_here,
    progress: NullProgress | None = None,
    **settings,
) -> tuple[dict, bool]:
    """Cuts contact maps into tiles and writes those that are dense enough.

    The dataset is a folder that `tfds.builder_from_directory` reads, with `manifest.json` in it.
    It appears under its name when it is complete, and not before. The same arguments give the same
    bytes, in the order map, chromosome pair, row, column, whoever writes them and however often the
    build was interrupted: what is finished waits in NAME.partial, and the same call goes on from
    there unless an input file has changed. Each chromosome pair is loaded twice: to choose the
    dtype, and to cut.

    Args:
      sources: maps of one resolution by assay name, each a file to open or a map in memory.
      output: folder to make.
      runner: writes the pieces; `beam.beam_runner` gives one for many machines.
      progress: told how far the build is.
      **settings: which tiles, as for `plan.plan_tiles`.

    Returns:
      The manifest, and whether the dataset was made now (False: it was there already, made with
      the same arguments).

    Raises:
      InputError: arguments that do not fit the maps, a split without tiles, another dataset under
        that name, or another build at work on it.
      OSError: the disk is full or not writable.
    """
    progress = progress or NullProgress()
    output = local_path(output).resolve()
    if output == pathlib.Path.cwd():
        raise InputError(f"{output} is the current folder: give --output the name of a folder to make.")
    _check_free(output)
    plan = plan_tiles(sources, **settings)
    partial = output.with_name(output.name + ".partial")
    if _occupied(output):
        manifest = _existing(output, plan.arguments)
        if partial.exists():  # of a build that was killed in its last moment
            with contextlib.suppress(InputError, OSError), unfinished.locked(partial):
                unfinished.discard(partial)
        return manifest, False
    dataset.import_tfds()  # what is missing is told before the maps are read
    try:
        with unfinished.locked(partial):
            if _occupied(output):  # the build that held the lock before us made it
                return _existing(output, plan.arguments), False
            manifest = _build(plan, output, partial, runner, progress)
            unfinished.discard(partial)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise
        raise InputError(
            f"{output} cannot be made ({error.filename}: {error.strerror}): choose another --output."
        ) from error
    return manifest, True


def _build(
    plan: Plan, output: pathlib.Path, partial: pathlib.Path, runner: Runner, progress: NullProgress
) -> dict:
    most = max(1, min(PIECE_WINDOWS, PIECE_PIXELS // (plan.tiling.tile_shape[0] * plan.tiling.tile_shape[1])))
    pieces = find_pieces(plan.regions, most)
    job = None
    try:
        job = _begin(plan, partial, most, progress)
        todo = [piece for piece in pieces if finished_piece(job, piece) is None]
        progress.start(sum(piece.windows for piece in pieces))
        if len(todo) < len(pieces):
            done = len(pieces) - len(todo)
            progress.say(f"Going on: {done} of {len(pieces)} pieces were finished before.")
            progress.advance(sum(piece.windows for piece in set(pieces).difference(todo)), "before")
        runner(job, todo, progress)
        tallies = {piece: finished_piece(job, piece) for piece in pieces}
        manifest = plan.arguments | {"dtype": job.dtype, "context": True} | _summary(plan, tallies)
        empty = [name for name in plan.held_out.requested() if name not in manifest["splits"]]
        if not empty:
            files = {split: _files(job, tallies, split) for split in manifest["splits"]}
            (partial / unfinished.DATASET).mkdir()
            shutil.copyfile(partial / context.FILE, partial / unfinished.DATASET / context.FILE)
            shards.finish_dataset(partial / unfinished.DATASET, files, manifest, job.features())
            (partial / unfinished.DATASET).rename(output)
            return manifest
    except BaseException:
        kept = sum(finished_piece(job, piece) is not None for piece in pieces) if job else 0
        if kept:
            progress.say(f"{kept} of {len(pieces)} pieces are kept in {partial}: the same command goes on.")
        else:
            unfinished.discard(partial)
        raise
    finally:
        progress.close()
    unfinished.discard(partial)
    raise InputError(
        f"No tile of {windows.shape_text(plan.tiling.tile_shape)} bins in split {empty[0]!r} has "
        f"{plan.tiling.min_density:.1%} non-zero pixels: lower min_density, use smaller tiles or a "
        "coarser resolution, or hold out less."
    )


def _files(job: Job, tallies: Mapping[Piece, Tally], split: str) -> list[tuple[pathlib.Path, int]]:
    return [
        (job.shard(piece), tally.tiles)
        for piece, tally in tallies.items()
        if piece.split == split and tally.tiles
    ]


def _begin(plan: Plan, partial: pathlib.Path, most: int, progress: NullProgress) -> Job:
    """Readies the folder of the pieces; those of an earlier build stay if they are of the same tiles."""
    state = {
        "arguments": json.loads(json.dumps(plan.arguments)),
        "inputs": {
            assay: each.state() if isinstance(each, MapFile) else [] for assay, each in plan.sources.items()
        },
        "piece_windows": most,
    }
    unfinished.prepare(partial)
    found = unfinished.read_state(partial)
    begun = found is not None and "dtype" in found and (partial / context.FILE).exists()
    if begun and found | state == found:
        dtype = found["dtype"]
    else:
        if found is not None:
            progress.say(
                f"{partial} was begun with another {_differing(state, found)}: starting from the beginning."
            )
        dtype, expected = plan.survey()
        dtype = dtype.name
        unfinished.begin(partial, state | {"dtype": dtype}, expected)
    total_counts = {assay: source["total_count"] for assay, source in plan.arguments["sources"].items()}
    return Job(os.fspath(partial / unfinished.PIECES), plan.sources, total_counts, plan.tiling, dtype)


def _differing(state: dict, found: dict) -> str:
    names = [name for name in ("inputs", "piece_windows") if state[name] != found.get(name)]
    before = found.get("arguments", {})
    names = [name for name, value in state["arguments"].items() if before.get(name) != value] + names
    return ", ".join(names) or "version of this program"


def _summary(plan: Plan, tallies: Mapping[Piece, Tally]) -> dict:
    counts = {}
    for piece, tally in tallies.items():
        for part, kept, too_sparse in zip(piece.parts, tally.kept, tally.too_sparse, strict=True):
            before = counts.get((part.assay, part.chromosomes), (0, 0))
            counts[part.assay, part.chromosomes] = before[0] + kept, before[1] + too_sparse
    return summary.summarize(plan.regions, counts, plan.arguments)


def _occupied(output: pathlib.Path) -> bool:
    return os.path.exists(output) and (not output.is_dir() or any(output.iterdir()))


def _check_free(output: pathlib.Path) -> None:
    if _occupied(output) and not (output / dataset.MANIFEST).is_file():
        raise InputError(f"{output} exists and is not a dataset of tiles: choose another --output.")


def _existing(output: pathlib.Path, arguments: dict) -> dict:
    manifest = dataset.read_manifest(output)
    arguments = json.loads(json.dumps(arguments))
    differing = [name for name, value in arguments.items() if manifest.get(name) != value]
    if differing:
        raise InputError(
            f"{output} is there already, made with another {', '.join(differing)}: "
            "remove it or choose another --output."
        )
    if not manifest.get("context"):
        raise InputError(
            f"{output} is there already, made by an earlier version that kept no context of chromosomes: "
            "remove it or choose another --output."
        )
    return manifest
