"""A `.hic` file read with hictkpy; runs in a `ReadingProcess`."""

from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.errors import InputError


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
