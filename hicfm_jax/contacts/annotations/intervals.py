"""Values on intervals of a genome: text files, and means over the bins of a map."""

import gzip
import itertools
import math
import pathlib
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import TextIO

import numpy as np
import pandas as pd

from hicfm_jax.contacts.contact_map import ContactMap, bare_name, listed
from hicfm_jax.contacts.formats.text.text_layouts import are_pixels
from hicfm_jax.errors import InputError

Track = dict[str, np.ndarray]
"""Chromosome -> one value per bin, NaN where there is none."""

UNREADABLE = (OSError, EOFError, zlib.error, ValueError)
"""What reading a damaged text file raises; a `UnicodeDecodeError` is a `ValueError`."""

BIN_COLUMNS = ("chrom", "start", "end")
MISSING = ["", "NA", "nan", "NaN", "."]


def open_text(path: pathlib.Path) -> TextIO:
    """Opens a text file, plain or gzipped, with or without a byte order mark."""
    opened = gzip.open if path.suffix.lower() == ".gz" else open
    return opened(path, "rt", encoding="utf-8-sig")


def interval_lines(
    path: pathlib.Path, remedy: str, gff: bool = False
) -> Iterator[tuple[str, list[str], int, int]]:
    """Yields each interval of a BED or GFF file: its line, for messages, its fields, start and end in bp.

    Starts are 0-based. Blank lines, comments, `track` and `browser` lines and the sequences of a GFF file are
    left out. Fields are separated by tabs, or by spaces in a line without tabs. `remedy` ends the messages.

    Raises:
      InputError: no such file, or a line that is no interval.
    """
    columns, least, expected = (1, 2), 3, "a chromosome, a start and an end"
    if gff:
        columns, least, expected = (3, 4), 8, "nine columns of GFF"
    if path.is_dir() or not path.exists():
        raise InputError(f"{path} cannot be read, it is not a file: {remedy}.")
    try:
        with open_text(path) as file:
            features = itertools.takewhile(lambda line: not line.startswith("##FASTA"), file)
            for number, line in enumerate(map(str.strip, features), 1):
                if not line or line.startswith(("#", "track", "browser")):
                    continue
                fields, where = line.split("\t" if "\t" in line else None), f"{path}, line {number},"
                ends = [fields[column].strip() for column in columns if len(fields) >= least]
                if not ends or not all(map(str.isdecimal, ends)):
                    raise InputError(
                        f"{where} is {line[:60]!r}, expected {expected}, separated by tabs: {remedy}."
                    )
                yield where, fields, int(ends[0]) - gff, int(ends[1])
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read ({error}): {remedy}.") from error


def read_bedgraph(path: pathlib.Path) -> pd.DataFrame:
    """The columns chrom, start, end and value of a bedGraph, in its order.

    Raises:
      InputError: the file is no bedGraph, or a 2D one of contacts.
    """
    skipped = 0
    try:
        with open_text(path) as file:
            while (line := file.readline()).startswith(("#", "track", "browser")):
                skipped += 1
        if are_pixels([line.encode()]):
            raise InputError(
                f"{path} is a contact map, a 2D bedGraph of chrom1, start1, end1, chrom2, start2, end2 and "
                "count, and no track, whose lines are chromosome, start, end and value: give it where a map "
                "is expected, named .bedgraph."
            )
        return pd.read_csv(
            path,
            sep=r"\s+",
            header=None,
            skiprows=skipped,
            names=[*BIN_COLUMNS, "value"],
            index_col=False,
            usecols=range(4),
            dtype={"chrom": str, "start": np.int64, "end": np.int64, "value": np.float64},
            keep_default_na=False,
            na_values={"value": MISSING},
        )
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a bedGraph ({_short(error)}): its lines must have a chromosome, a "
            "start, an end and a number."
        ) from error


def read_table(path: pathlib.Path, names: Sequence[str] | None) -> pd.DataFrame:
    """The columns chrom, start, end and `names` of a tab-separated table with a header; None reads all.

    Raises:
      InputError: the file is no such table, or has no column of a name.
    """
    try:
        with open_text(path) as file:
            header = file.readline().rstrip("\r\n").removeprefix("#").split("\t")
        if header[0] == "chr":
            header[0] = "chrom"
        names = _checked_names(path, header, names)
        return pd.read_csv(
            path,
            sep="\t",
            header=0,
            names=header,
            index_col=False,
            usecols=[*BIN_COLUMNS, *names],
            dtype={"chrom": str, "start": np.int64, "end": np.int64, **dict.fromkeys(names, np.float64)},
            keep_default_na=False,
            na_values=dict.fromkeys(names, MISSING),
        )[[*BIN_COLUMNS, *names]]
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read as a table ({_short(error)}): start and end must be whole bp, and tracks "
            "must be numbers or nan."
        ) from error


def bin_values(
    path: pathlib.Path, frame: pd.DataFrame, contact_map: ContactMap, to_the_end: bool = False
) -> dict[str, Track]:
    """Means of each column in the bins of a map, weighted by the overlap of intervals and bins.

    Args:
      path: of the file, for messages.
      frame: chrom, start and end of intervals in bp, and columns of values.
      contact_map: names, lengths and bins of the chromosomes.
      to_the_end: whether intervals without gaps are expected to reach the end of their chromosome.

    Raises:
      InputError: intervals of another assembly, or wider than the bins of the map.
    """
    names = [name for name in frame.columns if name not in BIN_COLUMNS]
    if frame.empty:
        raise InputError(f"{path} has no intervals: give a file with values.")
    wrong = frame[(frame["start"] < 0) | (frame["end"] <= frame["start"])]
    if len(wrong):
        chrom, start, end = wrong.iloc[0][list(BIN_COLUMNS)]
        raise InputError(f"{path} has the interval {chrom}:{start}-{end}: each must end after its start.")
    groups = dict(iter(frame.groupby("chrom", sort=False)))
    chroms = matched_chromosomes(path, groups, contact_map)
    grid = 0
    for chrom, theirs in chroms.items():
        starts, ends = groups[theirs]["start"].to_numpy(), groups[theirs]["end"].to_numpy()
        grid = math.gcd(grid, grid_width(starts, ends, contact_map.chromsizes[chrom]))
    for chrom, theirs in chroms.items():
        _check_ends(path, groups[theirs].sort_values("start"), grid, chrom, contact_map, to_the_end)
    check_grid(path, grid, contact_map)
    tracks = {name: empty_track(contact_map) for name in names}
    for chrom, theirs in chroms.items():
        group = groups[theirs]
        starts, ends = group["start"].to_numpy(), group["end"].to_numpy()
        for name in names:
            n_bins = contact_map.n_bins(chrom)
            values = group[name].to_numpy()
            tracks[name][chrom] = _overlap_means(starts, ends, values, contact_map.resolution, n_bins)
    return tracks


def _overlap_means(
    starts: np.ndarray, ends: np.ndarray, values: np.ndarray, resolution: int, n_bins: int
) -> np.ndarray:
    """Means of values on intervals `[n]`, in bins `[n_bins]`, weighted by their overlap in bp."""
    known = np.isfinite(values)
    starts, ends, values = starts[known], ends[known], values[known]
    first, last = starts // resolution, (ends - 1) // resolution
    repeats = last - first + 1
    offsets = np.arange(repeats.sum()) - np.repeat(np.cumsum(repeats) - repeats, repeats)
    bins = np.repeat(first, repeats) + offsets
    overlap = np.minimum(np.repeat(ends, repeats), (bins + 1) * resolution)
    overlap -= np.maximum(np.repeat(starts, repeats), bins * resolution)
    inside = bins < n_bins  # the last interval may overhang the chromosome
    bins, overlap, values = bins[inside], overlap[inside], np.repeat(values, repeats)[inside]
    length = np.bincount(bins, overlap, n_bins)
    total = np.bincount(bins, overlap * values, n_bins)
    return np.divide(total, length, out=np.full(n_bins, np.nan), where=length > 0).astype(np.float32)


def matched_chromosomes(
    path: pathlib.Path, names: Mapping[str, object], contact_map: ContactMap
) -> dict[str, str]:
    """The map's chromosomes that the file has -> their names in the file."""
    bare = {bare_name(name): name for name in names}
    found = {}
    for chrom in contact_map.chromsizes:
        if chrom in names:
            found[chrom] = chrom
        elif bare_name(chrom) in bare:
            found[chrom] = bare[bare_name(chrom)]
    if not found:
        raise InputError(
            f"{path} has the chromosomes {listed(names, 5)}, and {contact_map.name} has "
            f"{listed(contact_map.chromsizes, 5)}: give tracks of the same assembly, with the same names."
        )
    return found


def _check_ends(
    path: pathlib.Path,
    intervals: pd.DataFrame,
    grid: int,
    chrom: str,
    contact_map: ContactMap,
    to_the_end: bool,
) -> None:
    """Raises InputError if sorted intervals pass the end of a chromosome, or should reach it and do not.

    The last bin of the file or of the map may overhang the chromosome.
    """
    starts, ends = intervals["start"].to_numpy(), intervals["end"].to_numpy()
    length, end = contact_map.chromsizes[chrom], int(ends.max())
    widths = [width for width in (grid, contact_map.resolution) if width > 0]
    beyond = end > max(-(-length // width) * width for width in widths)
    without_gaps = starts[0] == 0 and np.array_equal(starts[1:], ends[:-1])
    too_short = to_the_end and without_gaps and end + max(widths) < length
    if beyond or too_short:
        raise other_assembly(path, f"its intervals end at {end:,} bp", chrom, contact_map)


def other_assembly(path: pathlib.Path, found: str, chrom: str, contact_map: ContactMap) -> InputError:
    """The error for a file of which `found` disagrees with a chromosome of the map."""
    return InputError(
        f"{path} is of another assembly than {contact_map.name}: {found}, and {chrom} of the map is "
        f"{contact_map.chromsizes[chrom]:,} bp long; give tracks of the map's assembly."
    )


def same_length(ours: int, theirs: int, resolution: int) -> bool:
    """Whether lengths agree; files of some programs round them up to whole bins."""
    rounded = -(-ours // resolution) == -(-theirs // resolution) and 0 in (
        ours % resolution,
        theirs % resolution,
    )
    return ours == theirs or rounded


def grid_width(starts: np.ndarray, ends: np.ndarray, length: int) -> int:
    """The largest width in bp of which all edges within a chromosome are multiples; 0 without any."""
    edges = np.concatenate([starts, ends[ends < length]])
    edges = edges[edges < length]
    return int(np.gcd.reduce(edges)) if len(edges) else 0


def check_grid(path: pathlib.Path, grid: int, contact_map: ContactMap) -> None:
    """Raises InputError if all intervals of a file are multiples of more than a bin of the map."""
    if grid > contact_map.resolution:
        raise InputError(
            f"{path} has bins of {grid:,} bp, wider than the {contact_map.resolution:,} bp of "
            f"{contact_map.name}: open the map at {grid:,} bp or give finer tracks."
        )


def empty_track(contact_map: ContactMap) -> Track:
    """Every chromosome of the map without values."""
    return {chrom: np.full(contact_map.n_bins(chrom), np.nan, np.float32) for chrom in contact_map.chromsizes}


def _checked_names(path: pathlib.Path, header: list[str], names: Sequence[str] | None) -> list[str]:
    """The columns to read, None for all of them."""
    tracks = header[len(BIN_COLUMNS) :]
    if tuple(header[: len(BIN_COLUMNS)]) != BIN_COLUMNS or not tracks:
        raise InputError(
            f"{path} starts with the columns {', '.join(header[:4])[:80]}: expected a tab-separated table "
            "with the header chrom, start, end and names of tracks."
        )
    if len(set(tracks)) < len(tracks):
        raise InputError(f"{path} has two columns of the same name: give each track a name of its own.")
    for name in names or ():
        if name not in tracks:
            raise InputError(f"{path} has no track {name!r}: choose from {', '.join(tracks)}.")
    return tracks if names is None else list(names)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:120]
