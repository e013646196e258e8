"""What a `.cool` or `.mcool` file holds, read with h5py; runs in a `ReadingProcess`."""

import functools
import json
from collections.abc import Iterator

import h5py
import numpy as np

from hicfm_jax.contacts.contact_map import MAX_COUNT, check_counts
from hicfm_jax.errors import InputError

PIXELS_AT_ONCE = 5_000_000

FORMAT = "HDF5::Cooler"
TABLES = ("chroms", "bins", "pixels", "indexes")


class CoolPixels:
    """The coolers of one file. Each method is a generator, as `ReadingProcess` asks for.

    Args:
      path: the file.

    Raises:
      InputError: not HDF5, bins that are not of one width, a storage mode other than `symmetric-upper`,
        bad counts. What HDF5 itself raises on damaged files passes through.
    """

    def __init__(self, path: str):
        self.path = path
        if not h5py.is_hdf5(path):
            raise InputError(f"{path} is not an HDF5 file, as coolers are: it may be of another format.")
        # Without the lock: others may want to add weights while the file is open here.
        self._file = h5py.File(path, "r", locking=False)

    def groups(self) -> Iterator[dict[str, int | None]]:
        """The coolers in the file: group path -> bin width in bp, None where bins differ in width."""
        found = {}

        def visit(name: str, item: object) -> None:
            if isinstance(item, h5py.Group) and _is_cooler(item):
                found["/" + name] = _width(item)

        if _is_cooler(self._file):
            found["/"] = _width(self._file)
        self._file.visititems(visit)
        yield found

    def chromsizes(self, group: str) -> Iterator[dict[str, int]]:
        """Chromosome lengths in bp; the bins and the index are checked to agree with them."""
        yield self._layout(group)[0]

    def metadata(self, group: str) -> Iterator[dict[str, object]]:
        """What the writer of the cooler noted in it, as JSON; empty where there is none that can be read."""
        try:
            noted = json.loads(_text(self._file[group].attrs.get("metadata", "{}")))
        except ValueError:
            noted = {}
        yield noted if isinstance(noted, dict) else {}

    def pixels(self, group: str, chrom1: int, chrom2: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Rows, columns (int32, from the chromosomes' first bins) and counts of one pair, in pieces."""
        _, offset, _ = self._layout(group)
        first, last = offset[chrom2], offset[chrom2 + 1]
        for bin1, bin2, count in self._pieces(group, *offset[chrom1 : chrom1 + 2]):
            inside = (bin2 >= first) & (bin2 < last)
            rows = (bin1[inside] - offset[chrom1]).astype(np.int32)
            yield rows, (bin2[inside] - first).astype(np.int32), count[inside]

    def summary(self, group: str) -> Iterator[tuple[float, list[tuple[int, int]]]]:
        """Sum of all counts and the chromosome pairs that have any, from one pass over the pixels."""
        chromsizes, offset, _ = self._layout(group)
        total, seen, n = 0, set(), len(chromsizes)
        for bin1, bin2, count in self._pieces(group, 0, offset[-1]):
            chrom1 = np.searchsorted(offset, bin1, side="right") - 1
            chrom2 = np.searchsorted(offset, bin2, side="right") - 1
            if not ((count >= 0) & (count <= MAX_COUNT)).all():
                first = chrom1[~((count >= 0) & (count <= MAX_COUNT))][0]
                check_counts(count, f"{self.path}, chromosome {list(chromsizes)[first]}")
            total += count.sum(dtype=np.float64).item()
            seen.update(np.unique(chrom1 * n + chrom2).tolist())
        if seen and total == 0:
            raise ValueError("all its pixels are 0")
        yield total, [divmod(code, n) for code in sorted(seen)]

    def weight_names(self, group: str) -> Iterator[list[str]]:
        """The columns of the bin table that may be weights."""
        bins = self._file[group]["bins"]
        yield [
            name for name in bins if name not in ("chrom", "start", "end") and bins[name].dtype.kind == "f"
        ]

    def weights(self, group: str, name: str) -> Iterator[tuple[np.ndarray, str | None]]:
        """Weights of all bins (float64), and their kind where the file states it."""
        column = self._file[group]["bins"][name]
        divisive = column.attrs.get("divisive_weights")
        stated = None if divisive is None else ("divisive" if bool(divisive) else "multiplicative")
        yield _whole(column, "f").astype(np.float64), stated

    @functools.lru_cache(maxsize=1)  # noqa: B019  a reader lives as long as its process
    def _layout(self, group: str) -> tuple[dict[str, int], np.ndarray, np.ndarray]:
        """Chromosome lengths, the first bin of each chromosome, the first pixel of each bin."""
        held = self._file[group]
        mode = _text(held.attrs.get("storage-mode", "symmetric-upper"))
        if mode != "symmetric-upper":
            raise InputError(
                f"{self.path} has storage mode {mode!r}, expected 'symmetric-upper': "
                "write it again with the upper triangle of a symmetric map."
            )
        names = [_text(name) for name in _whole(held["chroms/name"], "SO")]
        lengths = _whole(held["chroms/length"], "iu").astype(np.int64)
        if not names or len(set(names)) < len(names) or len(names) != len(lengths) or min(lengths) <= 0:
            raise ValueError("names or lengths of its chromosomes are none")
        width = _width(held)
        bins = -(-lengths // width)
        offset = np.concatenate([[0], np.cumsum(bins)])
        starts, ends = _whole(held["bins/start"], "iu"), _whole(held["bins/end"], "iu")
        regular = len(starts) == offset[-1] and np.array_equal(
            _whole(held["indexes/chrom_offset"], "iu"), offset
        )
        if regular:
            expected = (np.arange(bins.sum()) - np.repeat(offset[:-1], bins)) * width
            regular = np.array_equal(starts, expected) and np.array_equal(
                ends, np.minimum(expected + width, np.repeat(lengths, bins))
            )
        if not regular:
            raise InputError(
                f"{self.path} says bins of {width} bp but its bin table has others: bin it anew."
            )
        index = _whole(held["indexes/bin1_offset"], "iu").astype(np.int64)
        pixels = [_stored(held["pixels"][column], kind) for column, kind in _PIXEL_KINDS.items()]
        if len(index) != offset[-1] + 1 or index[0] != 0 or (np.diff(index) < 0).any():
            raise ValueError("its index of rows is none")
        if {len(column) for column in pixels} != {index[-1]}:
            raise ValueError("pixel columns of another length than its index says")
        return dict(zip(names, lengths.tolist(), strict=True)), offset, index

    def _pieces(self, group: str, row0: int, row1: int) -> Iterator[tuple[np.ndarray, ...]]:
        """Yields (bin1, bin2, count) of the rows, some millions at a time."""
        _, offset, index = self._layout(group)
        last = int(index[row1])
        for start in range(int(index[row0]), last, PIXELS_AT_ONCE):
            bin1, bin2, count = self._piece(group, start, min(start + PIXELS_AT_ONCE, last))
            if bin1.min() < row0 or bin1.max() >= row1 or bin2.max() >= offset[-1]:
                raise ValueError("pixels outside the bins its index says")
            if (bin1 > bin2).any():
                raise ValueError("pixels below the diagonal of a symmetric-upper map")
            yield bin1, bin2, count

    # A chromosome's rows hold the pixels of all its pairs, which are asked for one after the other.
    @functools.lru_cache(maxsize=1)  # noqa: B019
    def _piece(self, group: str, start: int, end: int) -> tuple[np.ndarray, ...]:
        pixels = self._file[group]["pixels"]
        return tuple(pixels[column][start:end] for column in _PIXEL_KINDS)


_PIXEL_KINDS = {"bin1_id": "iu", "bin2_id": "iu", "count": "iuf"}


def _is_cooler(group: h5py.Group) -> bool:
    return _text(group.attrs.get("format", "")) == FORMAT and all(table in group for table in TABLES)


def _width(group: h5py.Group) -> int | None:
    width = group.attrs.get("bin-size")
    if _text(group.attrs.get("bin-type", "fixed")) != "fixed" or width is None or _text(width) == "null":
        return None
    width = int(width)
    if width <= 0:
        raise ValueError(f"bins of {width} bp")
    return width


def _text(value: object) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


def _stored(dataset: h5py.Dataset, kinds: str) -> h5py.Dataset:
    """A column whose numbers lie in the file: for what is missing, HDF5 makes up zeros."""
    if dataset.ndim != 1 or dataset.dtype.kind not in kinds:
        raise ValueError(f"{dataset.name} is of type {dataset.dtype} and shape {dataset.shape}")
    if dataset.chunks is None:
        there = len(dataset) == 0 or dataset.id.get_storage_size() >= dataset.nbytes
    else:
        there = dataset.id.get_num_chunks() >= -(-len(dataset) // dataset.chunks[0])
    if not there:
        raise ValueError(f"parts of {dataset.name} are missing")
    return dataset


def _whole(dataset: h5py.Dataset, kinds: str) -> np.ndarray:
    return _stored(dataset, kinds)[:]
