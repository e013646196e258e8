"""The unit of work of a build: one piece of the plan becomes one file, here or on another machine."""

import dataclasses
import json
import os
import pathlib
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import cutting, shards
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps
from hicfm_jax.tiles.build.plan import Piece
from hicfm_jax.tiles.build.windows import Tiling


@dataclasses.dataclass(frozen=True)
class Job:
    """What all pieces of a build share; small, and the same on every machine.

    Attributes:
      folder: where the files of the pieces go, on a disk that all machines see.
      sources: contact maps by assay name, each a file to open or a map in memory.
      total_counts: contacts of each whole map.
      tiling: which windows become tiles.
      dtype: of the counts, `uint16` or `float32`.
    """

    folder: str
    sources: Mapping[str, ContactMap | MapFile]
    total_counts: Mapping[str, float]
    tiling: Tiling
    dtype: str

    def shard(self, piece: Piece) -> pathlib.Path:
        """The file of a piece; a piece without tiles has none."""
        return pathlib.Path(self.folder, f"{piece.number:05d}.array_record")

    def features(self):
        """The TFDS features of its tiles."""
        return dataset.features(self.tiling.tile_shape, np.dtype(self.dtype))


@dataclasses.dataclass(frozen=True)
class Tally:
    """What became of a piece.

    Attributes:
      kept, too_sparse: windows that became tiles and that did not, for each part of the piece.
      size: bytes of its file.
    """

    kept: Sequence[int]
    too_sparse: Sequence[int]
    size: int

    @property
    def tiles(self) -> int:
        return sum(self.kept)


def write_piece(
    job: Job,
    piece: Piece,
    maps: OpenMaps | None = None,
    advance: Callable[[int, str], None] = lambda windows, where: None,
) -> Tally:
    """Cuts a piece and writes its file and, when that is complete, the tally beside it.

    Done twice, or on two machines at once, it writes the same bytes.

    Args:
      job: what all pieces share.
      piece: what to cut.
      maps: the job's maps, if some are open already.
      advance: called with windows done and where, as `progress.Progress.advance`.

    Raises:
      InputError: a map that cannot be read.
      OSError: the disk is full or not writable; no file of this piece is left behind.
    """
    maps = maps or OpenMaps(job.sources)
    kept, too_sparse = [], []

    def tiles() -> Iterator[dict]:
        for part in piece.parts:
            kept.append(0)
            too_sparse.append(0)
            where = f"{part.assay} {' x '.join(dict.fromkeys(part.chromosomes))}"
            for tile in cutting.cut_tiles(
                maps[part.assay],
                part.assay,
                part.chromosomes,
                job.tiling,
                np.dtype(job.dtype),
                job.total_counts[part.assay],
                part.first,
                part.last,
            ):
                (too_sparse if tile is None else kept)[-1] += 1
                advance(1, where)
                if tile is not None:
                    yield tile

    shard = job.shard(piece)
    count = shards.write_shard(shard, tiles(), job.features())
    tally = Tally(kept, too_sparse, shard.stat().st_size if count else 0)
    unfinished = shard.with_suffix(f".json.{uuid.uuid4().hex}{shards.UNFINISHED}")
    try:
        unfinished.write_text(json.dumps(dataclasses.asdict(tally)))
        unfinished.replace(shard.with_suffix(".json"))
    finally:
        unfinished.unlink(missing_ok=True)
    return tally


def finished_piece(job: Job, piece: Piece) -> Tally | None:
    """The tally of a piece that is there, complete; else None."""
    shard = job.shard(piece)
    try:
        tally = Tally(**json.loads(shard.with_suffix(".json").read_text()))
        complete = len(tally.kept) == len(tally.too_sparse) == len(piece.parts)
        return tally if complete and (not tally.tiles or os.path.getsize(shard) == tally.size) else None
    except (OSError, ValueError, TypeError):
        return None
