"""Contacts that come in any order, binned and kept on disk so that one chromosome pair is in memory."""

import os
import tempfile
from collections.abc import Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import Pair

CONTACTS_AT_ONCE = 4_000_000

_PIXEL = np.dtype([("bin1", "<i4"), ("bin2", "<i4"), ("count", "<i4")])


class Spool:
    """A temporary file of pixels, 12 bytes each; it has no name and goes when nobody holds it.

    Some millions of contacts at a time are sorted, those of one pixel added up, and written; a chromosome
    pair is read back from each of these parts. The file lies where `tempfile` puts it (TMPDIR).

    Args:
      chromsizes: chromosome -> length in bp.
      resolution: bin width in bp.

    Raises:
      OSError: the disk of temporary files is full.
    """

    def __init__(self, chromsizes: Mapping[str, int], resolution: int):
        self.names = list(chromsizes)
        self._index = {name: index for index, name in enumerate(self.names)}
        bins = [-(-size // resolution) for size in chromsizes.values()]
        self.offset = np.concatenate([[0], np.cumsum(bins, dtype=np.int64)])
        self.total = 0
        self._file = tempfile.TemporaryFile(buffering=0)
        self._end = 0
        self._waiting: list[np.ndarray] = []
        self._n_waiting = 0
        self._parts: dict[int, list[tuple[int, int]]] = {}  # chromosome of the rows -> (offset, bytes)
        self._pairs: set[tuple[int, int]] = set()

    def add(self, bin1: np.ndarray, bin2: np.ndarray) -> None:
        """Adds contacts between bins numbered over the whole genome, `[n]` int64 each, in any order."""
        # The lower bin first puts chromosomes in order and cis contacts in the upper triangle at once.
        keys = np.minimum(bin1, bin2) * self.offset[-1] + np.maximum(bin1, bin2)
        self.total += keys.size
        self._waiting.append(keys)
        self._n_waiting += keys.size
        if self._n_waiting >= CONTACTS_AT_ONCE:
            self.flush()

    def flush(self) -> None:
        """Writes what waits; call it after the last `add`."""
        keys = np.sort(np.concatenate([np.empty(0, np.int64), *self._waiting]))
        self._waiting, self._n_waiting = [], 0
        first = np.flatnonzero(np.concatenate([[True], keys[1:] != keys[:-1]])[: keys.size])
        pixels = np.empty(first.size, _PIXEL)
        pixels["bin1"], pixels["bin2"] = np.divmod(keys[first], self.offset[-1])
        pixels["count"] = np.diff(np.append(first, keys.size))
        bounds = np.searchsorted(pixels["bin1"], self.offset)
        for chrom in np.flatnonzero(np.diff(bounds)).tolist():
            part = pixels[bounds[chrom] : bounds[chrom + 1]]
            partners = np.unique(np.searchsorted(self.offset, part["bin2"], side="right") - 1)
            self._pairs.update((chrom, partner) for partner in partners.tolist())
            self._write(chrom, part)

    def pairs(self) -> list[Pair]:
        """The chromosome pairs that hold contacts."""
        return [(self.names[one], self.names[two]) for one, two in self._pairs]

    def load(self, chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        """Counts of a pair, chrom1 not after chrom2: `[bins of chrom1, bins of chrom2]`."""
        index1, index2 = self._index[chrom1], self._index[chrom2]
        row0, row1 = self.offset[index1 : index1 + 2].tolist()
        col0, col1 = self.offset[index2 : index2 + 2].tolist()
        held = [np.empty(0, _PIXEL)]
        for start, size in self._parts.get(index1, []):
            part = np.frombuffer(os.pread(self._file.fileno(), size, start), _PIXEL)
            held.append(part[(part["bin2"] >= col0) & (part["bin2"] < col1)])
        pixels = np.concatenate(held)
        counts, rows, cols = pixels["count"].astype(np.int64), pixels["bin1"] - row0, pixels["bin2"] - col0
        return scipy.sparse.coo_array((counts, (rows, cols)), (row1 - row0, col1 - col0)).tocsr()

    def _write(self, chrom: int, part: np.ndarray) -> None:
        data = part.tobytes()
        self._parts.setdefault(chrom, []).append((self._end, len(data)))
        try:
            while data:
                data = data[self._file.write(data) :]
                self._end = self._file.tell()
        except OSError as error:
            raise OSError(error.errno, error.strerror, tempfile.gettempdir()) from error
