"""Binned contacts in a temporary file, read by chromosome pair."""

import os
import tempfile
from collections.abc import Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import Pair

CONTACTS_AT_ONCE = 4_000_000

_PIXEL = np.dtype([("bin1", "<i4"), ("bin2", "<i4"), ("count", "<i4")])


class BinnedContacts:
    """Contacts that are added in any order; one chromosome pair is in memory when it is loaded.

    Some millions of contacts at a time are counted by pixel, sorted and written to an unnamed file in TMPDIR,
    12 bytes per pixel. A chromosome pair is read from each of these parts.

    Attributes:
      index: number of each chromosome.
      offset: first bin of each chromosome in the genome, and the number of all bins.
      total: number of contacts.
      pairs: chromosome pairs that have contacts.
    """

    def __init__(self, chromsizes: Mapping[str, int], resolution: int):
        self.index = {name: number for number, name in enumerate(chromsizes)}
        bins = [-(-size // resolution) for size in chromsizes.values()]
        self.offset = np.concatenate([[0], np.cumsum(bins, dtype=np.int64)])
        self.total = 0
        self.pairs: set[Pair] = set()
        self._file = tempfile.TemporaryFile()
        self._waiting: list[np.ndarray] = []
        self._n_waiting = 0
        self._parts: dict[int, list[tuple[int, int]]] = {}  # chromosome of the rows -> (bytes, start)

    def add(self, bin1: np.ndarray, bin2: np.ndarray) -> None:
        """Adds contacts between bins numbered over the whole genome, `[n]` int64 each.

        Raises OSError if the disk of temporary files is full.
        """
        # The lower bin first gives the order of the chromosomes and the upper triangle.
        keys = np.minimum(bin1, bin2) * self.offset[-1] + np.maximum(bin1, bin2)
        self.total += keys.size
        self._waiting.append(keys)
        self._n_waiting += keys.size
        if self._n_waiting >= CONTACTS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Writes what was added; to be called after the last `add`."""
        keys, counts = np.unique(np.concatenate([np.empty(0, np.int64), *self._waiting]), return_counts=True)
        self._waiting, self._n_waiting = [], 0
        pixels = np.empty(keys.size, _PIXEL)
        pixels["bin1"], pixels["bin2"] = np.divmod(keys, self.offset[-1])
        pixels["count"] = counts
        names = list(self.index)
        bounds = np.searchsorted(pixels["bin1"], self.offset)
        for number in np.flatnonzero(np.diff(bounds)).tolist():
            part = pixels[bounds[number] : bounds[number + 1]]
            partners = np.unique(np.searchsorted(self.offset, part["bin2"], side="right") - 1)
            self.pairs.update((names[number], names[partner]) for partner in partners.tolist())
            self._parts.setdefault(number, []).append((part.nbytes, self._file.tell()))
            try:
                self._file.write(part)
                self._file.flush()
            except OSError as error:
                raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from error

    def load(self, chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        """Counts of a pair, in the order of the chromosomes: `[bins of chrom1, bins of chrom2]`."""
        one, two = self.index[chrom1], self.index[chrom2]
        row0, row1 = self.offset[one : one + 2].tolist()
        col0, col1 = self.offset[two : two + 2].tolist()
        stored = [np.empty(0, _PIXEL)]
        for size, start in self._parts.get(one, []):
            part = np.frombuffer(os.pread(self._file.fileno(), size, start), _PIXEL)
            stored.append(part[(part["bin2"] >= col0) & (part["bin2"] < col1)])
        pixels = np.concatenate(stored)
        counts, rows, cols = pixels["count"].astype(np.int64), pixels["bin1"] - row0, pixels["bin2"] - col0
        return scipy.sparse.coo_array((counts, (rows, cols)), (row1 - row0, col1 - col0)).tocsr()
