"""Chromosome lengths and resolutions: reading, checking and choosing them."""

import os
from collections.abc import Iterable, Mapping

from hicfm_jax.errors import InputError
from hicfm_jax.storage import check_text

# Of one chromosome: the longest known ones (4 Gb) have a tenth of it at 2 kb, damaged headers more.
MAX_BINS = 20_000_000
MAX_GENOME_BINS = 2**31 - 1
MOST_CHROMOSOMES = 500  # of a .hic: 400 take 11 s, 700 take 55 s; of an .npz: 500 take 50 s
COARSEST_BINS = 200  # of the genome at the coarsest zoom level: about one screen tile


def read_chromsizes(chromsizes: Mapping[str, int] | str | os.PathLike | None) -> dict[str, int] | None:
    """Chromosome name -> length in bp, in order; None stays None.

    Args:
      chromsizes: a mapping, or a text file with a name and a length on each line.

    Raises:
      InputError: no such file, an invalid line or length, a repeated name, or no chromosome at all.
    """
    if chromsizes is None:
        return None
    sizes: dict[str, int] = {}
    if isinstance(chromsizes, Mapping):
        for name, size in chromsizes.items():
            add_length(sizes, str(name), str(size), f"chromsizes of {name}")
    else:
        _read_file(os.fspath(chromsizes), sizes)
    if not sizes:
        raise InputError(f"chromsizes={chromsizes} names no chromosome: give names and lengths in bp.")
    return sizes


def add_length(sizes: dict[str, int], name: str, size: str, where: str) -> None:
    """Adds a chromosome to `sizes`; InputError if its length is invalid or its name is repeated."""
    if not (size.isascii() and size.isdecimal() and len(size) < 19 and int(size) > 0):
        raise InputError(f"{where}: {size[:40]!r} is no length: expected whole bp above 0 for {name[:40]!r}.")
    if name in sizes:
        raise InputError(f"{where}: chromosome {name[:40]!r} comes twice: name each one once.")
    sizes[name] = int(size)


def check_name(chrom: str, path: str) -> None:
    """Raises InputError for a name that is empty, longer than 200 characters or not printable."""
    if not (chrom.isprintable() and 0 < len(chrom) <= 200):
        raise InputError(f"{path} names a chromosome {chrom[:40]!r}: expected 1 to 200 printable characters.")


def check_number(path: str, chromsizes: Mapping[str, int]) -> None:
    """Raises InputError for more chromosomes than a format that is written pair by pair should have."""
    if len(chromsizes) > MOST_CHROMOSOMES:
        raise InputError(
            f"{path}: the time to write this format grows with the square of the chromosomes, expected at "
            f"most {MOST_CHROMOSOMES}, found {len(chromsizes)}: write .mcool or .pairs."
        )


def check_bins(chromsizes: Mapping[str, int], resolution: int, path: str) -> None:
    """Raises InputError for chromosome names or numbers of bins that only damaged files have."""
    for chrom in chromsizes:
        check_name(chrom, path)
    bins = {chrom: -(-size // resolution) for chrom, size in chromsizes.items()}
    largest = max(bins, key=bins.get)
    if bins[largest] > MAX_BINS:
        raise InputError(
            f"{path}: chromosome {largest[:40]!r} of {chromsizes[largest]} bp has {bins[largest]} bins at "
            f"{resolution} bp, expected at most {MAX_BINS}: mend its length or choose wider bins."
        )
    if sum(bins.values()) > MAX_GENOME_BINS:
        raise InputError(
            f"{path} has {sum(bins.values())} bins at {resolution} bp, expected at most {MAX_GENOME_BINS}: "
            "choose wider bins."
        )


def need_resolution(resolution: int | None, path: str) -> int:
    """The bin width in bp, for formats that do not store one."""
    if resolution is None:
        raise InputError(f"{path} does not say how wide its bins are: choose a width with resolution=BP.")
    return int(resolution)


def _read_file(path: str, sizes: dict[str, int]) -> None:
    if not os.path.isfile(path):
        raise InputError(
            f"chromsizes={path} is no file: give a text file of names and lengths, or a mapping."
        )
    check_text(path)
    with open(path, encoding="utf-8-sig", errors="replace") as file:
        for number, line in enumerate(file, start=1):
            fields = line.split()
            if not fields or fields[0].startswith("#"):
                continue
            if len(fields) < 2:
                raise InputError(f"{path}, line {number}: expected a name and a length, found {line[:40]!r}.")
            add_length(sizes, fields[0], fields[1], f"{path}, line {number}")


class SeveralResolutions(InputError):
    """A file holds several resolutions, and none was requested. `stored` are their bin widths in bp."""

    def __init__(self, path: str, stored: list[int]):
        listed = ", ".join(map(str, stored))
        super().__init__(f"{path} holds several resolutions, {listed} bp: choose one with resolution=BP.")
        self.stored = stored


def choose_resolution(path: str, stored: Iterable[int], requested: int | None) -> int:
    """The largest stored bin width (bp) that divides the requested one; None takes the file's only one.

    Raises:
      InputError: no stored width divides the requested one.
      SeveralResolutions: none is requested and several are stored.
    """
    stored = sorted(set(stored))
    listed = ", ".join(str(width) for width in stored) + " bp"
    if requested is None:
        if len(stored) > 1:
            raise SeveralResolutions(path, stored)
        return stored[0]
    divisors = [width for width in stored if requested % width == 0]
    if not divisors:
        raise InputError(
            f"{path} cannot give {int(requested)} bp: it holds {listed}; choose one of these or a multiple."
        )
    return divisors[-1]


def zoom_levels(resolution: int, chromsizes: Mapping[str, int]) -> list[int]:
    """The bin widths (bp) that a map is written in for viewers: steps of 1, 2, 5, 10 of its own."""
    coarsest = max(sum(chromsizes.values()) // COARSEST_BINS, resolution)
    steps = (step * 10**decade for decade in range(10) for step in (1, 2, 5))
    return [level for level in (resolution * step for step in steps) if level <= coarsest]
