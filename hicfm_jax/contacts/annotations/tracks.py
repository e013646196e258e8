"""One-dimensional tracks along the genome: bigWig, bedGraph and tables of bins."""

import itertools
import math
import os
import pathlib
import types
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from hicfm_jax.contacts.annotations.intervals import (
    Track,
    bin_values,
    check_grid,
    empty_track,
    grid_width,
    matched_chromosomes,
    other_assembly,
    read_bedgraph,
    read_table,
    same_length,
)
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats.reading_process import ReadingProcess
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file

BIGWIG_SUFFIXES = (".bw", ".bigwig")
BEDGRAPH_SUFFIXES = (".bedgraph", ".bg", ".bdg")
TABLE_SUFFIXES = (".tsv",)

TABLE = "tracks.tsv"
"""Table of all tracks in a folder that inference writes."""

_RECORDS_FOR_GRID = 10_000


def read_tracks(
    path: str | os.PathLike, contact_map: ContactMap, names: Sequence[str] | None = None
) -> dict[str, Track]:
    """Reads tracks on the bins of a map.

    A bin has the mean of the values in it, weighted by their overlap with the bin. Positions that the file
    leaves out do not count as 0; a bin without any value is NaN. (`bedtools genomecov -bga` writes the
    zeros of a coverage track, `-bg` leaves them out.) Chromosomes that the map lacks are ignored, `4` and
    `chr4` stand for `Chr4`, and chromosomes that the file lacks are NaN.

    Args:
      path: a bigWig (`.bw`, `.bigWig`), a bedGraph (`.bedGraph`, `.bg`, `.bdg`), or a table `.tsv` with a
        header `chrom start end NAME ...`; the last two may end in `.gz`. Or a folder of inference, whose
        table is read.
      contact_map: names, lengths and bins of the chromosomes.
      names: the columns to read from a table, None for all. The name of the one track of a bigWig or
        bedGraph, None for the name of the file.

    Returns:
      Name -> chromosome -> values, float32 `[n_bins]`.

    Raises:
      InputError: another kind of file, a damaged one, one of another assembly, or one with wider bins.
    """
    path = pathlib.Path(path)
    if path.is_dir():
        path = path / TABLE
    stem, suffix = _split_name(path)
    if not path.is_file():
        raise InputError(f"{path} is not a file: give {_kinds()}.")
    if suffix in TABLE_SUFFIXES:
        return bin_values(path, read_table(path, names), contact_map, to_the_end=True)
    names = [stem] if names is None else list(names)
    if len(names) != 1:
        raise InputError(f"{path} has one track, but {len(names)} names are given for it: give one.")
    if suffix in BIGWIG_SUFFIXES:
        return {names[0]: _read_bigwig(path, contact_map)}
    if suffix in BEDGRAPH_SUFFIXES:
        return {names[0]: bin_values(path, read_bedgraph(path), contact_map)["value"]}
    raise InputError(f"{path} is not a file of tracks by its name: give {_kinds()}.")


def write_bigwig(path: str | os.PathLike, contact_map: ContactMap, track: Mapping[str, np.ndarray]) -> None:
    """Writes one track as a bigWig, one entry per bin that has a value.

    The header has every chromosome of the map at its true length, where the last entry ends.

    Args:
      path: of the file, which is replaced.
      contact_map: names, lengths and bins of the chromosomes.
      track: chromosome -> `[n_bins]`; NaN bins and other chromosomes have no entry.

    Raises:
      InputError: pybigtools is not installed, or no bin has a value.
    """
    pybigtools = check_pybigtools(path)
    if not any(np.isfinite(values).any() for values in track.values()):
        raise InputError(f"{path}: no bin of the track has a value, so there is nothing to write.")

    def entries() -> Iterator[tuple[str, int, int, float]]:
        # A bigWig has its chromosomes in the order of their names.
        for chrom in sorted(track):
            values = np.asarray(track[chrom], np.float64)
            starts, ends = bin_edges(contact_map, chrom)
            found = np.flatnonzero(np.isfinite(values))
            for start, end, value in zip(starts[found], ends[found], values[found], strict=True):
                yield chrom, int(start), int(end), float(value)

    with atomic_file(path) as partial:
        # The library looks at the suffix, in some spellings only.
        written = partial.with_name("track.bw")
        writer = pybigtools.open(str(written), "w")
        writer.write(contact_map.chromsizes, entries())
        written.replace(partial)


def write_table(path: str | os.PathLike, contact_map: ContactMap, tracks: Mapping[str, Track]) -> None:
    """Writes tracks as a tab-separated table with the header `chrom start end NAME ...`.

    Args:
      path: of the file, which is replaced; compressed if it ends in `.gz`.
      contact_map: names, lengths and bins of the chromosomes.
      tracks: name -> chromosome -> `[n_bins]`. Missing values are written as `nan`. All tracks have the
        chromosomes of the first.
    """
    first = next(iter(tracks.values()))
    parts = []
    for chrom in first:
        starts, ends = bin_edges(contact_map, chrom)
        columns = {name: np.asarray(track[chrom], np.float32) for name, track in tracks.items()}
        parts.append(pd.DataFrame({"chrom": chrom, "start": starts, "end": ends, **columns}))
    with atomic_file(path) as partial:
        pd.concat(parts).to_csv(partial, sep="\t", index=False, na_rep="nan")


def bin_edges(contact_map: ContactMap, chrom: str) -> tuple[np.ndarray, np.ndarray]:
    """Starts and ends of the bins of a chromosome in bp, `[n_bins]` each; the last end is its length."""
    starts = np.arange(contact_map.n_bins(chrom), dtype=np.int64) * contact_map.resolution
    return starts, np.minimum(starts + contact_map.resolution, contact_map.chromsizes[chrom])


class BigWigReader:
    """Reads a bigWig with pybigtools, in the reading process: some damaged files end the process."""

    PRELOADED = "pybigtools"

    def __init__(self, path: str):
        import pybigtools

        self._file = pybigtools.open(path)

    def lengths(self) -> Iterator[dict[str, int]]:
        """Yields the length of each chromosome in bp."""
        yield dict(self._file.chroms())

    def grid(self, chrom: str) -> Iterator[tuple[list[int], list[int]]]:
        """Yields starts and ends in bp of the first entries of a chromosome."""
        records = list(itertools.islice(self._file.records(chrom), _RECORDS_FOR_GRID))
        yield [record[0] for record in records], [record[1] for record in records]

    def means(self, chrom: str, length: int, resolution: int) -> Iterator[np.ndarray]:
        """Yields the mean of each bin over the positions that have a value, NaN where none has one."""
        whole = length // resolution
        parts = [(0, whole * resolution, whole), (whole * resolution, length, 1)]
        means = [
            self._file.values(chrom, start, end, bins=bins, summary="mean", exact=True, missing=np.nan)
            for start, end, bins in parts
            if end > start
        ]
        yield np.concatenate(means)


def _read_bigwig(path: pathlib.Path, contact_map: ContactMap) -> Track:
    check_pybigtools(path)
    reading = ReadingProcess(BigWigReader, str(path))
    lengths = reading.ask("lengths")
    chroms = matched_chromosomes(path, lengths, contact_map)
    grid = 0
    for chrom, theirs in chroms.items():
        length, found = contact_map.chromsizes[chrom], lengths[theirs]
        if not same_length(length, found, contact_map.resolution):
            raise other_assembly(path, f"{theirs} is {found:,} bp long", chrom, contact_map)
        starts, ends = reading.ask("grid", theirs)
        grid = math.gcd(grid, grid_width(np.array(starts, np.int64), np.array(ends, np.int64), length))
    check_grid(path, grid, contact_map)
    track = empty_track(contact_map)
    for chrom, theirs in chroms.items():
        length = min(contact_map.chromsizes[chrom], lengths[theirs])
        means = reading.ask("means", theirs, length, contact_map.resolution)
        track[chrom][: len(means)] = means
    return track


def _split_name(path: pathlib.Path) -> tuple[str, str]:
    """The name of a file without its suffix, and the suffix in lower case without `.gz`."""
    name = path.name[:-3] if path.name.lower().endswith(".gz") else path.name
    stem, dot, suffix = name.rpartition(".")
    return (stem, dot + suffix.lower()) if stem else (name, "")


def _kinds() -> str:
    return "a bigWig (.bw, .bigWig), a bedGraph (.bedGraph, .bg) or a table (.tsv)"


def check_pybigtools(path: str | os.PathLike) -> types.ModuleType:
    """The library that reads and writes bigWig; InputError where it is not installed."""
    try:
        import pybigtools
    except ImportError as error:
        raise InputError(
            f"{path} is a bigWig, which needs pybigtools: pip install 'hicfm_jax[tracks]', or use a table."
        ) from error
    return pybigtools
