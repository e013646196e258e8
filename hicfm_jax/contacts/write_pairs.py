"""Writing contact maps as 4DN `.pairs`: one line a contact."""

import gzip
import os
import pathlib
from collections.abc import Iterator

import numpy as np

from hicfm_jax.contacts.complete_file import check_space, complete_or_absent
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

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
    with complete_or_absent(path) as folder:
        partial = folder / "map.pairs"
        with gzip.open(partial, "wb", compresslevel=4) if compressed else open(partial, "wb") as file:
            file.write(_header(contact_map).encode())
            for pair in contact_map.pairs():
                for lines in _lines(contact_map, *pair):
                    file.write(lines.encode())
        os.replace(partial, path)


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
