"""Readers of `.hic` files with hictk and with hic-straw."""

import functools
import struct
from collections.abc import Iterator, Sequence

import numpy as np

from hicfm_jax.contacts.contact_map import Pair
from hicfm_jax.errors import InputError

Part = tuple[np.ndarray, np.ndarray, np.ndarray]


class HictkReader:
    """A `.hic` file read with hictkpy. The generator methods are called in a `ReadingProcess`."""

    pixels_at_once = 5_000_000

    def __init__(self, path: str):
        try:
            # Not preloaded: it warns at each fork after its import, and readers are forked.
            import hictkpy
        except ImportError as error:
            raise InputError(f"{path} needs hictkpy to be read: pip install -e '.[hic]'.") from error
        with open(path, "rb") as file:
            if file.read(4) != b"HIC\0":
                raise InputError(
                    f"{path} is not a .hic file, which starts with 'HIC': it may be of another format."
                )
        hictkpy.logging.setLevel("CRITICAL")
        file = hictkpy.MultiResFile(path)
        self.chromsizes, self._resolutions = dict(file.chromosomes()), file.resolutions().tolist()
        listed = _listed_pairs(path, list(file.chromosomes(include_ALL=True)))
        self.pairs = dict.fromkeys(pair for pair in listed if set(pair) <= self.chromsizes.keys())
        self._file = functools.cache(functools.partial(hictkpy.File, path))

    def layout(self) -> Iterator[tuple[dict[str, int], list[int], list[Pair]]]:
        """Chromosome lengths in bp, resolutions in bp, and the pairs that the file lists."""
        yield self.chromsizes, self._resolutions, list(self.pairs)

    def pixels(self, resolution: int, chrom1: str, chrom2: str) -> Iterator[Part]:
        """Rows, columns (int32, from the first bins of the chromosomes) and counts (float64), in parts."""
        if (chrom1, chrom2) not in self.pairs:
            return
        size, columns = self.chromsizes[chrom1], -(-self.chromsizes[chrom2] // resolution)
        rows, start = max(1, self.pixels_at_once // columns), 0
        while start < size:
            end, found = min(start + rows * resolution, size), 0
            for part in self._fetch(resolution, chrom1, start, end, chrom2):
                found += len(part[2])
                yield part
            # Maps are sparse: as many rows as give about `pixels_at_once` pixels.
            rows = max(1, min(4 * rows, rows * self.pixels_at_once // max(found, 1)))
            start = end

    def _fetch(self, resolution: int, chrom1: str, start: int, end: int, chrom2: str) -> Iterator[Part]:
        # A query of a cis map may reach below the diagonal in a square around it only.
        size = self.chromsizes[chrom2]
        columns = [(start, end), (end, size)] if chrom1 == chrom2 else [(0, size)]
        for first, last in columns:
            if first < last:
                # BED form: a name may hold a colon, which UCSC form would misread.
                query = f"{chrom1}\t{start}\t{end}", f"{chrom2}\t{first}\t{last}"
                found = self._file(resolution).fetch(*query, count_type="float64", query_type="BED").to_coo()
                row0, col0 = np.int32(start // resolution), np.int32(first // resolution)
                yield found.row + row0, found.col + col0, found.data

    def contacts(self, resolution: int, chrom1: str, chrom2: str) -> float:
        """Sum of the counts of a pair."""
        query = f"{chrom1}\t0\t{self.chromsizes[chrom1]}", f"{chrom2}\t0\t{self.chromsizes[chrom2]}"
        return float(self._file(resolution).fetch(*query, count_type="float64", query_type="BED").sum())

    def weight_names(self, resolution: int) -> Iterator[list[str]]:
        """The normalizations at a resolution."""
        yield sorted(map(str, self._file(resolution).avail_normalizations()))

    def weights(self, resolution: int, name: str) -> Iterator[dict[str, np.ndarray]]:
        """Divisive weights of all bins by chromosome."""
        values = self._file(resolution).weights(name, divisive=True)
        bins = [-(-size // resolution) for size in self.chromsizes.values()]
        yield dict(zip(self.chromsizes, np.split(values, np.cumsum(bins)[:-1]), strict=True))


class StrawReader(HictkReader):
    """A `.hic` file whose pixels and weights are read with hic-straw, and the rest with hictkpy.

    Straw ends the process on an invalid request, and returns no pixels for a block that it cannot unpack. So
    the number of contacts of each pair is compared with hictk's.
    """

    pixels_at_once = 1_000_000  # straw returns each pixel as a Python object

    def __init__(self, path: str):
        try:
            import hicstraw
        except ImportError as error:
            raise InputError(
                f"{path} needs hic-straw to be read with engine='straw': pip install -e '.[straw]'."
            ) from error
        super().__init__(path)
        self._straw = hicstraw.HiCFile(path)
        chromosomes = self._straw.getChromosomes()
        self._index = {chrom.name: chrom.index for chrom in chromosomes}
        sizes = {chrom.name: chrom.length for chrom in chromosomes if chrom.name.lower() != "all"}
        if sizes != self.chromsizes:
            raise ValueError("straw finds other chromosomes in it than hictk")

    def pixels(self, resolution: int, chrom1: str, chrom2: str) -> Iterator[Part]:
        """As `HictkReader.pixels`; ValueError if the sum differs from hictk's."""
        expected, found = self.contacts(resolution, chrom1, chrom2), 0.0
        if expected == 0:
            return
        for part in super().pixels(resolution, chrom1, chrom2):
            found += part[2].sum()
            yield part
        if not abs(found - expected) <= 1e-6 * expected:
            raise ValueError(f"straw finds {found:.9g} contacts of {chrom1} x {chrom2}, not {expected:.9g}")

    def _fetch(self, resolution: int, chrom1: str, start: int, end: int, chrom2: str) -> Iterator[Part]:
        # Cis: from the start of the rows, because straw mirrors what lies below the diagonal.
        first = start if chrom1 == chrom2 else 0
        zoom = self._zoom(chrom1, chrom2, "NONE", resolution)
        records = zoom.getRecords(start, end - 1, first, self.chromsizes[chrom2] - 1)
        rows, cols, counts = (
            np.fromiter((getattr(record, field) for record in records), dtype, len(records))
            for field, dtype in (("binX", np.int64), ("binY", np.int64), ("counts", np.float64))
        )
        yield (rows // resolution).astype(np.int32), (cols // resolution).astype(np.int32), counts

    def weights(self, resolution: int, name: str) -> Iterator[dict[str, np.ndarray]]:
        """Divisive weights of all bins by chromosome, NaN where a chromosome has no contacts."""
        partners = {chrom: pair for pair in self.pairs for chrom in pair}
        found = {}
        for chrom, size in self.chromsizes.items():
            weights = np.full(-(-size // resolution), np.nan)
            if chrom in partners:
                zoom = self._zoom(*partners[chrom], name, resolution)
                stored = np.asarray(zoom.getNormVector(self._index[chrom]))[: len(weights)]
                weights[: len(stored)] = stored
            found[chrom] = weights
        yield found

    def _zoom(self, chrom1: str, chrom2: str, norm: str, resolution: int):
        return self._straw.getMatrixZoomData(chrom1, chrom2, "observed", norm, "BP", resolution)


ENGINES = {"hictk": HictkReader, "straw": StrawReader}


def _listed_pairs(path: str, chromosomes: Sequence[str]) -> list[Pair]:
    """The pairs in the master index of a `.hic` file, which neither library lists.

    Layout: https://github.com/aidenlab/hic-format. Trying all pairs of 3,000 scaffolds takes 15 minutes.
    """
    with open(path, "rb") as file:
        version, footer = struct.unpack("<4xiq", file.read(16))
        file.seek(footer + (8 if version > 8 else 4))
        (entries,) = struct.unpack("<i", file.read(4))
        if entries < 1:
            raise ValueError("its index lists no matrix")
        pairs = []
        for _ in range(entries):
            start = file.tell()
            key, end, _ = file.read(24).partition(b"\0")
            one, two = (int(number) for number in key.split(b"_"))
            if not end or not 0 <= one <= two < len(chromosomes):
                raise ValueError(f"its index lists the pair {one}_{two}")
            pairs.append((chromosomes[one], chromosomes[two]))
            file.seek(start + len(key) + 1 + 12)  # after position and size of the matrix
    return pairs
