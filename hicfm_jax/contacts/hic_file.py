"""Opening a `.hic` file with one of two libraries and loading it pair by pair."""

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.chromsizes import check_bins
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.hic_index import HicIndex, read_index
from hicfm_jax.contacts.hictk_engine import HictkEngine
from hicfm_jax.contacts.reading_process import ReadingProcess
from hicfm_jax.contacts.resolutions import choose_resolution
from hicfm_jax.contacts.straw_engine import StrawEngine
from hicfm_jax.contacts.weights import balance, settle_kind
from hicfm_jax.errors import InputError

ENGINES = {"hictk": HictkEngine, "straw": StrawEngine}

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
