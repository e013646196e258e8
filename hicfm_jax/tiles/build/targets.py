"""Targets that are stored with tiles: tracks along the rows, and maps of loops."""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.loop_list import PLACES, check_ends, read_bedpe
from hicfm_jax.contacts.annotations.tracks import read_tracks
from hicfm_jax.errors import InputError


class TrackFile(NamedTuple):
    """A file of tracks.

    Attributes:
      path: bigWig, bedGraph or table, see `annotations.tracks.read_tracks`.
      columns: to read from a table; None for all of them, and for the other formats.
      name: of a single track; None for the names in the file, or the file's own name.
      unit: of the values, such as "reads per million".
    """

    path: str
    columns: tuple[str, ...] | None = None
    name: str | None = None
    unit: str = ""


class TrackInfo(NamedTuple):
    """Description of a track; mean and standard deviation are those of the bins to train on."""

    name: str
    unit: str = ""
    mean: float = 0.0
    sd: float = 1.0


@dataclasses.dataclass(frozen=True)
class TargetFiles:
    """The files of all targets.

    Attributes:
      tracks: in the order of the tracks.
      loops: BEDPE files by assay; "" for a file that is used for all of them.
      loop_radius: distance in bins up to which a pixel belongs to a loop.
    """

    tracks: Sequence[TrackFile] = ()
    loops: Mapping[str, str] = dataclasses.field(default_factory=dict)
    loop_radius: int = 1

    def described(self) -> dict:
        """Fields of the manifest: names and contents of the files; {} without targets."""
        found = {}
        if self.tracks:
            found["track_files"] = [
                {"columns": file.columns and list(file.columns), **file_checksum(file.path)}
                for file in self.tracks
            ]
        if self.loops:
            found["loop_files"] = {assay: file_checksum(path) for assay, path in self.loops.items()}
            found["loop_radius"] = self.loop_radius
        return found


@dataclasses.dataclass(frozen=True)
class Targets:
    """Values of whole chromosomes, from which the targets of tiles are cut.

    Attributes:
      tracks: description of each track.
      values: `[K, n_bins]` float32 by assay and chromosome, NaN where a track has no value.
      loops: bins of the two anchors, `[N, 2]`, by assay and chromosome; None without a target `map`.
      loop_radius: see `TargetFiles`.
    """

    tracks: tuple[TrackInfo, ...] = ()
    values: Mapping[str, Mapping[str, np.ndarray]] = dataclasses.field(default_factory=dict)
    loops: Mapping[str, Mapping[str, np.ndarray]] | None = None
    loop_radius: int = 1

    def shapes(self, tile_shape: tuple[int, int]) -> dict[str, tuple[int, ...]]:
        """Shape of each target of a tile `(H, W)`: `track` `[K, H]`, `map` `[H, W]`."""
        shapes = {"track": (len(self.tracks), tile_shape[0])} if self.tracks else {}
        return shapes | ({"map": tuple(tile_shape)} if self.loops is not None else {})

    def cut(
        self, assay: str, chromosomes: tuple[str, str], row: int, col: int, tile_shape: tuple[int, int]
    ) -> dict[str, np.ndarray]:
        """The targets of the tile that begins at bin `(row, col)`, as fields of its record."""
        fields = {}
        if self.tracks:
            values = self.values[assay][chromosomes[0]]
            fields["target_track"] = _cut_rows(values, row, tile_shape[0])
        if self.loops is not None:
            anchors = self.loops[assay][chromosomes[0]] if len(set(chromosomes)) == 1 else np.empty((0, 2))
            fields["target_map"] = loop_map(anchors - [row, col], tile_shape, self.loop_radius, row - col)
        return fields


def loop_map(
    anchors: np.ndarray, tile_shape: tuple[int, int], radius: int, mirror: int | None = None
) -> np.ndarray:
    """1 within `radius` bins (Euclidean) of a loop, 0 elsewhere: `[H, W]` float32.

    Args:
      anchors: row and column of each loop in the tile, whole numbers `[N, 2]`; may lie outside.
      tile_shape: (H, W).
      radius: in bins.
      mirror: column of the main diagonal in row 0. The mirror image of each loop is marked too; None: it
        is not.
    """
    marked = np.zeros(tile_shape, np.float32)
    anchors = anchors.astype(np.int64)
    if mirror is not None:
        anchors = np.concatenate([anchors, np.stack([anchors[:, 1] - mirror, anchors[:, 0] + mirror], 1)])
    steps = np.arange(-radius, radius + 1)
    offsets = np.stack(np.meshgrid(steps, steps, indexing="ij"), -1).reshape(-1, 2)
    offsets = offsets[(offsets**2).sum(1) <= radius**2]
    pixels = (anchors[:, None] + offsets).reshape(-1, 2)
    inside = ((pixels >= 0) & (pixels < tile_shape)).all(axis=1)
    marked[tuple(pixels[inside].T)] = 1.0
    return marked


def parse_tracks(values: Sequence[str]) -> list[TrackFile]:
    """Reads flags of the form `FILE`, `NAME=FILE`, `NAME[UNIT]=FILE`, each perhaps with `:COLUMN,COLUMN`.

    A table without columns gives all its columns, or with a name the column of that name.

    Raises:
      InputError: a name for several columns, or columns of a file that is not a table.
    """
    files = []
    for value in values:
        named, equals, rest = value.partition("=")
        if not equals or "/" in named:
            named, rest = "", value
        name, unit = re.fullmatch(r"(.*?)(?:\[(.*)\])?", named).groups()
        path, _, listed = rest.rpartition(":") if not os.path.exists(rest) and ":" in rest else (rest, "", "")
        is_table = path.lower().removesuffix(".gz").endswith(".tsv")
        columns = tuple(listed.split(",")) if listed else None
        if columns and not is_table:
            raise InputError(f"--track={value} names columns of {path}, but only a table .tsv has columns.")
        if name and len(columns or ()) > 1:
            raise InputError(
                f"--track={value} has one name for {len(columns)} columns: give one --track for each, or "
                "no name."
            )
        if name and is_table and not columns:
            columns = (name,)
        files.append(TrackFile(path, columns, name or None, unit or ""))
    return files


def parse_loops(values: Sequence[str]) -> dict[str, str]:
    """Reads flags of the form `FILE` (for all inputs) or `INPUT=FILE`.

    Raises:
      InputError: two files for the same input.
    """
    files = {}
    for value in values:
        assay, equals, path = value.partition("=")
        if not equals or "/" in assay:
            assay, path = "", value
        if assay in files:
            raise InputError(f"--loops has two files for {assay or 'all inputs'}: give one.")
        files[assay] = path
    return files


def read_targets(
    files: TargetFiles,
    contact_maps: Mapping[str, ContactMap],
    train: Mapping[str, Sequence[str]],
) -> Targets:
    """Reads the values of all targets on the bins of the maps.

    Args:
      files: of the targets.
      contact_maps: maps by assay name.
      train: chromosomes to train on, by assay; of their bins are mean and standard deviation.

    Raises:
      InputError: a file that cannot be read or is of another assembly, two tracks of one name, a track
        without values where it should be trained, or an assay without loops.
    """
    names, values = [], {}
    for assay, contact_map in contact_maps.items():
        found = [track for file in files.tracks for track in _read_tracks(file, contact_map)]
        names = [(name, unit) for name, unit, _ in found]
        values[assay] = {
            chrom: np.stack([track[chrom] for _, _, track in found]) if found else np.empty((0, 0))
            for chrom in contact_map.chromsizes
        }
    twice = sorted({name for name, _ in names if [each for each, _ in names].count(name) > 1})
    if twice:
        raise InputError(f"Two tracks are named {', '.join(twice)}: give them names with --track=NAME=FILE.")
    tracks = []
    for k, (name, unit) in enumerate(names):
        parts = [values[assay][chrom][k] for assay, chroms in train.items() for chrom in chroms]
        known = np.concatenate([np.empty(0), *parts]).astype(np.float64)
        known = known[np.isfinite(known)]
        if not known.size or known.std() == 0:
            raise InputError(
                f"The track {name!r} has {'one value only' if known.size else 'no value'} on the chromosomes "
                "to train on: leave it out, or hold out other chromosomes."
            )
        tracks.append(TrackInfo(name, unit, float(known.mean()), float(known.std())))
    loops = None
    if files.loops:
        loops = {assay: _read_loops(files, assay, each) for assay, each in contact_maps.items()}
    return Targets(tuple(tracks), values if tracks else {}, loops, files.loop_radius)


def _read_tracks(file: TrackFile, contact_map: ContactMap) -> list[tuple[str, str, dict[str, np.ndarray]]]:
    """Name, unit and values of each track of a file."""
    names = file.columns or (None if file.name is None else (file.name,))
    found = read_tracks(file.path, contact_map, names)
    return [(file.name or name, file.unit, track) for name, track in found.items()]


def _read_loops(files: TargetFiles, assay: str, contact_map: ContactMap) -> dict[str, np.ndarray]:
    """Bins of the middles of the anchors of each cis loop, by chromosome."""
    path = files.loops.get(assay, files.loops.get(""))
    if path is None:
        raise InputError(
            f"--loops has no file for {assay}: give --loops={assay}=FILE, or one for all inputs."
        )
    loops, names = read_bedpe(path)[list(PLACES)], contact_map.chromsizes
    check_ends(loops, contact_map, path)
    bins = {chrom: [] for chrom in names}
    known = {}
    for chrom in set(loops["chrom1"]):
        with contextlib.suppress(InputError):  # another map may have it
            known[chrom] = contact_map.find_chromosome(chrom)
    for chrom1, start1, end1, chrom2, start2, end2 in loops.itertuples(index=False):
        chrom = known.get(chrom1)
        if chrom is None or chrom1 != chrom2:
            continue
        middles = [(start1 + end1) // 2, (start2 + end2) // 2]
        bins[chrom].append([min(middle, names[chrom] - 1) // contact_map.resolution for middle in middles])
    if not any(bins.values()):
        raise InputError(f"{path} has no loop within a chromosome of {assay}: use the map's names.")
    return {chrom: np.array(pairs, np.int64).reshape(-1, 2) for chrom, pairs in bins.items()}


def _cut_rows(values: np.ndarray, first: int, size: int) -> np.ndarray:
    """`[K, n_bins]` -> `[K, size]` from bin `first` on, NaN beyond the chromosome."""
    cut = np.full((len(values), size), np.nan, np.float32)
    begin, end = max(first, 0), min(first + size, values.shape[1])
    if begin < end:
        cut[:, begin - first : end - first] = values[:, begin:end]
    return cut


def file_checksum(path: str | os.PathLike) -> dict[str, str]:
    """Name and SHA-256 of a file, for the manifest; InputError if it cannot be read."""
    path = pathlib.Path(path)
    try:
        return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}): give another file.") from error
