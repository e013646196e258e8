"""Text files with one contact per line: 4DN `.pairs`, and the original's `.txt`."""

import functools
import gzip
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.contacts.blocks import Pair
from hicfm_jax.contacts.chromsizes import check_bins, choose_resolution, need_resolution, read_chromsizes
from hicfm_jax.contacts.contact_map import ContactMap, check_same
from hicfm_jax.contacts.formats.binned_contacts import map_of_contacts
from hicfm_jax.contacts.formats.text.contact_list import Header, bin_contacts, largest_positions, read_header
from hicfm_jax.contacts.formats.text.text_layouts import UNMAPPED
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_space

PIXELS_AT_ONCE = 1_000


Chromsizes = Mapping[str, int] | str | os.PathLike | None


def open_pairs(path: str, resolution: int | None, chromsizes: Chromsizes = None) -> ContactMap:
    """Opens a `.pairs` or `.pairs.gz` file; its contacts are binned when the first counts are requested.

    Positions count from 1, so base 1 is in bin 0, as in `cooler cload pairs`. The two sides may be in either
    order; lines with an unmapped side (`!`, `.`) are left out. Source: the 4DN pairs format specification,
    draft 1.0. A file without `#columns:` may have any of `text_layouts.LAYOUTS`.

    Args:
      path: the file.
      resolution: bin width in bp.
      chromsizes: mapping or two-column file of lengths in bp. Default: the `#chromsize:` lines.

    Raises:
      InputError: no resolution, no lengths, or a damaged header; when counts are requested, a malformed line
        or a position outside its chromosome.
    """
    header = read_header(path, 1, read_chromsizes(chromsizes))
    width = _bins_of(header, resolution, path)
    sizes = header.chromsizes
    if not sizes:
        raise InputError(
            f"{path} has no chromosome lengths: give a file of names and lengths with chromsizes=FILE, or "
            "put a line '#chromsize: NAME LENGTH' for each chromosome at its top."
        )
    check_bins(sizes, width, path)
    binned = functools.cache(lambda: bin_contacts(path, header, sizes, width))
    return map_of_contacts(path, sizes, width, binned)


def open_text(path: str, resolution: int | None, chromsizes: Chromsizes = None) -> ContactMap:
    """Opens and reads a file of lines `readID chr1 pos1 chr2 pos2`, positions counted from 0.

    Bins are `pos // resolution` and columns are separated by white space, as in the original (`read_text` of
    its inference). Unlike there, contacts below the diagonal are mirrored, trans contacts are kept,
    and malformed lines are errors. A file may also have another of `text_layouts.LAYOUTS`, which is
    recognized by its columns.

    Args:
      path: the file; lines at its top that start with `#`, `track` or `browser` are a header.
      resolution: bin width in bp; None takes that of a file of pixels.
      chromsizes: mapping or two-column file of lengths in bp. Default: the header's `#chromsize:` lines, or
        else each chromosome ends with the last bin that has a contact.

    Raises:
      InputError: no resolution, a malformed line, or a position outside its chromosome.
    """
    header = read_header(path, 0, read_chromsizes(chromsizes))
    width = _bins_of(header, resolution, path)
    sizes = header.chromsizes
    if not sizes:
        largest = largest_positions(path, header)
        sizes = {chrom: (position // width + 1) * width for chrom, position in largest.items()}
    if not sizes:
        raise InputError(f"{path} holds no contacts and no chromosome lengths: give chromsizes.")
    check_bins(sizes, width, path)
    return bin_contacts(path, header, sizes, width).as_map(path)


def _bins_of(header: Header, resolution: int | None, path: str) -> int:
    if header.width is None:
        return need_resolution(resolution, path)
    choose_resolution(path, [header.width], resolution)
    return resolution or header.width


def write_pairs(contact_map: ContactMap, path: pathlib.Path) -> None:
    """Writes each contact as a line of a `.pairs` file, or by its suffix a `.pairs.gz` file.

    Positions are the middles of bins, so the file gives the same map at the same resolution only. Upper
    triangle, sorted chr1-chr2-pos1-pos2 with the chromosomes in the order of the header.

    Raises:
      InputError: counts that are not whole.
      OSError: the disk is full or not writable.
    """
    longest = max(max(map(len, contact_map.chromsizes)), 1)
    digits = len(str(max(contact_map.chromsizes.values())))
    compressed = path.suffix.lower() == ".gz"
    # Sorted lines that differ in few digits compress at least fivefold.
    check_space(path, contact_map.total_count * (2 * (longest + digits) + 10) / (5 if compressed else 1))
    with atomic_file(path) as partial:
        with gzip.open(partial, "wb", compresslevel=4) if compressed else open(partial, "wb") as file:
            file.write(b"## pairs format v1.0\n#sorted: chr1-chr2-pos1-pos2\n#shape: upper triangle\n")
            for chrom, size in contact_map.chromsizes.items():
                file.write(f"#chromsize: {chrom} {size}\n".encode())
            file.write(b"#columns: readID chr1 pos1 chr2 pos2 strand1 strand2\n")
            for pair, *pixels in contact_map.pixels():
                file.writelines(_lines(contact_map, pair, *pixels))
        check_same(open_pairs(str(partial), contact_map.resolution), contact_map, path)


def check_pairs(path: str, chromsizes: Mapping[str, int]) -> None:
    """Raises InputError for chromosomes that a `.pairs` file cannot hold."""
    for chrom in chromsizes:
        if chrom.split() != [chrom] or chrom in UNMAPPED:
            raise InputError(f"{path}: a .pairs file cannot name the chromosome {chrom!r}: rename it.")


def _lines(
    contact_map: ContactMap, pair: Pair, rows: np.ndarray, cols: np.ndarray, counts: np.ndarray
) -> Iterator[bytes]:
    """One line for each contact of a pair, some thousand lines at a time."""
    if not np.issubdtype(counts.dtype, np.integer):
        raise InputError(
            f"{contact_map.name}, chromosome {pair[0]}, has counts that are not whole: a .pairs file holds "
            "contacts one by one; give raw counts or write .mcool or .npz."
        )
    for start in range(0, counts.size, PIXELS_AT_ONCE):
        part = slice(start, start + PIXELS_AT_ONCE)
        middles = (_middles(contact_map, *side) for side in zip(pair, (rows[part], cols[part]), strict=True))
        yield "".join(
            f".\t{pair[0]}\t{first}\t{pair[1]}\t{second}\t.\t.\n" * count
            for first, second, count in zip(*middles, counts[part].tolist(), strict=True)
        ).encode()


def _middles(contact_map: ContactMap, chrom: str, bins: np.ndarray) -> list[int]:
    """The middles of bins, in bp counted from 1."""
    first = bins.astype(np.int64) * contact_map.resolution
    last = np.minimum(first + contact_map.resolution, contact_map.chromsizes[chrom])
    return (first + (last - first + 1) // 2).tolist()
