"""Binned contacts in a temporary file, read by block."""

import os
import tempfile
from collections.abc import Callable, Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.blocks import MapBlock, Pair
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

CONTACTS_AT_ONCE = 4_000_000


class BinnedContacts:
    """Contacts that are added in any order; one block is in memory when it is loaded.

    Some millions of contacts at a time are counted by pixel, sorted and written to an unnamed file in TMPDIR,
    12 bytes per pixel, or 16 with counts of type float64. A block is read from each of these parts.

    Attributes:
      index: number of each chromosome.
      offset: first bin of each chromosome in the genome, and the number of all bins.
      total: number of contacts.
      pairs: chromosome pairs that have contacts.
    """

    def __init__(self, chromsizes: Mapping[str, int], resolution: int, dtype: type = np.int32):
        self.chromsizes, self.resolution = chromsizes, resolution
        self.index = {name: number for number, name in enumerate(chromsizes)}
        bins = [-(-size // resolution) for size in chromsizes.values()]
        self.offset = np.concatenate([[0], np.cumsum(bins, dtype=np.int64)])
        self.total = 0.0
        self.pairs: set[Pair] = set()
        self._pixel = np.dtype([("bin1", "<i4"), ("bin2", "<i4"), ("count", dtype)])
        self._balance = self._off_diagonal = 0  # see `finish`
        self._file = tempfile.TemporaryFile()
        self._waiting: list[tuple[np.ndarray, np.ndarray | None]] = []
        self._n_waiting = 0
        self._parts: dict[int, list[tuple[int, int]]] = {}  # chromosome of the rows -> (bytes, start)

    def add(self, bin1: np.ndarray, bin2: np.ndarray, count: np.ndarray | None = None) -> None:
        """Adds contacts between bins numbered over the whole genome, `[n]` int64 each, None: one of each.

        Raises OSError if the disk of temporary files is full.
        """
        # The lower bin first gives the order of the chromosomes and the upper triangle.
        keys = np.minimum(bin1, bin2) * self.offset[-1] + np.maximum(bin1, bin2)
        self.total += keys.size if count is None else count.sum().item()
        if count is not None:
            # Mixed as in splitmix64, so that only equal pixels cancel out.
            mixed = (keys.view(np.uint64) ^ count.view(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
            mixed ^= mixed >> np.uint64(27)
            signs = np.sign(bin2 - bin1).view(np.uint64)
            self._balance = (self._balance + int((mixed * signs).sum())) % 2**64
            self._off_diagonal += np.count_nonzero(signs)
        self._waiting.append((keys, count))
        self._n_waiting += keys.size
        if self._n_waiting >= CONTACTS_AT_ONCE:
            self._flush()

    def finish(self, path: str) -> None:
        """Writes what is left; to be called after the last `add`.

        Raises InputError where each pixel with a count was added on both sides of the diagonal.
        """
        self._flush()
        if self._off_diagonal > 2 and self._balance == 0:
            raise InputError(
                f"{path} lists each pixel on both sides of the diagonal, so that contacts would count twice: "
                "write the upper triangle only, as cooler dump --join does."
            )

    def as_map(self, path: str) -> ContactMap:
        """The contacts as a map, named by its file."""
        return map_of_contacts(path, self.chromsizes, self.resolution, lambda: self)

    def _flush(self) -> None:
        keys = np.concatenate([np.empty(0, np.int64), *(keys for keys, _ in self._waiting)])
        if self._pixel["count"].kind == "f":
            counts = np.concatenate([np.empty(0), *(count for _, count in self._waiting)])
            keys, places = np.unique(keys, return_inverse=True)
            counts = np.bincount(places, counts, minlength=keys.size)
        else:
            keys, counts = np.unique(keys, return_counts=True)
        self._waiting, self._n_waiting = [], 0
        pixels = np.empty(keys.size, self._pixel)
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

    def load(self, block: MapBlock) -> scipy.sparse.csr_array:
        """Counts of a block: `[bins of its rows, bins of its columns]`."""
        (row0, row1), (col0, col1) = (
            (int(self.offset[self.index[names[0]]]), int(self.offset[self.index[names[-1]] + 1]))
            for names in block[:2]
        )
        stored = [np.empty(0, self._pixel)]
        for chrom in block.rows:
            for size, start in self._parts.get(self.index[chrom], []):
                part = np.frombuffer(os.pread(self._file.fileno(), size, start), self._pixel)
                stored.append(part[(part["bin2"] >= col0) & (part["bin2"] < col1)])
        pixels = np.concatenate(stored)
        dtype = np.int64 if self._pixel["count"].kind == "i" else np.float64
        counts, rows, cols = pixels["count"].astype(dtype), pixels["bin1"] - row0, pixels["bin2"] - col0
        return scipy.sparse.coo_array((counts, (rows, cols)), (row1 - row0, col1 - col0)).tocsr()


def map_of_contacts(
    path: str, sizes: Mapping[str, int], width: int, binned: Callable[[], BinnedContacts]
) -> ContactMap:
    """A map, named by its file, of contacts that are binned when the first counts are requested."""
    return ContactMap(
        sizes,
        width,
        None,
        path,
        total_count=lambda: binned().total,
        pairs=lambda: binned().pairs,
        load_block=lambda block: binned().load(block),
    )
