"""Builds a tile dataset on disk from contact maps."""

import contextlib
import errno
import json
import math
import os
import pathlib
import shutil
from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax import storage
from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError, OutputExists
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import parse_json
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import shards, summary, windows
from hicfm_jax.tiles.build.map_file import MapFile
from hicfm_jax.tiles.build.plan import Piece, Plan, find_pieces, plan_tiles
from hicfm_jax.tiles.build.runners import Job, PieceStats, Runner, finished_piece, run_here
from hicfm_jax.tiles.stream import context

PIECE_WINDOWS = 4096
"""Windows of one piece at most."""

PIECE_PIXELS = 1 << 29
"""Pixels of one piece at most: 1 GB as uint16, and a third of that or less on disk."""

# In the folder NAME.partial of an unfinished build, beside `context.FILE`.
_PIECES = "pieces"
_DATASET = "dataset"
_LOCK = "lock"
_STATE = "begun_with.json"


def build_tiles(
    sources: Mapping[str, ContactMap | MapFile],
    output: str | os.PathLike,
    *,
    runner: Runner = run_here,
    progress: NullProgress | None = None,
    **settings,
) -> tuple[dict, bool]:
    """Cuts contact maps into tiles and writes those that are dense enough.

    The dataset is a folder that `tfds.builder_from_directory` reads, with `manifest.json` in it. It
    appears under its name when it is complete. The same arguments give the same bytes, in the order
    map, chromosome pair, row, column, with every runner and after any interruption: finished pieces
    stay in NAME.partial, and the same call continues from there unless an input file has changed. Each
    chromosome pair is loaded twice: for the survey of the maps, and to cut. `sources` and `settings` are
    those of `plan.plan_tiles`; a runner of `runners` writes the pieces.

    Returns:
      The manifest, and whether the dataset was made now (False: it existed, made with the same
      arguments).

    Raises:
      InputError: arguments that do not fit the maps, a split without tiles, another dataset of that
        name, or another running build of it.
      OSError: the disk is full or not writable.
    """
    progress = progress or NullProgress()
    output = storage.local_path(output).resolve()
    if output == pathlib.Path.cwd():
        raise InputError(f"{output} is the current folder: give --output the name of a folder to make.")
    dataset.check_folder_name(output)
    if _occupied(output) and not (output / dataset.MANIFEST).is_file():
        raise InputError(f"{output} exists and is not a dataset of tiles: choose another --output.")
    plan = plan_tiles(sources, **settings)
    partial = output.with_name(output.name + ".partial")
    if _occupied(output):
        manifest = _existing(output, plan)
        if partial.exists():  # of a build that was killed in its last moment
            with contextlib.suppress(InputError, OSError), _locked(partial):
                _remove(partial)
        return manifest, False
    dataset.import_tfds()  # raises now if it is missing, before the maps are read
    try:
        with _locked(partial):
            if _occupied(output):  # made by the build that had the lock before
                return _existing(output, plan), False
            manifest = _build(plan, output, partial, runner, progress)
            _remove(partial)
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
    most = max(1, min(PIECE_WINDOWS, PIECE_PIXELS // math.prod(plan.tiling.tile_shape)))
    pieces = find_pieces(plan.regions, most)
    job = None
    try:
        job = _begin(plan, partial, most, progress)
        todo = [piece for piece in pieces if finished_piece(job, piece) is None]
        progress.start(sum(piece.windows for piece in pieces))
        if done := len(pieces) - len(todo):
            progress.say(f"Continuing: {done} of {len(pieces)} pieces were finished before.")
            progress.advance(sum(piece.windows for piece in set(pieces).difference(todo)), "before")
        runner(job, todo, progress)
        stats = {piece: finished_piece(job, piece) for piece in pieces}
        manifest = summary.make_manifest(plan, job.total_counts, job.dtype, _counts(stats))
        empty = [name for name in plan.held_out.requested() if name not in manifest["splits"]]
        if not empty:
            files = {split: [] for split in manifest["splits"]}
            for piece, each in stats.items():
                if each.tiles:
                    files[piece.split].append((job.shard(piece), each.tiles))
            (partial / _DATASET).mkdir()
            shutil.copyfile(partial / context.FILE, partial / _DATASET / context.FILE)
            shards.finish_dataset(partial / _DATASET, files, manifest, job.features())
            (partial / _DATASET).rename(output)
            return manifest
    except BaseException:
        finished = sum(finished_piece(job, piece) is not None for piece in pieces) if job else 0
        if finished:
            progress.say(
                f"{finished} of {len(pieces)} pieces are kept in {partial}: the same command continues."
            )
        else:
            _remove(partial)
        raise
    finally:
        progress.close()
    _remove(partial)
    raise InputError(
        f"No tile of {windows.shape_text(plan.tiling.tile_shape)} bins in split {empty[0]!r} has "
        f"{plan.tiling.min_density:.1%} non-zero pixels: lower min_density, use smaller tiles or a "
        "coarser resolution, or hold out less."
    )


def _counts(stats: Mapping[Piece, PieceStats]) -> dict[tuple, tuple[int, int]]:
    """Windows (kept, too sparse) by (assay, chromosomes)."""
    counts = {}
    for piece, each in stats.items():
        for part, kept, too_sparse in zip(piece.parts, each.kept, each.too_sparse, strict=True):
            before = counts.get((part.assay, part.chromosomes), (0, 0))
            counts[part.assay, part.chromosomes] = before[0] + kept, before[1] + too_sparse
    return counts


def _begin(plan: Plan, partial: pathlib.Path, most: int, progress: NullProgress) -> Job:
    """Prepares the folder of the pieces; those of an earlier build stay if they are of the same tiles."""
    arguments = json.loads(json.dumps(plan.arguments))
    inputs = {name: each.state() if isinstance(each, MapFile) else [] for name, each in plan.sources.items()}
    state = {"arguments": arguments, "inputs": inputs, "piece_windows": most}
    shutil.rmtree(partial / _DATASET, ignore_errors=True)
    for path in [*partial.glob(".*.*"), *partial.glob(f"{_PIECES}/.*")]:
        shutil.rmtree(path)  # a file that a killed process was writing
    found = _read_state(partial)
    differing = ", ".join(_differing(plan, state, found)) if found else ""
    if found and not differing and (partial / context.FILE).exists():
        plan.maps.close()
        state = found
    else:
        if differing:
            progress.say(f"{partial} was begun with another {differing}: starting from the beginning.")
        survey = plan.survey()
        (partial / _STATE).unlink(missing_ok=True)
        shutil.rmtree(partial / _PIECES, ignore_errors=True)
        (partial / _PIECES).mkdir()
        with storage.atomic_file(partial / context.FILE) as path, path.open("wb") as file:
            np.savez_compressed(file, **context.pack(survey.expected))
        state |= {"dtype": survey.dtype.name, "total_counts": survey.total_counts}
        storage.write_atomically(partial / _STATE, json.dumps(state).encode())
    folder = os.fspath(partial / _PIECES)
    return Job(folder, plan.sources, state["total_counts"], plan.tiling, state["dtype"], plan.targets)


def _read_state(partial: pathlib.Path) -> dict | None:
    """What the unfinished build was begun with; None if there is none or it had not begun."""
    try:
        state = parse_json((partial / _STATE).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def _differing(plan: Plan, state: dict, found: dict) -> list[str]:
    """Names of the arguments and inputs of an unfinished build that are not those of this one."""
    before, totals = found.get("arguments", {}), found.get("total_counts", {})
    names = [name for name, value in state["arguments"].items() if before.get(name) != value]
    names += [name for name in ("inputs", "piece_windows") if state[name] != found.get(name)]
    in_memory = [name for name, each in plan.sources.items() if not isinstance(each, MapFile)]
    if not names and any(totals.get(name) != float(plan.maps[name].total_count) for name in in_memory):
        names = ["sources"]
    return names or ([] if {"dtype", "total_counts"} <= found.keys() else ["version of this program"])


@contextlib.contextmanager
def _locked(partial: pathlib.Path) -> Iterator[None]:
    """Makes the folder of an unfinished build and keeps other builds out of it, also on other machines.

    Raises InputError if another build is running there, or the folder has other contents.
    """
    partial.mkdir(parents=True, exist_ok=True)
    own, unfinished = {_LOCK, _STATE, context.FILE, _PIECES, _DATASET}, (f".{_STATE}.", f".{context.FILE}.")
    for path in partial.iterdir():
        if path.name not in own and not path.name.startswith(unfinished):
            raise InputError(
                f"{partial}, the folder for the unfinished build, has other contents ({path.name}): "
                "move them or choose another --output."
            )
    in_use = f"{partial} is in use by another build: wait for it or choose another --output."
    with storage.locked(partial / _LOCK, in_use):
        yield


def _remove(partial: pathlib.Path) -> None:
    shutil.rmtree(partial, ignore_errors=True)


def _occupied(output: pathlib.Path) -> bool:
    return os.path.exists(output) and (not output.is_dir() or any(output.iterdir()))


def _existing(output: pathlib.Path, plan: Plan) -> dict:
    manifest = dataset.read_manifest(output)
    total_counts = {assay: float(plan.maps[assay].total_count) for assay in plan.sources}
    arguments = json.loads(json.dumps(plan.described(total_counts)))
    differing = [name for name, value in arguments.items() if manifest.get(name) != value]
    if differing:
        raise OutputExists(output, f"and was made with another {', '.join(differing)}")
    if not manifest.get("context"):
        how = "and was made by an earlier version, without the context of chromosomes"
        raise OutputExists(output, how)
    return manifest
