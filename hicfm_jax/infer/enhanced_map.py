"""Predicted rows of whole chromosomes, on disk, as a contact map."""

import os
import tempfile
from collections.abc import Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.infer.stitching import Rows

ROW_BYTES = 8
"""On disk for each pixel."""

STEP = 1 / 1024
"""Real counts are multiples of this many contacts: far finer than any prediction, and they compress well."""

_AT_ONCE = 1 << 22  # pixels that are rounded at once


class RowFile:
    """Two temporary files with the pixels of a map's rows, `ROW_BYTES` each together.

    The files have no names, so that nothing is left after a kill. All chromosomes share them, because an
    assembly may have more scaffolds than a process may open files.

    Attributes:
      pixels: appended so far.

    Args:
      folder: where the files are; None: where `tempfile` puts them (TMPDIR).
    """

    def __init__(self, folder: str | os.PathLike | None = None):
        self.pixels = 0
        self._folder = os.fspath(folder or tempfile.gettempdir())
        self._files = {dtype: tempfile.TemporaryFile(dir=self._folder) for dtype in (np.int32, np.float32)}

    def append(self, columns: np.ndarray, values: np.ndarray) -> None:
        """Adds pixels, rows one after another; raises OSError, named by the folder, on a full disk."""
        try:
            for (dtype, file), part in zip(self._files.items(), (columns, values), strict=True):
                file.write(part.astype(dtype).tobytes())
                file.flush()
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._folder) from error
        self.pixels += len(columns)

    def read(self, first: int, count: int) -> list[np.ndarray]:
        """Columns, int32 `[count]`, and values, float32 `[count]`, from the pixel `first` on."""
        found = []
        for dtype, file in self._files.items():
            file.seek(first * np.dtype(dtype).itemsize)
            found.append(np.fromfile(file, dtype, count))
            file.seek(0, os.SEEK_END)
        return found


class EnhancedChromosome:
    """Predicted contacts of one chromosome, row after row.

    Args:
      size: bins.
      file: where its rows go, in one piece.
      max_bins: pixels farther from the diagonal are left out; None: none are.
      least: predictions up to this are left out.

    Attributes:
      contacts: predicted so far, before any scaling.
      shallow_contacts: of the input, in the same pixels.
      input_contacts: of the input, in all pixels.
    """

    def __init__(self, size: int, file: RowFile, max_bins: int | None = None, least: float = 0.0):
        self.contacts = self.shallow_contacts = self.input_contacts = 0.0
        self._size, self._file, self._max_bins, self._least = size, file, max_bins, least
        self._start, self._lengths = 0, [np.zeros(1, np.int64)]

    def append(self, rows: Rows, shallow: scipy.sparse.csr_array) -> None:
        """Adds the next rows; `shallow` is the input's chromosome, upper triangle `[n, n]`."""
        if not rows.first:
            self._start, self.input_contacts = self._file.pixels, float(shallow.data.sum(dtype=np.float64))
        count, width = rows.mean.shape
        distance = np.arange(width) - np.arange(count)[:, None]
        kept = rows.covered & (distance >= 0) & (np.arange(width) < self._size - rows.first)
        if self._max_bins is not None:
            kept &= distance <= self._max_bins
        counts = shallow[rows.first : rows.first + count].tocoo()
        near = counts.col - rows.first < width
        row, col = counts.row[near], counts.col[near] - rows.first
        self.shallow_contacts += float(counts.data[near][kept[row, col]].sum(dtype=np.float64))
        kept &= rows.mean > self._least
        self._lengths.append(kept.sum(axis=1))
        self._file.append(np.nonzero(kept)[1] + rows.first, rows.mean[kept])
        self.contacts += float(rows.mean[kept].sum())

    def read(self) -> scipy.sparse.csr_array:
        """Predicted contacts, upper triangle `[n, n]` float32."""
        ends = np.cumsum(np.concatenate(self._lengths), dtype=np.int64)
        ends = np.append(ends, np.full(self._size + 1 - len(ends), ends[-1]))
        columns, values = self._file.read(self._start, int(ends[-1]))
        if ends[-1] > np.iinfo(np.int32).max:  # scipy needs one dtype for both
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
      chromosomes: predictions, in the order of the input.
      target_contacts: of the whole deep map, cis and trans. The predictions are scaled to the same fraction
        of them that these pixels have of the input's contacts; None: not scaled.
      integer: round to whole contacts, halves up.
      exact: keep real counts as predicted, not in multiples of `STEP`.
      metadata: of the map.
    """
    predicted = sum(each.contacts for each in chromosomes.values())
    scale = 1.0
    if target_contacts is not None and predicted:
        fraction = sum(each.shallow_contacts for each in chromosomes.values()) / shallow.total_count
        scale = target_contacts * fraction / predicted

    def load(chrom: str, other: str) -> scipy.sparse.csr_array:
        matrix = chromosomes[chrom].read()
        values = np.empty(matrix.nnz, np.int64 if integer else np.float64)
        for first in range(0, matrix.nnz, _AT_ONCE):
            part = slice(first, first + _AT_ONCE)
            contacts = matrix.data[part].astype(np.float64) * scale
            if integer:
                values[part] = np.floor(contacts + 0.5)
            else:
                # .hic stores single precision.
                values[part] = (contacts if exact else np.rint(contacts / STEP) * STEP).astype(np.float32)
        matrix.data = values
        matrix.eliminate_zeros()
        return matrix

    pairs = [(chrom, chrom) for chrom in chromosomes]
    sizes = {chrom: shallow.chromsizes[chrom] for chrom in chromosomes}
    name = f"{shallow.name}, enhanced"
    return ContactMap(sizes, shallow.resolution, load, name, pairs=lambda: pairs, metadata=metadata)
