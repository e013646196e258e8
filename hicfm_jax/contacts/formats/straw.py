"""A `.hic` file read with hic-straw; runs in a `ReadingProcess`.

Straw ends the process on what it does not like and goes on with zeros after damage. So what it is asked for
is checked against the file's index before, and its answers against the index's sums afterwards (`hic_file`).
"""

from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.contacts.formats.hic_index import read_normalizations
from hicfm_jax.errors import InputError


class StrawEngine:
    """One resolution of a `.hic` file; the same methods as `HictkEngine`."""

    # Straw hands out each pixel as a Python object of its own.
    PIXELS_AT_ONCE = 1_000_000

    def __init__(self, path: str, resolution: int, chromsizes: Mapping[str, int]):
        try:
            import hicstraw
        except ImportError as error:
            raise InputError(
                f"{path} needs hic-straw to be read with engine='straw': pip install -e '.[straw]'."
            ) from error
        self._file = hicstraw.HiCFile(path)
        self._path = path
        self._resolution = resolution
        self._sizes = chromsizes
        self._index = {
            chrom.name: chrom.index for chrom in self._file.getChromosomes() if chrom.name in chromsizes
        }
        if list(self._index) != list(chromsizes) or resolution not in self._file.getResolutions():
            raise ValueError("straw finds other chromosomes or resolutions in it")

    def pixels(
        self, chrom1: str, chrom2: str, bands: list[tuple[int, int]]
    ) -> Iterator[tuple[np.ndarray, ...]]:
        """As `HictkEngine.pixels`."""
        zoom = self._zoom(chrom1, chrom2, "NONE")
        for start, end in bands:
            # Cis: from the band's start, because straw mirrors what lies below the diagonal.
            records = zoom.getRecords(
                start, end - 1, start if chrom1 == chrom2 else 0, self._sizes[chrom2] - 1
            )
            rows, cols, counts = (
                np.fromiter((getattr(record, field) for record in records), dtype, len(records))
                for field, dtype in (("binX", np.int64), ("binY", np.int64), ("counts", np.float64))
            )
            yield (
                (rows // self._resolution).astype(np.int32),
                (cols // self._resolution).astype(np.int32),
                counts,
            )

    def weight_names(self) -> Iterator[list[str]]:
        """The normalizations at this resolution; straw would take all memory in search of another one."""
        yield read_normalizations(self._path, self._resolution)

    def weights(self, name: str, pairs: Mapping[str, str]) -> Iterator[dict[str, np.ndarray]]:
        """Divisive weights of all bins by chromosome.

        Args:
          name: of the normalization.
          pairs: chromosome -> another that it has contacts with, for those that have any.
        """
        found = {}
        for chrom, size in self._sizes.items():
            weights = np.full(-(-size // self._resolution), np.nan)
            if chrom in pairs:
                zoom = self._zoom(*sorted((chrom, pairs[chrom]), key=self._index.get), name)
                held = np.asarray(zoom.getNormVector(self._index[chrom]))[: len(weights)]
                weights[: len(held)] = held
            found[chrom] = weights
        yield found

    def _zoom(self, chrom1: str, chrom2: str, norm: str):
        return self._file.getMatrixZoomData(chrom1, chrom2, "observed", norm, "BP", self._resolution)
