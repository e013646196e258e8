"""Opening a `.hic` file with one of two libraries and loading it pair by pair.

A `.hic` file read with hictkpy; runs in a `ReadingProcess`.

Writing contact maps as `.hic` with zoom levels.
"""

import errno
import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.balancing import balance, settle_kind
from hicfm_jax.contacts.chromsizes import check_bins, choose_resolution, zoom_levels
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats.hic_index import HicIndex, read_index
from hicfm_jax.contacts.formats.reading_process import ReadingProcess
from hicfm_jax.contacts.formats.straw import StrawEngine
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_space

SUM_TOLERANCE = 0.01
"""Share by which counts may miss the sum that the file states, which is in single precision."""


def open_hic(
    path: str,
    resolution: int | None = None,
    engine: str | None = None,
    weight: str | None = None,
    weight_kind: str | None = None,
) -> ContactMap:
    """A map from a `.hic` file; see `open_contacts` for the arguments and errors."""
    if engine not in (None, *ENGINES):
        raise InputError(f"engine={engine!r} reads no .hic files: choose {' or '.join(ENGINES)}.")
    index = read_index(path)
    source = choose_resolution(path, index.resolutions, resolution)
    check_bins(index.chromsizes, source, path)
    raw = HicFile(path, index, source, engine or "hictk")
    if weight is None or weight == "NONE":
        if weight_kind is not None:
            raise InputError(f"weight_kind={weight_kind!r} without a weight: name one with weight=NAME.")
        made = raw.contact_map()
        return made if resolution in (None, source) else made.coarsen(resolution // source)
    if resolution not in (None, source):
        raise InputError(
            f"{path} has no weights at {resolution} bp, and weights hold for one resolution only: choose one "
            f"that it holds, {', '.join(map(str, sorted(index.resolutions)))} bp."
        )
    return raw.balanced(weight, weight_kind)


class HicFile:
    """One resolution of a `.hic` file.

    Args:
      path: the file.
      index: what `read_index` found in it.
      resolution: one that it holds, in bp.
      engine: `hictk` or `straw`.
    """

    def __init__(self, path: str, index: HicIndex, resolution: int, engine: str):
        self.name = path
        self.resolution = resolution
        self.chromsizes = index.chromsizes
        self._totals = {
            (one, two): total for (one, two, width), total in index.totals.items() if width == resolution
        }
        self._at_once = ENGINES[engine].PIXELS_AT_ONCE
        self._reader = ReadingProcess(ENGINES[engine], path, resolution, index.chromsizes)

    def contact_map(self) -> ContactMap:
        """A ContactMap of raw counts that reads from this file."""
        return ContactMap(
            self.chromsizes, self.resolution, self.load, self.name, pairs=lambda: list(self._totals)
        )

    def balanced(self, weight: str, kind: str | None) -> ContactMap:
        """A ContactMap balanced with one of the file's normalizations."""
        kind = settle_kind(self.name, weight, "divisive", kind)
        names = self._reader.ask("weight_names")
        if weight not in names:
            raise InputError(
                f"{self.name} has no weights {weight!r} at {self.resolution} bp, the normalizations it has: "
                f"{', '.join(names) or 'none'}."
            )
        partner = {chrom: other for pair in self._totals for chrom, other in (pair, pair[::-1])}
        weights = self._reader.ask("weights", weight, partner)
        return balance(self.contact_map(), weights.__getitem__, kind, weight)

    def load(self, chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        """Counts of one pair, chrom1 not after chrom2: `[bins of chrom1, bins of chrom2]`."""
        shape = tuple(-(-self.chromsizes[chrom] // self.resolution) for chrom in (chrom1, chrom2))
        stated = self._totals.get((chrom1, chrom2), 0)
        if stated == 0:
            return scipy.sparse.csr_array(shape, dtype=np.int64)
        pieces = list(self._reader.stream("pixels", chrom1, chrom2, self._bands(chrom1, shape, stated)))
        rows, cols, counts = (np.concatenate(part) for part in zip(*pieces, strict=True))
        # Juicer's sums of cis maps have both triangles in them, hictk's only one.
        once = counts.sum()
        twice = 2 * once - counts[rows == cols].sum() if chrom1 == chrom2 else once
        if not min(abs(once - stated), abs(twice - stated)) <= SUM_TOLERANCE * stated:
            raise InputError(
                f"{self.name}, chromosome {chrom1} x {chrom2} holds {once:.9g} contacts, but its index says "
                f"{stated:.9g}: it is damaged; make or fetch it again."
            )
        return scipy.sparse.coo_array((counts, (rows, cols)), shape).tocsr()

    def _bands(self, chrom1: str, shape: tuple[int, int], stated: float) -> list[tuple[int, int]]:
        """Stretches of chrom1 in bp that hold about as many pixels as a reader should have at once."""
        # A pixel holds a contact or more, if counts are raw.
        pixels = min(stated, shape[0] * shape[1])
        rows = max(1, int(shape[0] * self._at_once / max(pixels, self._at_once)))
        size = self.chromsizes[chrom1]
        starts = range(0, size, rows * self.resolution)
        return [(start, min(start + rows * self.resolution, size)) for start in starts]


class HictkEngine:
    """One resolution of a `.hic` file. Each method is a generator, as `ReadingProcess` asks for.

    Args:
      path: the file.
      resolution: one that it holds, in bp.
      chromsizes: lengths of its chromosomes in bp, in file order.
    """

    PIXELS_AT_ONCE = 5_000_000

    def __init__(self, path: str, resolution: int, chromsizes: Mapping[str, int]):
        try:
            # Not at the top: it warns at each fork after its import, and the readers are forked.
            import hictkpy
        except ImportError as error:
            raise InputError(f"{path} needs hictkpy to be read: pip install -e '.[hic]'.") from error
        hictkpy.logging.setLevel("CRITICAL")
        self._file = hictkpy.File(path, resolution)
        self._resolution = resolution
        self._sizes = chromsizes
        if self._file.chromosomes() != dict(chromsizes):
            raise ValueError("hictk finds other chromosomes in it")

    def pixels(
        self, chrom1: str, chrom2: str, bands: list[tuple[int, int]]
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """Rows, columns (int32, from the chromosomes' first bins) and counts (float64), in pieces.

        Args:
          chrom1: of the rows, not after chrom2 in the file.
          chrom2: of the columns.
          bands: stretches of chrom1 in bp to read one after the other.
        """
        for start, end in bands:
            # Cis: a query of hictk may not reach below the diagonal, except in a square around it.
            columns = [(0, self._sizes[chrom2])]
            if chrom1 == chrom2:
                columns = [(start, end), (end, self._sizes[chrom2])]
            for first, last in columns:
                if first < last:
                    yield self._fetch(chrom1, start, end, chrom2, first, last)

    def _fetch(self, chrom1, start, end, chrom2, first, last) -> tuple[np.ndarray, ...]:
        # BED form: a name may hold a colon, which UCSC form would misread.
        query = f"{chrom1}\t{start}\t{end}", f"{chrom2}\t{first}\t{last}"
        found = self._file.fetch(*query, count_type="float64", query_type="BED").to_coo()
        row0, col0 = (np.int32(bp // self._resolution) for bp in (start, first))
        return found.row + row0, found.col + col0, found.data

    def weight_names(self) -> Iterator[list[str]]:
        """The normalizations at this resolution."""
        yield sorted(map(str, self._file.avail_normalizations()))

    def weights(self, name: str, pairs: Mapping[str, str]) -> Iterator[dict[str, np.ndarray]]:
        """Divisive weights of all bins by chromosome; `pairs` is of no use here."""
        found = self._file.weights(name, divisive=True)
        bins = [-(-size // self._resolution) for size in self._sizes.values()]
        yield dict(zip(self._sizes, np.split(found, np.cumsum(bins)[:-1]), strict=True))


ENGINES = {"hictk": HictkEngine, "straw": StrawEngine}


def write_hic(contact_map: ContactMap, path: pathlib.Path) -> list[int]:
    """Writes a map as `.hic` (version 9) with zoom levels in steps of 1, 2, 5, 10.

    The format keeps counts in single precision. Counts that are changed by it are refused; sums of more than
    16,777,216 in a pixel of a coarser level are rounded to 7 digits.

    Args:
      contact_map: what to write.
      path: where; an existing file is replaced.

    Returns:
      The resolutions written, in bp.

    Raises:
      InputError: counts that single precision cannot hold, a chromosome called `All`, or no hictkpy.
      OSError: the disk is full or not writable.
    """
    try:
        import hictkpy
    except ImportError as error:
        raise InputError(f"{path} needs hictkpy to be written: pip install -e '.[hic]'.") from error
    import pandas as pd

    hictkpy.logging.setLevel("ERROR")  # it tells of every block
    if reserved := [chrom for chrom in contact_map.chromsizes if chrom.lower() == "all"]:
        raise InputError(f"{path}: .hic keeps the name {reserved[0]!r} for the whole genome: rename it.")
    pixels = 0
    for pair in contact_map.pairs():
        counts = contact_map.matrix(*pair).data
        pixels += counts.size
        changed = counts[counts.astype(np.float32) != counts]
        if changed.size:
            raise InputError(
                f"{path}: .hic keeps counts in single precision, which would change {changed[0]} of "
                f"{' x '.join(pair)}: write .mcool, or whole counts up to 16777216."
            )
    levels = zoom_levels(contact_map.resolution, contact_map.chromsizes)
    # Hictk keeps all pixels in a temporary file beside the one it makes.
    check_space(path, 8 * pixels)

    bins = [contact_map.n_bins(chrom) for chrom in contact_map.chromsizes]
    offset = dict(zip(contact_map.chromsizes, np.cumsum([0, *bins]).tolist(), strict=False))
    try:
        with atomic_file(path) as partial:
            writer = hictkpy.hic.FileWriter(
                str(partial), contact_map.chromsizes, levels, tmpdir=str(partial.parent), compression_lvl=6
            )
            for chrom1, chrom2 in contact_map.pairs():
                part = contact_map.matrix(chrom1, chrom2).tocoo()
                if part.nnz:
                    columns = {
                        "bin1_id": part.row + np.int64(offset[chrom1]),
                        "bin2_id": part.col + np.int64(offset[chrom2]),
                        "count": part.data.astype(np.float64),
                    }
                    writer.add_pixels(pd.DataFrame(columns))
            writer.finalize().close()
    except RuntimeError as error:
        # Hictk's word for a failed write, whatever the reason.
        if "iostream error" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    return levels
