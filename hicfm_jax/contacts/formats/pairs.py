"""Reading 4DN `.pairs` files, plain or gzipped.

Writing contact maps as 4DN `.pairs`: one line a contact.
"""

import functools
import gzip
import pathlib
from collections.abc import Iterator

import numpy as np

from hicfm_jax.contacts.chromsizes import check_bins, need_resolution
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats.binned_contacts import Spool
from hicfm_jax.contacts.formats.contact_list import Header, read_header, spool_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_space


def open_pairs(path: str, resolution: int | None) -> ContactMap:
    """Opens a list of contacts; they are binned, in one pass, when the first counts are asked for.

    Positions count from 1, so base 1 lies in bin 0, as `cooler cload pairs` has it. Both orders of the two
    sides are taken; lines of sides that pairtools could not map (`!`, `.`) are left out. Binned contacts
    wait in a temporary file of at most 12 bytes a contact.

    Args:
      path: a `.pairs` or `.pairs.gz` file with `#chromsize:` lines.
      resolution: bin width in bp.

    Raises:
      InputError: no resolution, no chromosome lengths, or a damaged header; when counts are asked for, a
        malformed line or a position outside its chromosome.

    Source: the 4DN pairs format specification, draft 1.0.
    """
    width = need_resolution(resolution, path)
    header = read_header(path)
    if not header.chromsizes:
        raise InputError(
            f"{path} has no chromosome lengths: put a line '#chromsize: NAME LENGTH' for each chromosome "
            "at its top."
        )
    check_bins(header.chromsizes, width, path)
    contacts = _Contacts(path, header, width)
    return ContactMap(
        header.chromsizes,
        width,
        lambda chrom1, chrom2: contacts.spool.load(chrom1, chrom2),
        path,
        total_count=lambda: contacts.spool.total,
        pairs=lambda: contacts.spool.pairs(),
    )


class _Contacts:
    def __init__(self, path: str, header: Header, resolution: int):
        self._told = path, header, resolution

    @functools.cached_property
    def spool(self) -> Spool:
        path, header, resolution = self._told
        return spool_contacts(path, header, header.chromsizes, resolution, first=1)


LINES_AT_ONCE = 200_000


def write_pairs(contact_map: ContactMap, path: pathlib.Path) -> None:
    """Writes each contact of a map as a line of a `.pairs` file, by its suffix compressed (`.gz`).

    The two ends lie in the middle of their bins, so the file gives the same map at the same resolution, and
    says nothing about finer ones. Upper triangle, sorted chr1-chr2-pos1-pos2 with the chromosomes in the
    order of the header.

    Args:
      contact_map: a map of whole counts.
      path: where; an existing file is replaced.

    Raises:
      InputError: counts that are not whole, or chromosome names with white space.
      OSError: the disk is full or not writable.

    Source: the 4DN pairs format specification, draft 1.0.
    """
    for chrom in contact_map.chromsizes:
        if chrom.split() != [chrom] or chrom in (".", "!"):
            raise InputError(f"{path}: a .pairs file cannot name the chromosome {chrom!r}: rename it.")
    longest = max(max(map(len, contact_map.chromsizes)), 1)
    digits = len(str(max(contact_map.chromsizes.values())))
    compressed = path.suffix.lower() == ".gz"
    # Sorted lines that differ in few digits compress at least fivefold.
    check_space(path, contact_map.total_count * (2 * (longest + digits) + 10) / (5 if compressed else 1))
    with atomic_file(path) as partial:
        with gzip.open(partial, "wb", compresslevel=4) if compressed else open(partial, "wb") as file:
            file.write(_header(contact_map).encode())
            for pair in contact_map.pairs():
                for lines in _lines(contact_map, *pair):
                    file.write(lines.encode())


def _header(contact_map: ContactMap) -> str:
    sizes = "".join(f"#chromsize: {chrom} {size}\n" for chrom, size in contact_map.chromsizes.items())
    return (
        "## pairs format v1.0\n#sorted: chr1-chr2-pos1-pos2\n#shape: upper triangle\n"
        f"{sizes}#columns: readID chr1 pos1 chr2 pos2 strand1 strand2\n"
    )


def _lines(contact_map: ContactMap, chrom1: str, chrom2: str) -> Iterator[str]:
    """The contacts of a pair, some 100,000 lines at a time."""
    matrix = contact_map.matrix(chrom1, chrom2).tocoo()
    if not np.issubdtype(matrix.dtype, np.integer):
        raise InputError(
            f"{contact_map.name}, chromosome {chrom1}, has counts that are not whole: a .pairs file holds "
            "contacts one by one; give raw counts or write .mcool or .npz."
        )
    first = _middles(contact_map, chrom1)
    second = first if chrom2 == chrom1 else _middles(contact_map, chrom2)
    order = np.lexsort((matrix.col, matrix.row))
    held, size = [], 0
    for row, col, count in zip(
        matrix.row[order].tolist(), matrix.col[order].tolist(), matrix.data[order].tolist(), strict=True
    ):
        line = f".\t{chrom1}\t{first[row]}\t{chrom2}\t{second[col]}\t.\t.\n"
        while size + count >= LINES_AT_ONCE:
            held.append(line * (LINES_AT_ONCE - size))
            yield "".join(held)
            count -= LINES_AT_ONCE - size
            held, size = [], 0
        held.append(line * count)
        size += count
    yield "".join(held)


def _middles(contact_map: ContactMap, chrom: str) -> list[int]:
    """The middle of each bin, in bp counted from 1."""
    starts = np.arange(contact_map.n_bins(chrom)) * contact_map.resolution
    ends = np.minimum(starts + contact_map.resolution, contact_map.chromsizes[chrom])
    return (starts + (ends - starts + 1) // 2).tolist()
