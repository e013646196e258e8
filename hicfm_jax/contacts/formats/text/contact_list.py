"""Parser of text files with one contact per line."""

import codecs
import collections
import contextlib
import csv
import dataclasses
import functools
import gzip
import io
import re
import warnings
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import BinaryIO

import numpy as np

from hicfm_jax.contacts.chromsizes import add_length
from hicfm_jax.contacts.formats.binned_contacts import BinnedContacts
from hicfm_jax.contacts.formats.text.text_layouts import PAIRS, UNMAPPED, Layout, named_columns, recognize
from hicfm_jax.errors import InputError, InputNote

BYTES_AT_ONCE = 8_000_000
LONGEST_LINE = 1_000_000
MAX_POSITION = 10**12

_HEADER = re.compile(rb"#|(track|browser)\s")  # the words are those of a bedGraph
LINES_SEEN = 2_000  # by which the layout is recognized
BYTES_SEEN = 1_000_000


@dataclasses.dataclass(frozen=True)
class Header:
    """The lines at the top of a file, and the layout of the lines below.

    Attributes:
      chromsizes: lengths in bp that were given, or else those of `#chromsize: NAME LENGTH` lines.
      layout: the columns.
      first: position of the first base of a chromosome, 0 or 1.
      lines: number of lines of the header.
      width: of the bins in bp, if the file has pixels rather than contacts.
    """

    chromsizes: dict[str, int]
    layout: Layout
    first: int
    lines: int
    width: int | None


@dataclasses.dataclass(frozen=True)
class Contacts:
    """Contacts of some lines: chromosome numbers `[n]` into `names`, positions `[n]` in bp from 0.

    `count` is the number of contacts of each line, `[n]` float64; None stands for one each.
    """

    names: list[str]
    chrom1: np.ndarray
    pos1: np.ndarray
    chrom2: np.ndarray
    pos2: np.ndarray
    count: np.ndarray | None = None


def read_header(path: str, first: int, given: Mapping[str, int] | None = None) -> Header:
    """Reads the lines at the top that start with `#`, `track` or `browser`, and recognizes the columns below.

    Args:
      path: the file.
      first: position of the first base of a chromosome where the layout does not say it.
      given: lengths of the chromosomes, if they are not to be those of the file.

    Raises:
      InputError: a damaged file, an invalid `#chromsize` or `#columns` line, or what `recognize` refuses.
    """
    chromsizes: dict[str, int] = {}
    layout, lines, below = None, 0, []
    with _opened(path) as file:
        while _HEADER.match(line := file.readline(LONGEST_LINE)):
            lines += 1
            if line.startswith(b"## pairs format"):
                layout = PAIRS
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
                layout = named_columns(value.split())
                if layout is None:
                    raise InputError(
                        f"{where} should name each of the columns chr1, pos1, chr2 and pos2 once: "
                        "write '#columns: readID chr1 pos1 chr2 pos2 ...'."
                    )
        if not layout and (layout := named_columns(line.decode("utf-8", "replace").split())):
            lines, line = lines + 1, file.readline(LONGEST_LINE)
        while line and len(below) < LINES_SEEN and sum(map(len, below)) < BYTES_SEEN:
            below += [line] if line.strip() else []
            line = file.readline(LONGEST_LINE)
    sizes = dict(given or chromsizes)
    if not layout and (layout := recognize(below, path, sizes)) != PAIRS:
        places = ", ".join(str(column + 1) for column in layout.columns)
        warnings.warn(
            InputNote(f"{path} is read as {layout.title}: contacts are in the columns {places}."),
            stacklevel=2,
        )
    width = None if layout.end is None else _bin_width(below, layout, path)
    return Header(sizes, layout, first if layout.first is None else layout.first, lines, width)


def read_contacts(path: str, header: Header, chromsizes: Mapping[str, int]) -> Iterator[Contacts]:
    """Yields the contacts of a file, some megabytes of lines at a time, without those of unmapped sides.

    Args:
      path: the file, plain or gzipped.
      header: from `read_header`.
      chromsizes: chromosome -> length in bp.

    Raises:
      InputError: names the first line that is malformed or outside its chromosome.
    """
    for first_line, block in _blocks(path, header.lines):
        try:
            contacts = _parse(block, header)
            sizes = np.array([chromsizes[name] for name in contacts.names], dtype=np.int64)
            for chrom, position in ((contacts.chrom1, contacts.pos1), (contacts.chrom2, contacts.pos2)):
                if ((position < 0) | (position >= sizes[chrom])).any():
                    raise ValueError("a position outside its chromosome")
        except (ValueError, OverflowError, LookupError) as error:
            for number, line in enumerate(block.splitlines(), start=first_line):
                if line.strip():
                    _check_line(line, f"{path}, line {number},", _separator(block), header, chromsizes)
            reason = " ".join(str(error).split())[:200]
            raise InputError(
                f"{path} cannot be read from line {first_line} on ({reason}): make it again."
            ) from error
        yield contacts


def bin_contacts(path: str, header: Header, chromsizes: Mapping[str, int], resolution: int) -> BinnedContacts:
    """Bins all contacts of a file in one pass (arguments of `read_contacts`).

    Raises:
      InputError: see `read_contacts`; also pixels that are listed on both sides of the diagonal.
    """
    binned = BinnedContacts(chromsizes, resolution, np.int32 if header.layout.count is None else np.float64)
    for contacts in read_contacts(path, header, chromsizes):
        offset = binned.offset[[binned.index[name] for name in contacts.names]]
        binned.add(
            offset[contacts.chrom1] + contacts.pos1 // resolution,
            offset[contacts.chrom2] + contacts.pos2 // resolution,
            contacts.count,
        )
    binned.finish(path)
    return binned


def largest_positions(path: str, header: Header) -> dict[str, int]:
    """Chromosome -> its largest position in bp from 0, in the order of appearance."""
    largest: dict[str, int] = {}
    any_name = collections.defaultdict(lambda: MAX_POSITION)
    for contacts in read_contacts(path, header, any_name):
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
        text = gzip.GzipFile(fileobj=file) if zipped else file
        try:
            start = text.read(3)
            if start[:2] in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
                raise InputError(f"{path} is text in UTF-16: convert it with iconv -f UTF-16 -t UTF-8.")
            if start != codecs.BOM_UTF8:  # which some editors write
                text.seek(0)
            yield text
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InputError(
                f"{path} cannot be unpacked ({error}): it may be truncated; make or fetch it again."
            ) from error


def _bin_width(lines: Sequence[bytes], layout: Layout, path: str) -> int:
    """The width in bp of most of the bins on the first lines."""
    widths: collections.Counter = collections.Counter()
    for line in lines:
        with contextlib.suppress(LookupError, ValueError):
            fields = line.split(b"\t" if b"\t" in line else None)
            widths[int(fields[layout.end]) - int(fields[layout.columns[1]])] += 1
    (width, _), *_ = widths.most_common(1) or [(0, 0)]
    if width <= 0:
        raise InputError(f"{path} holds no bins: expected lines chrom1 start1 end1 chrom2 start2 end2 count.")
    return width


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


def _parse(block: bytes, header: Header) -> Contacts:
    import pandas as pd

    if b"\0" in block:
        raise ValueError("zero bytes")
    chrom1, pos1, chrom2, pos2 = columns = header.layout.columns
    counts = [] if header.layout.count is None else [header.layout.count]
    read = functools.partial(
        pd.read_csv,
        sep=_separator(block),
        header=None,
        names=range(max(*columns, *counts) + 1),  # a short first line would shift the others' columns
        index_col=False,
        usecols=[*columns, *counts],
        na_filter=False,
        quoting=csv.QUOTE_NONE,
    )
    types = {chrom1: str, chrom2: str, **dict.fromkeys(counts, np.float64)}
    try:
        frame = read(io.BytesIO(block), dtype={**types, pos1: np.int64, pos2: np.int64})
    except ValueError:
        frame = read(io.BytesIO(block), dtype={**types, pos1: str, pos2: str})
    frame = frame[~(frame[chrom1].isin(UNMAPPED) | frame[chrom2].isin(UNMAPPED))]
    for column in (pos1, pos2):
        # As words where unmapped sides have no position.
        if frame[column].dtype != np.int64:
            if not frame[column].str.fullmatch(r"[0-9]{1,18}").all():
                raise ValueError("a position that is no number")
            frame = frame.astype({column: np.int64})
    codes, names = pd.factorize(np.concatenate([frame[chrom1], frame[chrom2]]))
    code1, code2 = codes.reshape(2, -1)
    places = [frame[column].to_numpy() - header.first for column in (pos1, pos2)]
    count = frame[counts[0]].to_numpy() if counts else None
    return Contacts([str(name) for name in names], code1, places[0], code2, places[1], count)


def _check_line(
    line: bytes, where: str, separator: str, header: Header, chromsizes: Mapping[str, int]
) -> None:
    """Raises InputError if a line breaks a rule."""
    fields = line.split(None if separator == r"\s+" else separator.encode())
    layout, first = header.layout, header.first
    last_column = max(*layout.columns, layout.count or 0)
    if len(fields) <= last_column:
        columns = "readID chr1 pos1 chr2 pos2" if layout == PAIRS else layout.title
        raise InputError(
            f"{where} has {len(fields)} columns, expected at least {last_column + 1}: "
            f"{columns}, found {line[:60].decode('utf-8', 'replace')!r}."
        )
    chrom1, pos1, chrom2, pos2 = (fields[column] for column in layout.columns)
    names = [chrom.decode("utf-8", "replace") for chrom in (chrom1, chrom2)]
    if set(names) & set(UNMAPPED):
        return
    for name, position in zip(names, (pos1, pos2), strict=True):
        if not re.fullmatch(rb"\d{1,18}", position.strip()):
            found = position[:40].decode("utf-8", "replace")
            raise InputError(f"{where} has the position {found!r}, expected whole bp.")
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
