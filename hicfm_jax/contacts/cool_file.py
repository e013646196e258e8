"""Reading one cooler (a group of a `.cool` or `.mcool` file) chromosome pair by chromosome pair."""

import contextlib
import functools
from collections.abc import Iterator

import cooler
import h5py
import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import ContactMap, Pair, check_counts
from hicfm_jax.errors import InputError

PIXELS_AT_ONCE = 5_000_000


@contextlib.contextmanager
def damage_reported(path: str) -> Iterator[None]:
    """Turns what HDF5 raises on a file that is truncated or no cooler into one InputError."""
    try:
        yield
    except InputError:
        raise
    except (OSError, LookupError, ValueError, TypeError, AttributeError, RuntimeError, MemoryError) as error:
        raise InputError(
            f"{path} cannot be read as a cooler file ({error}): it may be truncated or of another format; "
            "make or fetch it again."
        ) from error


def list_groups(path: str) -> dict[str, int | None]:
    """The coolers in a file: group path -> bin width in bp, None where bins differ in width."""
    with damage_reported(path):
        found = cooler.fileops.list_coolers(path)
        return {group: cooler.Cooler(f"{path}::{group}").binsize for group in found}


class CoolFile:
    """The pixels of one cooler, read when asked for.

    Args:
      path: the file.
      group: the HDF5 group that holds the cooler, `/` in a plain `.cool`.

    Raises:
      InputError: a damaged file, bins that are not of one width, or a storage mode other than
        `symmetric-upper`.
    """

    def __init__(self, path: str, group: str):
        self.path = path
        self.group = group
        self.name = path if group == "/" else f"{path}::{group}"
        with damage_reported(path), h5py.File(path, "r") as file:
            held = file[group]
            mode = held.attrs.get("storage-mode", "symmetric-upper")
            if mode != "symmetric-upper":
                raise InputError(
                    f"{self.name} has storage mode {mode!r}, expected 'symmetric-upper': "
                    "write it again with the upper triangle of a symmetric map."
                )
            self.resolution = cooler.Cooler(held).binsize
            if self.resolution is None:
                raise InputError(f"{self.name} has bins of varying width, expected one width: bin it anew.")
            self.resolution = int(self.resolution)
            self.chromsizes = {
                name.decode() if isinstance(name, bytes) else str(name): int(length)
                for name, length in zip(held["chroms/name"][:], held["chroms/length"][:], strict=True)
            }
            self.bin_offset = held["indexes/chrom_offset"][:].astype(np.int64)
            starts, ends = held["bins/start"][:], held["bins/end"][:]
        self._index = {chrom: index for index, chrom in enumerate(self.chromsizes)}
        self._check_bins(starts, ends)

    def _check_bins(self, starts: np.ndarray, ends: np.ndarray) -> None:
        lengths = np.array(list(self.chromsizes.values()), dtype=np.int64)
        bins = -(-lengths // self.resolution)
        regular = np.array_equal(self.bin_offset, np.concatenate([[0], np.cumsum(bins)]))
        if regular:
            expected = (np.arange(bins.sum()) - np.repeat(self.bin_offset[:-1], bins)) * self.resolution
            regular = np.array_equal(starts, expected) and np.array_equal(
                ends, np.minimum(expected + self.resolution, np.repeat(lengths, bins))
            )
        if not regular:
            raise InputError(
                f"{self.name} says bins of {self.resolution} bp but its bin table has others: bin it anew."
            )

    def contact_map(self) -> ContactMap:
        """A ContactMap that reads from this file."""
        return ContactMap(
            self.chromsizes,
            self.resolution,
            self.load,
            self.name,
            total_count=lambda: self._summary[0],
            pairs=lambda: self._summary[1],
        )

    def load(self, chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        """Counts of one pair, chrom1 not after chrom2: `[bins of chrom1, bins of chrom2]`."""
        row0, row1 = self._bins(chrom1)
        col0, col1 = self._bins(chrom2)
        rows, cols, counts = [], [], []
        for bin1, bin2, count in self._pixels(row0, row1):
            inside = (bin2 >= col0) & (bin2 < col1)
            rows.append((bin1[inside] - row0).astype(np.int32))
            cols.append((bin2[inside] - col0).astype(np.int32))
            counts.append(count[inside])
        if not counts:
            return scipy.sparse.csr_array((row1 - row0, col1 - col0), dtype=np.int64)
        rows, cols, counts = (np.concatenate(part) for part in (rows, cols, counts))
        return scipy.sparse.coo_array((counts, (rows, cols)), (row1 - row0, col1 - col0)).tocsr()

    @functools.cached_property
    def _summary(self) -> tuple[float, list[Pair]]:
        """Sum of all counts and the pairs that have any, from one pass over the pixels."""
        names = list(self.chromsizes)
        total, seen = 0, set()
        for bin1, bin2, count in self._pixels(0, int(self.bin_offset[-1])):
            chrom1 = np.searchsorted(self.bin_offset, bin1, side="right") - 1
            chrom2 = np.searchsorted(self.bin_offset, bin2, side="right") - 1
            if not (np.isfinite(count).all() and count.min() >= 0):
                first = chrom1[~(count >= 0) | ~np.isfinite(count)][0]
                check_counts(count, f"{self.name}, chromosome {names[first]}")
            total += count.sum().item()
            seen.update(np.unique(chrom1 * len(names) + chrom2).tolist())
        return total, [(names[code // len(names)], names[code % len(names)]) for code in seen]

    def _bins(self, chrom: str) -> tuple[int, int]:
        index = self._index[chrom]
        return int(self.bin_offset[index]), int(self.bin_offset[index + 1])

    def _pixels(self, row0: int, row1: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Yields (bin1, bin2, count) of the rows, some millions at a time."""
        with damage_reported(self.path), h5py.File(self.path, "r") as file:
            held = file[self.group]
            first, last = (int(held["indexes/bin1_offset"][row]) for row in (row0, row1))
            for start in range(first, last, PIXELS_AT_ONCE):
                part = slice(start, min(start + PIXELS_AT_ONCE, last))
                bin1, bin2, count = (
                    held["pixels"][column][part] for column in ("bin1_id", "bin2_id", "count")
                )
                if not (bin1.size == bin2.size == count.size == part.stop - part.start):
                    raise ValueError("pixel columns shorter than its index says")
                if bin1.min() < row0 or bin1.max() >= row1 or bin2.max() >= self.bin_offset[-1]:
                    raise ValueError("pixels outside the bins its index says")
                if (bin1 > bin2).any():
                    raise ValueError("pixels below the diagonal of a symmetric-upper map")
                yield bin1, bin2, count
