"""Contact maps whose pairs are loaded by a reader in another process."""

import functools
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.contacts.formats.reading_process import ReadingProcess


def lazy_map(
    reader: ReadingProcess,
    chromsizes: Mapping[str, int],
    resolution: int,
    name: str,
    args: Sequence[object] = (),
    pairs: Sequence[Pair] | None = None,
    metadata: Mapping[str, object] | None = None,
) -> ContactMap:
    """A ContactMap over a reader with two generator methods.

    - `pixels(*args, chrom1, chrom2)` yields rows, columns and counts of a pair, in parts.
    - `summary(*args)` yields the contacts of some pixels and the pairs that they belong to, in parts. It is
      called once, when `total_count` is asked for or `pairs` are unknown.

    Args:
      reader: the process of the reader.
      chromsizes, resolution, name, metadata: as for `ContactMap`.
      args: first arguments of both methods.
      pairs: those that may hold contacts, if they are known.
    """

    @functools.cache
    def summary() -> tuple[float, set[Pair]]:
        total, found = 0.0, set()
        for contacts, of_pairs in reader.stream("summary", *args):
            total += contacts
            found.update(of_pairs)
        return total, found

    def load(chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        shape = contact_map.n_bins(chrom1), contact_map.n_bins(chrom2)
        return assemble(reader.stream("pixels", *args, chrom1, chrom2), shape)

    contact_map = ContactMap(
        chromsizes,
        resolution,
        load,
        name,
        total_count=lambda: summary()[0],
        pairs=lambda: summary()[1] if pairs is None else pairs,
        metadata=metadata,
    )
    return contact_map


def assemble(parts: Iterable[tuple[np.ndarray, ...]], shape: tuple[int, int]) -> scipy.sparse.csr_array:
    """A matrix of `shape` from parts (rows, columns, counts)."""
    parts = list(parts)
    if not parts:
        return scipy.sparse.csr_array(shape, dtype=np.int64)
    rows, cols, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
    return scipy.sparse.coo_array((counts, (rows, cols)), shape).tocsr()
