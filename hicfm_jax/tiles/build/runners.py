"""The pieces of a build written by Apache Beam: on the processors of one machine or on a cluster."""

import logging
from collections.abc import Sequence

from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.tiles.build.beam_watch import run_watched
from hicfm_jax.tiles.build.map_file import OpenMaps
from hicfm_jax.tiles.build.pieces import Job, write_piece
from hicfm_jax.tiles.build.plan import Piece


def beam_runner(options: Sequence[str] = ()):
    """A `runner` for `builder.build_tiles`; each piece is cut by the same code as without Beam.

    Workers open the maps by their URIs and write below the output folder, so both must lie where all
    machines see them under the same path.

    Args:
      options: flags of the Beam pipeline, such as `--runner=DirectRunner --direct_num_workers=8`.

    Raises:
      InputError: Beam is not installed.
    """
    try:
        import apache_beam as beam
        from apache_beam.options.pipeline_options import PipelineOptions
    except ModuleNotFoundError as error:
        raise InputError(
            f"Building with Beam needs {error.name}, which is not installed: run pip install -e '.[beam]'."
        ) from error

    def run(job: Job, pieces: Sequence[Piece], progress: NullProgress) -> None:
        progress.say(f"Beam writes {len(pieces)} pieces.")
        if not pieces:
            return
        logging.getLogger("apache_beam").setLevel(logging.WARNING)  # it tells of every worker
        quiet = "--default_sdk_harness_log_level=WARNING"  # and so do they
        try:
            pipeline = beam.Pipeline(options=PipelineOptions([quiet, *options]))
        except (ValueError, ImportError) as error:
            raise InputError(f"--beam_options={' '.join(options)} make no pipeline: {error}") from error
        try:
            todo = pipeline | beam.Create(list(pieces), reshuffle=True)
            todo | "cut" >> beam.Map(_Worker(job))
            run_watched(pipeline)
        except Exception as error:
            mistake = _mistake(error)
            if mistake is None:
                raise
            raise InputError(f"A Beam worker failed: {mistake}") from error
        progress.advance(sum(piece.windows for piece in pieces), "with Beam")

    return run


class _Worker:
    """Writes pieces one after another; each process keeps the map that it has open."""

    def __init__(self, job: Job):
        self._job, self._maps = job, None

    def __reduce__(self):
        return _Worker, (self._job,)

    def __call__(self, piece: Piece) -> None:
        self._maps = self._maps or OpenMaps(self._job.sources)
        write_piece(self._job, piece, self._maps)


def _mistake(error: Exception) -> str | None:
    """The sentence for the user in what a pipeline raised, if there is one: some runners give text only."""
    for line in reversed(f"{type(error).__name__}: {error}".splitlines()):
        for kind in (InputError, OSError, *OSError.__subclasses__()):
            _, found, sentence = line.partition(f"{kind.__name__}: ")
            if found:
                return sentence.partition(" [while running")[0]
    return None
