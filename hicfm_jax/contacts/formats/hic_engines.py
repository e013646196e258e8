"""Readers of `.hic` files with hictk and with hic-straw."""

import functools
import os
import struct
import warnings
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import numpy as np

from hicfm_jax.contacts.contact_map import Pair
from hicfm_jax.errors import InputError, InputNote

VERSIONS = range(6, 10)
Part = tuple[np.ndarray, np.ndarray, np.ndarray]


class HictkReader:
    """A `.hic` file read with hictkpy. The generator methods are called in a `ReadingProcess`."""

    pixels_at_once = 5_000_000

    def __init__(self, path: str):
        try:
            # Not preloaded: it warns at each fork after its import, and readers are forked.
            import hictkpy
        except ImportError as error:
            raise InputError(f"{path} needs hictkpy to be read: pip install 'hicfm_jax[hic]'.") from error
        with open(path, "rb") as file:
            magic, version = file.read(4), int.from_bytes(file.read(4), "little")
        if magic != b"HIC\0":
            raise InputError(
                f"{path} is not a .hic file, which starts with 'HIC': it may be of another format."
            )
        if version not in VERSIONS:
            raise InputError(
                f"{path} is a .hic file of version {version}, expected {VERSIONS[0]} to {VERSIONS[-1]}: make "
                "it again with a newer Juicer or hictk."
            )
        hictkpy.logging.setLevel("CRITICAL")
        try:
            file = hictkpy.MultiResFile(path)
        except RuntimeError as error:
            if _has_widths(path):
                raise
            raise InputError(
                f"{path} has resolutions in restriction fragments only, expected some in bp: make it again "
                "with them (juicer_tools pre -r 10000)."
            ) from error
        self.chromsizes, self._resolutions = dict(file.chromosomes()), file.resolutions().tolist()
        self._path, listed = path, _listed_pairs(path, list(file.chromosomes(include_ALL=True)))
        self.pairs = {pair: place for pair, place in listed.items() if set(pair) <= self.chromsizes.keys()}
        self._file = functools.cache(functools.partial(hictkpy.File, path))

    def layout(self) -> Iterator[tuple[dict[str, int], list[int], list[Pair]]]:
        """Chromosome lengths in bp, resolutions in bp, and the pairs that the file lists."""
        yield self.chromsizes, self._resolutions, list(self.pairs)

    def pixels(self, resolution: int, chrom1: str, chrom2: str) -> Iterator[Part]:
        """Rows, columns (int32, from the first bins of the chromosomes) and counts (float64), in parts."""
        if (chrom1, chrom2) not in self.pairs:
            return
        size, columns = self.chromsizes[chrom1], -(-self.chromsizes[chrom2] // resolution)
        rows, start, contacts, mirrored = max(1, self.pixels_at_once // columns), 0, 0.0, 0.0
        while start < size:
            end, found = min(start + rows * resolution, size), 0
            for part in self._fetch(resolution, chrom1, start, end, chrom2):
                found += len(part[2])
                contacts += part[2].sum()
                mirrored += part[2].sum(where=part[0] != part[1]) if chrom1 == chrom2 else 0.0
                yield part
            # Maps are sparse: as many rows as give about `pixels_at_once` pixels.
            rows = max(1, min(4 * rows, rows * self.pixels_at_once // max(found, 1)))
            start = end
        stated = _stated_sum(self._path, self.pairs[chrom1, chrom2], resolution)
        # A hint, not a checksum: hictk leaves pixels out of it, so that more may be there. Juicer Tools 3
        # counts cis pixels off the diagonal twice, in single precision.
        both, rounding = contacts + mirrored, max(0.5, 1e-5 * stated)
        if stated - contacts > rounding and abs(stated - both) > rounding:
            twice = f" ({both:,.0f} with both triangles)" if mirrored else ""
            note = (
                f"{self._path} states {stated:,.0f} contacts of {chrom1} x {chrom2} and has "
                f"{contacts:,.0f}{twice} within the chromosomes: the others are left out; they may lie "
                "beyond an end, as with the chrom.sizes of another assembly."
            )
            warnings.warn(InputNote(note), stacklevel=2)

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
                f"{path} needs hic-straw to be read with engine='straw': pip install 'hicfm_jax[straw]'."
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


def _listed_pairs(path: str, chromosomes: Sequence[str]) -> dict[Pair, int]:
    """The pairs in the master index of a `.hic` file, which neither library lists, and the place of each.

    Layout: https://github.com/aidenlab/hic-format. Trying all pairs of 3,000 scaffolds takes 15 minutes.
    """
    with open(path, "rb") as file:
        version, footer = struct.unpack("<4xiq", file.read(16))
        file.seek(footer + (8 if version > 8 else 4))
        (entries,) = struct.unpack("<i", file.read(4))
        if entries < 1:
            raise ValueError("its index lists no matrix")
        pairs = {}
        for _ in range(entries):
            start = file.tell()
            key, end, _ = file.read(24).partition(b"\0")
            one, two = (int(number) for number in key.split(b"_"))
            if not end or not 0 <= one <= two < len(chromosomes):
                raise ValueError(f"its index lists the pair {one}_{two}")
            file.seek(start + len(key) + 1)
            (pairs[chromosomes[one], chromosomes[two]],) = struct.unpack("<q4x", file.read(12))
    return pairs


def _stated_sum(path: str, place: int, resolution: int) -> float:
    """The sum of counts that the record of a matrix, at `place` in the file, states at a resolution (bp)."""
    with open(path, "rb") as file:
        file.seek(place + 8)
        (count,) = struct.unpack("<i", file.read(4))
        for _ in range(count):
            unit, (stated, width, blocks) = _word(file), struct.unpack("<4xf12xi8xi", file.read(36))
            if (unit, width) == (b"BP", resolution):
                return stated
            file.seek(16 * blocks, os.SEEK_CUR)
    return 0.0


def _has_widths(path: str) -> bool:
    """Whether a file has bins in bp, or cannot tell."""
    with open(path, "rb") as file:
        try:
            (version,) = struct.unpack("<4xi", file.read(8))
            file.seek(8, os.SEEK_CUR)
            _word(file)
            file.seek(16 if version > 8 else 0, os.SEEK_CUR)
            for _ in range(2 * struct.unpack("<i", file.read(4))[0]):
                _word(file)
            for _ in range(struct.unpack("<i", file.read(4))[0]):
                _word(file)
                file.seek(8 if version > 8 else 4, os.SEEK_CUR)
            return struct.unpack("<i", file.read(4))[0] != 0
        except (struct.error, EOFError):
            return True


def _word(file: BinaryIO) -> bytes:
    """The next word of a binary file, which a zero byte ends."""
    word = bytearray()
    while (letter := file.read(1)) != b"\0":
        if not letter:
            raise EOFError("it ends within a word")
        word += letter
    return bytes(word)
