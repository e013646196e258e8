"""Parser of text files with one contact per line."""

import collections
import contextlib
import csv
import dataclasses
import gzip
import io
import re
import zlib
from collections.abc import Iterator, Mapping
from typing import BinaryIO

import numpy as np

from hicfm_jax.contacts.chromsizes import add_length
from hicfm_jax.contacts.formats.binned_contacts import BinnedContacts
from hicfm_jax.errors import InputError

UNMAPPED = ("!", ".")  # chromosome names of unmapped sides, as pairtools writes them
BYTES_AT_ONCE = 8_000_000
LONGEST_LINE = 1_000_000
MAX_POSITION = 10**12

# The four columns that are read, named as in the specification and by pairtools.
_COLUMNS = (("chr1", "chrom1"), ("pos1",), ("chr2", "chrom2"), ("pos2",))


@dataclasses.dataclass(frozen=True)
class Header:
    """The `#` lines at the top of a file.

    Attributes:
      chromsizes: lengths in bp from `#chromsize: NAME LENGTH` lines, in their order.
      columns: numbers of the columns chr1, pos1, chr2, pos2; by default the specification's.
      lines: number of lines.
    """

    chromsizes: dict[str, int]
    columns: tuple[int, ...]
    lines: int


@dataclasses.dataclass(frozen=True)
class Contacts:
    """Contacts of some lines: chromosome numbers `[n]` into `names`, positions `[n]` in bp from 0."""

    names: list[str]
    chrom1: np.ndarray
    pos1: np.ndarray
    chrom2: np.ndarray
    pos2: np.ndarray


def read_header(path: str) -> Header:
    """Reads the lines that start with `#`.

    Raises:
      InputError: a damaged file, or an invalid `#chromsize` or `#columns` line.
    """
    chromsizes: dict[str, int] = {}
    columns, lines = (1, 2, 3, 4), 0
    with _opened(path) as file:
        while (line := file.readline(LONGEST_LINE)).startswith(b"#"):
            lines += 1
            where = f"{path}, line {lines},"
            if len(line) == LONGEST_LINE:
                raise InputError(_too_long(path, lines))
            key, _, value = line.decode("utf-8", "replace")[1:].partition(":")
            if key in ("chromsize", "chromosome"):
                fields = value.split()
                if len(fields) != 2:
                    raise InputError(f"{where} should read '#chromsize: NAME LENGTH', not {line[:60]!r}.")
                add_length(chromsizes, *fields, where.rstrip(","))
            elif key == "columns":
                columns = _find_columns(value.split(), where)
    return Header(chromsizes, columns, lines)


def read_contacts(path: str, header: Header, chromsizes: Mapping[str, int], first: int) -> Iterator[Contacts]:
    """Yields the contacts of a file, some megabytes of lines at a time, without those of unmapped sides.

    Args:
      path: the file, plain or gzipped.
      header: from `read_header`.
      chromsizes: chromosome -> length in bp.
      first: position of the first base of a chromosome, 0 or 1.

    Raises:
      InputError: names the first line that is malformed or outside its chromosome.
    """
    for first_line, block in _blocks(path, header.lines):
        try:
            contacts = _parse(block, header.columns, first)
            sizes = np.array([chromsizes[name] for name in contacts.names], dtype=np.int64)
            for chrom, position in ((contacts.chrom1, contacts.pos1), (contacts.chrom2, contacts.pos2)):
                if ((position < 0) | (position >= sizes[chrom])).any():
                    raise ValueError("a position outside its chromosome")
        except (ValueError, OverflowError, LookupError) as error:
            for number, line in enumerate(block.splitlines(), start=first_line):
                if line.strip():
                    _check_line(line, f"{path}, line {number},", _separator(block), header, chromsizes, first)
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{path} cannot be read from line {first_line} on ({reason}): make it again."
            ) from error
        yield contacts


def bin_contacts(
    path: str, header: Header, chromsizes: Mapping[str, int], resolution: int, first: int
) -> BinnedContacts:
    """Bins all contacts of a file in one pass (arguments and errors of `read_contacts`)."""
    binned = BinnedContacts(chromsizes, resolution)
    for contacts in read_contacts(path, header, chromsizes, first):
        offset = binned.offset[[binned.index[name] for name in contacts.names]]
        binned.add(
            offset[contacts.chrom1] + contacts.pos1 // resolution,
            offset[contacts.chrom2] + contacts.pos2 // resolution,
        )
    binned.flush()
    return binned


def largest_positions(path: str, header: Header, first: int) -> dict[str, int]:
    """Chromosome -> its largest position in bp from 0, in the order of appearance."""
    largest: dict[str, int] = {}
    any_name = collections.defaultdict(lambda: MAX_POSITION)
    for contacts in read_contacts(path, header, any_name, first):
        block = np.full(len(contacts.names), -1)
        np.maximum.at(block, contacts.chrom1, contacts.pos1)
        np.maximum.at(block, contacts.chrom2, contacts.pos2)
        for name, position in zip(contacts.names, block.tolist(), strict=True):
            largest[name] = max(largest.get(name, 0), position)
    return largest


@contextlib.contextmanager
def _opened(path: str) -> Iterator[BinaryIO]:
    with open(path, "rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        try:
            yield gzip.GzipFile(fileobj=file) if zipped else file
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(
                f"{path} cannot be unpacked ({error}): it may be truncated; make or fetch it again."
            ) from error


def _find_columns(names: list[str], where: str) -> tuple[int, ...]:
    found = []
    for known in _COLUMNS:
        places = [place for place, name in enumerate(names) if name in known]
        if len(places) != 1:
            raise InputError(
                f"{where} names {len(places)} columns {known[0]!r}, expected one: "
                "write '#columns: readID chr1 pos1 chr2 pos2 ...'."
            )
        found += places
    return tuple(found)


def _blocks(path: str, header_lines: int) -> Iterator[tuple[int, bytes]]:
    """Yields (number of its first line, whole lines)."""
    with _opened(path) as file:
        for _ in range(header_lines):
            file.readline()
        line, rest = header_lines + 1, b""
        while block := file.read(BYTES_AT_ONCE):
            end = block.rfind(b"\n") + 1
            lines = rest + block[:end] if end else b""
            rest = block[end:] if end else rest + block
            if len(rest) > LONGEST_LINE:
                raise InputError(_too_long(path, line + lines.count(b"\n")))
            if lines.strip():
                yield line, lines
            line += lines.count(b"\n")
        if rest.strip():
            yield line, rest


def _too_long(path: str, line: int) -> str:
    return f"{path}, line {line}, is longer than {LONGEST_LINE} characters: it is no list of contacts."


def _separator(block: bytes) -> str:
    return "\t" if b"\t" in block.lstrip().partition(b"\n")[0] else r"\s+"


def _parse(block: bytes, columns: tuple[int, ...], first: int) -> Contacts:
    import pandas as pd

    if b"\0" in block:
        raise ValueError("zero bytes")
    chrom1, pos1, chrom2, pos2 = columns
    frame = pd.read_csv(
        io.BytesIO(block),
        sep=_separator(block),
        header=None,
        names=range(max(columns) + 1),  # without names a short first line would shift the others' columns
        index_col=False,
        usecols=columns,
        dtype={chrom1: str, pos1: np.int64, chrom2: str, pos2: np.int64},
        na_filter=False,
        quoting=csv.QUOTE_NONE,
    )
    frame = frame[~(frame[chrom1].isin(UNMAPPED) | frame[chrom2].isin(UNMAPPED))]
    codes, names = pd.factorize(np.concatenate([frame[chrom1], frame[chrom2]]))
    code1, code2 = codes.reshape(2, -1)
    names = [str(name) for name in names]
    return Contacts(names, code1, frame[pos1].to_numpy() - first, code2, frame[pos2].to_numpy() - first)


def _check_line(
    line: bytes, where: str, separator: str, header: Header, chromsizes: Mapping[str, int], first: int
) -> None:
    """Raises InputError if a line breaks a rule."""
    fields = line.split(None if separator == r"\s+" else separator.encode())
    if len(fields) <= max(header.columns):
        raise InputError(
            f"{where} has {len(fields)} columns, expected at least {max(header.columns) + 1}: "
            f"readID chr1 pos1 chr2 pos2, found {line[:60]!r}."
        )
    chrom1, pos1, chrom2, pos2 = (fields[column] for column in header.columns)
    names = [chrom.decode("utf-8", "replace") for chrom in (chrom1, chrom2)]
    if set(names) & set(UNMAPPED):
        return
    for name, position in zip(names, (pos1, pos2), strict=True):
        if not re.fullmatch(rb"\d{1,18}", position.strip()):
            raise InputError(f"{where} has the position {position[:40]!r}, expected whole bp.")
        try:
            last = chromsizes[name] + first - 1
        except KeyError as error:
            raise InputError(
                f"{where} names chromosome {name[:40]!r}, which has no length: expected one of "
                f"{', '.join(list(chromsizes)[:10])[:200]}."
            ) from error
        if not first <= int(position) <= last:
            raise InputError(
                f"{where} has position {int(position)} on {name[:40]}, expected {first} to {last}: "
                "check the chromosome's length and how positions are counted."
            )
