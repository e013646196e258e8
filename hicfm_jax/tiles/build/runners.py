"""Runners that write the pieces of a build: here, in processes, or by Beam."""

import concurrent.futures
import dataclasses
import json
import logging
import os
import pathlib
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError, InputNote
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import write_atomically
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import cutting, shards
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps
from hicfm_jax.tiles.build.plan import Piece
from hicfm_jax.tiles.build.targets import Targets
from hicfm_jax.tiles.build.windows import Tiling
from hicfm_jax.tiles.stream import workers


@dataclasses.dataclass(frozen=True)
class Job:
    """The common part of all pieces of a build; small, and the same on every machine."""

    folder: str  # for the files of the pieces, on a disk that all machines share
    sources: Mapping[str, ContactMap | MapFile]  # by assay name
    total_counts: Mapping[str, float]  # contacts of each whole map
    tiling: Tiling
    dtype: str  # of the counts, `uint16` or `float32`
    targets: Targets = dataclasses.field(default_factory=Targets)  # what is stored with the tiles

    def shard(self, piece: Piece) -> pathlib.Path:
        """The file of a piece; a piece without tiles has none."""
        return pathlib.Path(self.folder, f"{piece.number:05d}.array_record")

    def features(self):
        """The TFDS features of its tiles."""
        shape = self.tiling.tile_shape
        return dataset.features(shape, np.dtype(self.dtype), self.targets.shapes(shape))


@dataclasses.dataclass(frozen=True)
class PieceStats:
    """The result of a piece: windows that became tiles, and that did not, of each of its parts."""

    kept: Sequence[int]
    too_sparse: Sequence[int]
    size: int  # bytes of its file

    @property
    def tiles(self) -> int:
        return sum(self.kept)


Runner = Callable[[Job, Sequence[Piece], NullProgress], None]


class PieceWriter:
    """Writes pieces one after another, with the last map kept open."""

    def __init__(self, job: Job):
        self._job, self._maps = job, None

    def __reduce__(self):
        return PieceWriter, (self._job,)

    def __call__(
        self, piece: Piece, advance: Callable[[int, str], None] = lambda windows, where: None
    ) -> PieceStats:
        """Cuts a piece and writes its file and, when that is complete, its statistics beside it.

        Repeated, or on two machines at once, it writes the same bytes. `advance` is that of a
        `progress.NullProgress`.

        Raises:
          InputError: a map that cannot be read.
          OSError: the disk is full or not writable; no file of this piece is left.
        """
        kept, too_sparse = [0] * len(piece.parts), [0] * len(piece.parts)
        shard = self._job.shard(piece)
        count = shards.write_shard(shard, self._tiles(piece, kept, too_sparse, advance), self._job.features())
        stats = PieceStats(kept, too_sparse, shard.stat().st_size if count else 0)
        write_atomically(shard.with_suffix(".json"), json.dumps(dataclasses.asdict(stats)).encode())
        return stats

    def _tiles(self, piece: Piece, kept: list[int], too_sparse: list[int], advance) -> Iterator[dict]:
        job, self._maps = self._job, self._maps or OpenMaps(self._job.sources)
        for number, (assay, chromosomes, *numbers) in enumerate(piece.parts):
            where = f"{assay} {' x '.join(dict.fromkeys(chromosomes))}"
            kind = job.tiling, np.dtype(job.dtype), job.total_counts[assay]
            tiles = cutting.cut_tiles(
                self._maps[assay], assay, chromosomes, *kind, *numbers, targets=job.targets
            )
            for tile in tiles:
                (too_sparse if tile is None else kept)[number] += 1
                advance(1, where)
                if tile is not None:
                    yield tile


def finished_piece(job: Job, piece: Piece) -> PieceStats | None:
    """The statistics of a piece that is complete; else None."""
    shard = job.shard(piece)
    try:
        stats = PieceStats(**json.loads(shard.with_suffix(".json").read_text()))
        complete = len(stats.kept) == len(stats.too_sparse) == len(piece.parts)
        return stats if complete and (not stats.tiles or os.path.getsize(shard) == stats.size) else None
    except (OSError, ValueError, TypeError):
        return None


def run_here(job: Job, pieces: Sequence[Piece], progress: NullProgress) -> None:
    """Writes the pieces one after another; loads each chromosome pair once."""
    write = PieceWriter(job)
    for piece in pieces:
        write(piece, progress.advance)


def process_runner(processes: int) -> Runner:
    """A runner with worker processes on this machine; it raises InputError if one is killed."""

    def run(job: Job, pieces: Sequence[Piece], progress: NullProgress) -> None:
        if not pieces:
            return
        pool = workers.process_pool(min(processes, len(pieces)), _start_worker, job)
        try:
            futures = {pool.submit(_write_piece, piece): piece for piece in pieces}
            for future in concurrent.futures.as_completed(futures):
                future.result()
                progress.advance(futures[future].windows, futures[future].parts[-1].assay)
        except BrokenProcessPool as error:
            raise workers.killed("run the command again with fewer --processes") from error
        finally:
            pool.shutdown(cancel_futures=True)

    return run


_writer: PieceWriter | None = None  # of a worker process


def _start_worker(job: Job) -> None:
    global _writer
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends the build; its pieces stay
    warnings.simplefilter("ignore", InputNote)  # the main process has said it
    _writer = PieceWriter(job)


def _write_piece(piece: Piece) -> None:
    _writer(piece)


def beam_runner(options: Sequence[str] = ()) -> Runner:
    """A runner for a cluster with Apache Beam; it writes the same bytes as the others.

    Workers open the maps by their URIs and write below the output folder, so all machines have to see
    both under the same path. `options` are flags of the pipeline, such as `--runner=FlinkRunner
    --flink_master=HOST:8081`. Raises InputError if Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise InputError(
            f"Building with Beam needs {error.name}, which is not installed: pip install 'hicfm_jax[beam]'."
        ) from error

    def run(job: Job, pieces: Sequence[Piece], progress: NullProgress) -> None:
        progress.say(f"Beam writes {len(pieces)} pieces.")
        if not pieces:
            return
        logging.getLogger("apache_beam").setLevel(logging.WARNING)  # it logs every worker
        quiet = "--default_sdk_harness_log_level=WARNING"  # and so do they
        try:
            pipeline = beam.Pipeline(options=PipelineOptions([quiet, *options]))
        except (ValueError, ImportError) as error:
            raise InputError(f"--beam_options={' '.join(options)} make no pipeline: {error}") from error
        try:
            todo = pipeline | beam.Create(list(pieces), reshuffle=True)
            todo | "cut" >> beam.Map(PieceWriter(job))
            pipeline.run().wait_until_finish()
        except Exception as error:
            mistake = _mistake(error)
            if mistake is None:
                raise
            raise InputError(f"A Beam worker failed: {mistake}") from error
        progress.advance(sum(piece.windows for piece in pieces), "with Beam")

    return run


def _mistake(error: Exception) -> str | None:
    """The user's mistake in a pipeline's exception, if any: some runners pass on its text only."""
    for line in reversed(f"{type(error).__name__}: {error}".splitlines()):
        for kind in (InputError, OSError, *OSError.__subclasses__()):
            _, found, sentence = line.partition(f"{kind.__name__}: ")
            if found:
                return sentence.partition(" [while running")[0]
    return None
