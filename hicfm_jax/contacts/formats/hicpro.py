"""HiC-Pro matrices: a text file of pixels with the table of its bins beside it."""

import os
import re
from collections.abc import Iterator

import numpy as np

from hicfm_jax.contacts.chromsizes import add_length, check_bins, choose_resolution
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats.binned_contacts import CONTACTS_AT_ONCE, BinnedContacts
from hicfm_jax.errors import InputError


def open_matrix(path: str, resolution: int | None = None, group: str = "") -> ContactMap:
    """Opens `FILE.matrix` of HiC-Pro: lines `bin1 bin2 count`, bins numbered as in its BED file.

    Source: https://nservant.github.io/HiC-Pro/RESULTS.html.

    Args:
      path: the file.
      resolution: bin width in bp; None takes the file's, a multiple is summed up.
      group: the BED file of the bins (chromosome, start, end, number), as in `FILE.matrix::BINS.bed`.
        Default: `FILE_abs.bed` or `FILE.bed` beside it.

    Raises:
      InputError: no BED file, bins that are not as wide as one another, or a malformed line.
    """
    table = group or _table_beside(path)
    sizes, width, chroms, starts, first = _read_bins(table)
    choose_resolution(path, [width], resolution)
    check_bins(sizes, width, table)
    binned = BinnedContacts(sizes, width, np.float64)
    places = binned.offset[chroms] + starts // width
    for bin1, bin2, count in _pixels(path, first, len(places)):
        binned.add(places[bin1], places[bin2], count)
    binned.finish(path)
    stored = binned.as_map(path)
    return stored if resolution in (None, width) else stored.coarsen(resolution // width)


def _table_beside(path: str) -> str:
    base = os.path.splitext(path)[0]
    plain = base.removesuffix("_iced").replace(f"{os.sep}iced{os.sep}", f"{os.sep}raw{os.sep}")
    names = [f"{each}{ending}" for each in dict.fromkeys((base, plain)) for ending in ("_abs.bed", ".bed")]
    for name in names:
        if os.path.isfile(name):
            return name
    raise InputError(
        f"{path} has bin numbers only, and {os.path.basename(names[0])} is not beside it: give the BED file "
        f"of its bins as {path}::BINS.bed."
    )


def _read_bins(table: str) -> tuple[dict[str, int], int, np.ndarray, np.ndarray, int]:
    """Chromosome lengths, bin width (bp), chromosome and start of each bin, and the first bin's number."""
    if not os.path.isfile(table):
        raise InputError(f"{table} is not a file: give the BED file of the bins.")
    ends: dict[str, int] = {}
    chroms, starts, widths, first = [], [], set(), None
    with open(table, encoding="utf-8", errors="replace") as file:
        for number, line in enumerate(file):
            fields = line.split()
            if len(fields) < 4 or not all(field.isdecimal() for field in fields[1:4]):
                raise InputError(
                    f"{table}, line {number + 1}: expected chromosome, start, end and number of a bin, found "
                    f"{line[:60]!r}."
                )
            start, end, index = map(int, fields[1:4])
            first = index if first is None else first
            if index != first + number or start != ends.get(fields[0], 0) or end <= start:
                raise InputError(f"{table}, line {number + 1}: expected the bin that follows, in its order.")
            if start:
                widths.add(starts[-1][1] - starts[-1][0])
            ends[fields[0]] = end
            chroms.append(fields[0])
            starts.append((start, end))
    widths = widths or {max((end - start for start, end in starts), default=0)}
    if len(widths) != 1 or 0 in widths:
        raise InputError(f"{table} has bins of {len(widths)} widths, expected one width: bin it again.")
    sizes: dict[str, int] = {}
    for name, size in ends.items():
        add_length(sizes, name, str(size), table)
    order = {name: index for index, name in enumerate(sizes)}
    numbers = np.array([order[name] for name in chroms])
    return sizes, widths.pop(), numbers, np.array(starts, np.int64)[:, 0], first


def _pixels(path: str, first: int, bins: int) -> Iterator[tuple[np.ndarray, ...]]:
    """Bins, counted from 0, and counts of some millions of lines at a time."""
    import pandas as pd

    types = {0: np.int64, 1: np.int64, 2: np.float64}
    try:
        parts = pd.read_csv(
            path,
            sep=r"\s+",
            header=None,
            names=[0, 1, 2],
            dtype=types,
            chunksize=CONTACTS_AT_ONCE,
            comment="#",
        )
        for part in parts:
            bin1, bin2, count = (part[column].to_numpy() for column in types)
            bin1, bin2 = bin1 - first, bin2 - first
            if min(bin1.min(), bin2.min()) < 0 or max(bin1.max(), bin2.max()) >= bins:
                raise ValueError("a bin that its BED file does not have")
            yield bin1, bin2, count
    except (ValueError, OverflowError) as error:
        with open(path, "rb") as file:
            for number, line in enumerate(file, start=1):
                fields = re.fullmatch(rb"\s*(\d{1,18})\s+(\d{1,18})\s+[-+.\deE]+\s*|\s*(#.*)?", line)
                numbers = [int(field) - first for field in (fields.groups()[:2] if fields else ()) if field]
                if not fields or any(not 0 <= bin_number < bins for bin_number in numbers):
                    raise InputError(
                        f"{path}, line {number}, is {line[:60]!r}, expected two bins from {first} to "
                        f"{first + bins - 1} and a count: give the BED file of this matrix."
                    ) from error
        raise InputError(f"{path} cannot be read as lines of bin1, bin2 and count: {error}.") from error
