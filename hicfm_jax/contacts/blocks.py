"""Blocks of a contact map: the pairs of several short chromosomes at once."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import scipy.sparse

SIDES = 16
"""Blocks along each axis of a genome of short chromosomes, about."""

Pair = tuple[str, str]


class MapBlock(NamedTuple):
    """Consecutive chromosomes of the rows and of the columns.

    An assembly of thousands of scaffolds has hundreds of thousands of pairs. One by one they take minutes.
    """

    rows: tuple[str, ...]
    cols: tuple[str, ...]
    pairs: tuple[Pair, ...]  # those that may have contacts, in the order of the chromosomes

    def __str__(self) -> str:
        """Its chromosomes, for messages: `chromosome Chr1 x Chr2`."""
        names = [each[0] + f" to {each[-1]}" * (len(each) > 1) for each in self[:2]]
        return f"chromosome {' x '.join(dict.fromkeys(names))}"

    @property
    def is_pair(self) -> bool:
        """Whether it is a single pair."""
        return len(self.rows) == len(self.cols) == 1


def one_pair(chrom1: str, chrom2: str) -> MapBlock:
    """The block of a single pair."""
    return MapBlock((chrom1,), (chrom2,), ((chrom1, chrom2),))


def find_blocks(chromsizes: Mapping[str, int], pairs: Iterable[Pair]) -> list[MapBlock]:
    """Divides sorted pairs into blocks, the same at every resolution.

    No side is longer than the longest chromosome, or a 16th of the genome: the pixels of a block take the
    memory of one pair of long chromosomes. `chromsizes` are in bp.
    """
    most = max(*chromsizes.values(), sum(chromsizes.values()) // SIDES)
    groups, left = [], 0
    for chrom, size in chromsizes.items():
        if size > left:
            groups.append([])
            left = most
        groups[-1].append(chrom)
        left -= size
    places = {chrom: place for place, group in enumerate(groups) for chrom in group}
    found: dict[tuple[int, int], list[Pair]] = {}
    for pair in pairs:
        found.setdefault((places[pair[0]], places[pair[1]]), []).append(pair)
    return [
        MapBlock(tuple(groups[one]), tuple(groups[two]), tuple(inside))
        for (one, two), inside in sorted(found.items())
    ]


def starts(chromosomes: Iterable[str], bins: Mapping[str, int]) -> np.ndarray:
    """First bin of each chromosome from the first one's, and the number of all bins: `[n + 1]`."""
    return np.array([0, *itertools.accumulate(bins[chrom] for chrom in chromosomes)], np.int64)


def pixels_by_pair(
    matrix: scipy.sparse.csr_array, block: MapBlock, bins: Mapping[str, int]
) -> Iterator[tuple[Pair, np.ndarray]]:
    """The pairs of a block's matrix that have contacts, and where in its `data` these are, row by row."""
    of_rows, of_cols = (starts(chromosomes, bins) for chromosomes in (block.rows, block.cols))
    row = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    one = np.searchsorted(of_rows, row, side="right") - 1
    two = np.searchsorted(of_cols, matrix.indices, side="right") - 1
    codes = one * len(block.cols) + two
    order = np.argsort(codes, kind="stable")
    for places in np.split(order, np.flatnonzero(np.diff(codes[order])) + 1):
        if places.size:
            one, two = divmod(int(codes[places[0]]), len(block.cols))
            yield (block.rows[one], block.cols[two]), places


def assemble(
    matrices: Iterable[tuple[Pair, scipy.sparse.csr_array]], block: MapBlock, bins: Mapping[str, int]
) -> scipy.sparse.csr_array:
    """The matrix of a block from those of its pairs."""
    of_rows, of_cols = (starts(chromosomes, bins) for chromosomes in (block.rows, block.cols))
    row0, col0 = dict(zip(block.rows, of_rows, strict=False)), dict(zip(block.cols, of_cols, strict=False))
    parts = [(np.empty(0, np.int64),) * 3]
    for (chrom1, chrom2), matrix in matrices:
        part = matrix.tocoo()
        parts.append((part.data, part.row + row0[chrom1], part.col + col0[chrom2]))
    data, rows, cols = (np.concatenate(column) for column in zip(*parts, strict=True))
    return scipy.sparse.coo_array((data, (rows, cols)), (of_rows[-1], of_cols[-1])).tocsr()
