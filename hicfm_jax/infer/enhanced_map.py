"""Predictions of whole chromosomes as a contact map."""

from collections.abc import Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.infer.stitching import RowFile, Rows

STEP = 1 / 1024
"""Real counts are multiples of this many contacts: far finer than what is predicted, and it packs well."""

_AT_ONCE = 1 << 22  # pixels that are rounded at once


class EnhancedChromosome:
    """Predicted contacts of one chromosome, on disk, row after row.

    Args:
      shallow: the input, upper triangle `[n, n]`.
      max_bins: farther pixels from the diagonal are left out; None: none are.
      least: predictions up to this are left out.
      file: where its rows go, in one piece.

    Attributes:
      contacts: predicted so far, before any scaling.
      shallow_contacts: of the input, in the same pixels.
    """

    def __init__(
        self,
        shallow: scipy.sparse.csr_array,
        file: RowFile,
        max_bins: int | None = None,
        least: float = 0.0,
    ):
        self.contacts = self.shallow_contacts = 0.0
        self._shallow, self._max_bins, self._least = shallow, max_bins, least
        self._file, self._first, self._size = file, file.pixels, shallow.shape[0]
        self._lengths: list[np.ndarray] = []

    def append(self, rows: Rows) -> None:
        """Adds the next rows."""
        size, (count, width) = self._size, rows.mean.shape
        columns = np.arange(width) - np.arange(count)[:, None]  # bins from the diagonal
        wanted = rows.covered & (columns >= 0) & (np.arange(width) < size - rows.first)
        if self._max_bins is not None:
            wanted &= columns <= self._max_bins
        seen = self._shallow[rows.first : rows.first + count].tocoo()
        near = seen.col - rows.first < width
        row, col = seen.row[near], seen.col[near] - rows.first
        self.shallow_contacts += float(seen.data[near][wanted[row, col]].sum(dtype=np.float64))

        wanted &= rows.mean > self._least
        self._lengths.append(wanted.sum(axis=1))
        self._file.append(np.nonzero(wanted)[1] + rows.first, rows.mean[wanted])
        self.contacts += float(rows.mean[wanted].sum())
        if rows.first + count >= size:
            self._shallow = scipy.sparse.csr_array((size, size))  # no longer needed

    def read(self) -> scipy.sparse.csr_array:
        """Predicted contacts, upper triangle `[n, n]` float32."""
        lengths = np.concatenate([np.zeros(1, np.int64), *self._lengths])
        ends = np.cumsum(lengths, dtype=np.int64)
        ends = np.append(ends, np.full(self._size + 1 - len(ends), ends[-1]))
        columns, values = self._file.read(self._first, int(ends[-1]))
        if ends[-1] > np.iinfo(np.int32).max:  # scipy wants one dtype for both
            columns = columns.astype(np.int64)
        shape = (self._size, self._size)
        return scipy.sparse.csr_array((values, columns, ends.astype(columns.dtype)), shape=shape)


def enhanced_map(
    shallow: ContactMap,
    chromosomes: Mapping[str, EnhancedChromosome],
    target_contacts: float | None = None,
    integer: bool = False,
    exact: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> ContactMap:
    """The predictions as a map of these chromosomes, cis only.

    Args:
      shallow: the input.
      chromosomes: what was predicted, in the order of the input.
      target_contacts: of the whole deep map, cis and trans. What was predicted is scaled so that it has
        the same share of them as the same pixels have of the input; None: not scaled.
      integer: round to whole contacts, halves up.
      exact: keep real counts as they are predicted, not in multiples of `STEP`.
      metadata: of the map.
    """
    predicted = sum(each.contacts for each in chromosomes.values())
    scale = 1.0
    if target_contacts is not None and predicted:
        share = sum(each.shallow_contacts for each in chromosomes.values()) / shallow.total_count
        scale = target_contacts * share / predicted

    def load(chrom: str, other: str) -> scipy.sparse.csr_array:
        matrix = chromosomes[chrom].read()
        values = np.empty(matrix.nnz, np.int64 if integer else np.float64)
        for first in range(0, matrix.nnz, _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            contacts = matrix.data[part].astype(np.float64) * scale
            if integer:
                values[part] = np.floor(contacts + 0.5)
            else:
                # Single precision is what .hic can hold.
                values[part] = (contacts if exact else np.rint(contacts / STEP) * STEP).astype(np.float32)
        matrix.data = values
        matrix.eliminate_zeros()
        return matrix

    pairs = [(chrom, chrom) for chrom in chromosomes]
    sizes = {chrom: shallow.chromsizes[chrom] for chrom in chromosomes}
    name = f"{shallow.name}, enhanced"
    return ContactMap(sizes, shallow.resolution, load, name, pairs=lambda: pairs, metadata=metadata)
