"""Layouts of text files of contacts, recognized from their first lines."""

import collections
import dataclasses
import re
from collections.abc import Collection, Sequence

from hicfm_jax.errors import InputError

UNMAPPED = ("!", ".")  # chromosome names of unmapped sides, as pairtools writes them
_UNMAPPED = {name.encode() for name in UNMAPPED}
EVIDENCE = 20  # lines from which the names of chromosomes tell whether columns are what they seem

# Column names, as in the 4DN specification, by pairtools and by `cooler dump --join --header`.
_COLUMNS = (("chr1", "chrom1"), ("pos1", "start1"), ("chr2", "chrom2"), ("pos2", "start2"))
_EXPECTED = (
    "readID chr1 pos1 chr2 pos2 (.pairs), Juicer's short, medium or long format, HiC-Pro's allValidPairs, or "
    "chrom1 start1 end1 chrom2 start2 end2 count (cooler dump --join)"
)
# What a field of a line may be, by the letter that `Layout.fields` has for it: "NPNPQ" is a name, a position,
# a name, a position and a number.
_KINDS = {
    "A": rb"\S.*|",  # anything
    "N": rb"\S.*",  # name
    "P": rb"\d{1,18}",  # position
    "I": rb"-?\d{1,18}",  # integer
    "S": rb"[+.-]|0|-?1|16",  # strand
    "T": rb"[+-]",  # strand of a mapped read
    "Q": rb"-?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?|nan",  # quantity
    "C": rb"\*|(\d+[MIDNSHPX=])+",  # CIGAR
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """The columns of a text file of contacts.

    Attributes:
      title: for messages.
      fields: kinds of the first columns, one letter of `_KINDS` each.
      columns: numbers of the columns chr1, pos1, chr2, pos2.
      first: position of the first base of a chromosome, 0 or 1; None = that of the file's suffix.
      exact: whether there are no further columns.
      count: number of the column of counts; None = one contact per line.
      end: number of the column of the ends of bins; None = positions of reads.
    """

    title: str
    fields: str
    columns: tuple[int, ...]
    first: int | None = None
    exact: bool = False
    count: int | None = None
    end: int | None = None


PAIRS = Layout("pairs", "ANPNP", (1, 2, 3, 4))
PIXELS = Layout("pixels of cooler dump --join or a 2D bedGraph", "NPPNPPQ", (0, 1, 3, 4), 0, count=6, end=2)

# https://github.com/aidenlab/juicer/wiki/Pre, https://nservant.github.io/HiC-Pro/RESULTS.html and
# https://cooler.readthedocs.io/en/latest/datamodel.html; the first of equally good ones is taken.
LAYOUTS = (
    Layout("Juicer's long format (merged_nodups)", "SNPISNPIICAICA", (1, 2, 5, 6), 1),
    Layout("Juicer's medium format", "ASNPISNPIII", (2, 3, 6, 7), 1, exact=True),
    Layout("Juicer's short format", "SNPISNPI", (1, 2, 5, 6), 1, exact=True),
    Layout("Juicer's short format with scores", "SNPISNPIQ", (1, 2, 5, 6), 1, exact=True, count=8),
    Layout("HiC-Pro's allValidPairs", "ANPTNPT", (1, 2, 4, 5), 1),
    PIXELS,
    Layout("lines of chr1 pos1 strand1 chr2 pos2 strand2", "NPSNPS", (0, 1, 3, 4), exact=True),
    PAIRS,
    Layout("lines of chr1 pos1 chr2 pos2 count", "NPNPQ", (0, 1, 2, 3), exact=True, count=4),
    Layout("lines of chr1 pos1 chr2 pos2", "NPNP", (0, 1, 2, 3), exact=True),
)


def named_columns(names: Sequence[str]) -> Layout | None:
    """The layout of a header that names the columns; None if it does not name the four of a contact once."""
    found = []
    for known in _COLUMNS:
        places = [place for place, name in enumerate(names) if name.lower() in known]
        if len(places) != 1:
            return None
        found += places
    pixels = "end1" in names and "count" in names
    count, end = (names.index("count"), names.index("end1")) if pixels else (None, None)
    return Layout("columns that it names", "", tuple(found), 0 if pixels else None, count=count, end=end)


def recognize(lines: Sequence[bytes], path: str, known: Collection[str]) -> Layout:
    """The layout that the first lines of a file fit best.

    Args:
      lines: of contacts, without the header.
      path: for messages.
      known: names of chromosomes; empty if they are not known.

    Raises:
      InputError: a matrix without chromosomes, a track, or columns that cannot be those of contacts.
    """
    rows = _rows(lines)
    _refuse_matrix(rows, path)
    _refuse_track(rows, path)
    fitting = [(layout, _sides(layout, rows)) for layout in LAYOUTS]
    fitting = [(layout, sides) for layout, sides in fitting if len(sides) > len(rows) / 2]
    if not fitting:
        return PAIRS  # whose reader names the first line that is none
    layout, sides = min(fitting, key=lambda each: _doubts(each[1], len(rows), known))
    one, two = (set(side) - _UNMAPPED for side in zip(*sides, strict=True))
    numbers = [all(name.isdigit() for name in side) for side in (one, two)]
    strange = len(one | two) > 2 and not one & two and numbers[0] != numbers[1]
    if not known and len(sides) >= EVIDENCE and (strange or len(one | two) > len(sides) / 2):
        listed = b", ".join(sorted(one)[:3] + sorted(two)[:3]).decode("utf-8", "replace")
        raise InputError(
            f"{path} would have {len(one | two)} chromosomes ({listed[:100]}, ...) in its first {len(sides)} "
            f"lines, so its columns are others: expected {_EXPECTED}; if they are right, give their lengths "
            "with chromsizes=FILE."
        )
    return layout


def are_pixels(lines: Sequence[bytes]) -> bool:
    """Whether all lines have the seven columns of `PIXELS`, as those of a 2D bedGraph have."""
    return len(_sides(PIXELS, _rows(lines))) == len(lines) > 0


def _rows(lines: Sequence[bytes]) -> list[list[bytes]]:
    split = b"\t" if lines and b"\t" in lines[0] else None
    return [[field.strip() for field in line.split(split)] for line in lines]


def _sides(layout: Layout, rows: Sequence[Sequence[bytes]]) -> list[tuple[bytes, bytes]]:
    """The chromosomes of the lines that have the fields of a layout."""
    found = []
    for row in rows:
        if len(row) < len(layout.fields) or (layout.exact and len(row) > len(layout.fields)):
            continue
        chrom1, pos1, chrom2, pos2 = (row[column] for column in layout.columns)
        kinds = list(zip(layout.fields, row, strict=False))
        if {chrom1, chrom2} & _UNMAPPED:
            kinds = [(kind, field) for kind, field in kinds if kind not in "PI"]
        whole = len(kinds) == len(layout.fields)
        if not all(re.fullmatch(_KINDS[kind], field) for kind, field in kinds):
            continue
        if not whole or layout.end is None or int(row[layout.end]) > int(pos1):
            found.append((chrom1, chrom2))
    return found


def _doubts(sides: Sequence[tuple[bytes, bytes]], lines: int, known: Collection[str]) -> tuple[int, ...]:
    names = collections.Counter(name for side in sides for name in side if name not in _UNMAPPED)
    unknown = sum(count for name, count in names.items() if name.decode("utf-8", "replace") not in known)
    unmapped = 2 * len(sides) - names.total()
    unfit = 2 * (lines - len(sides))
    return unfit + (unknown if known else 0) + unmapped, len(names), sum(name.isdigit() for name in names)


def _refuse_matrix(rows: Sequence[Sequence[bytes]], path: str) -> None:
    columns = {len(row) for row in rows}
    if len(columns) != 1 or not all(re.fullmatch(_KINDS["Q"], field) for row in rows for field in row):
        return
    (width,) = columns
    if width == 3:
        raise InputError(
            f"{path} is a sparse matrix without chromosomes (bin1 bin2 count): rename it to .matrix and put "
            "its bins, lines of chromosome, start, end and number, beside it as FILE_abs.bed, or write it "
            "with cooler dump --join."
        )
    if width > 16 or 6 <= width == len(rows):
        raise InputError(
            f"{path} is a matrix of {width} columns without chromosomes, and contacts have the columns "
            f"{_EXPECTED}: save it for one chromosome with numpy.save('map.npy', numpy.loadtxt(FILE))."
        )


def _refuse_track(rows: Sequence[Sequence[bytes]], path: str) -> None:
    """Raises InputError for a 1D bedGraph, whose whole values could be positions on chromosomes 1, 2, ..."""
    for row in rows:
        fits = len(row) == 4 and all(map(re.fullmatch, map(_KINDS.get, "NPPQ"), row))
        if not fits or int(row[2]) <= int(row[1]):
            return
    if rows:
        raise InputError(
            f"{path} is a track, a 1D bedGraph of chromosome, start, end and value, and no contact map, "
            "whose lines are chrom1 start1 end1 chrom2 start2 end2 count: give it where a track is expected, "
            "named .bedgraph."
        )
