"""Expected contacts: distance decay, or the mean of a trans pair, times biases."""

import dataclasses
from collections.abc import Iterable

import numpy as np
import scipy.fft
import scipy.sparse

from hicfm_jax.contacts.contact_map import ContactMap, Pair

ROUNDS = 10  # of fitting decay and bias in turn; little changes after that
SMOOTHING = 0.05  # the decay is averaged over distances up to this fraction shorter or longer


@dataclasses.dataclass(frozen=True)
class Expected:
    """Expected contacts of a cis map: `decay[|i - j|] * bias[i] * bias[j]`.

    Attributes:
      decay: mean contacts at each distance in bins between two bins of bias 1, `[n]` float64.
      bias: `[n]` float64, mean 1 over the bins that have contacts; 0 for the others.
      coverage: contacts of each bin with its chromosome, those with itself once, `[n]` float64.
    """

    decay: np.ndarray
    bias: np.ndarray
    coverage: np.ndarray

    def dense(self) -> np.ndarray:
        """Expected contacts of every pixel, both triangles, `[n, n]` float64."""
        bins = np.arange(len(self.bias))
        return self.decay[np.abs(bins[:, None] - bins)] * np.outer(self.bias, self.bias)

    def window(self, row: int, col: int, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        """Decay, biases and coverage of a window.

        Args:
          row, col: first bin of rows and columns; may be before the chromosome's start.
          shape: (H, W) in bins; may reach beyond its end.

        Returns:
          float32 arrays: `row_bias`, `row_coverage` `[H]`, `column_bias`, `column_coverage` `[W]`, 0
          outside the chromosome; `decay` `[H + W - 1]`, that of pixel (r, c) at `c - r + H - 1`.
        """
        height, width = shape
        distance = np.abs(np.arange(col - row - height + 1, col - row + width))
        return {
            "row_bias": _cut(self.bias, row, height),
            "column_bias": _cut(self.bias, col, width),
            "row_coverage": _cut(self.coverage, row, height),
            "column_coverage": _cut(self.coverage, col, width),
            "decay": self.decay[np.minimum(distance, len(self.decay) - 1)].astype(np.float32),
        }


@dataclasses.dataclass(frozen=True)
class TransExpected:
    """Expected contacts of two different chromosomes: `mean * row_bias[i] * column_bias[j]`.

    The bias of a bin is its coverage by trans contacts over the mean of its chromosome. In maps of yeast and
    *Plasmodium*, it predicts trans contacts that were set aside better than the bias of the cis fit does, at
    every depth from 1/2 to 1/64: trans contacts of centromeres and telomeres are not in the cis bias.

    Attributes:
      mean: contacts of a pixel between two bins of bias 1.
      row_coverage, column_coverage: contacts of each bin with all other chromosomes, `[n]` and `[m]` float64.
    """

    mean: float
    row_coverage: np.ndarray
    column_coverage: np.ndarray

    @property
    def row_bias(self) -> np.ndarray:
        """`[n]` float64, mean 1 over the bins that have contacts; 0 for the others."""
        return _relative(self.row_coverage)

    @property
    def column_bias(self) -> np.ndarray:
        """`[m]` float64, as `row_bias`."""
        return _relative(self.column_coverage)

    def dense(self) -> np.ndarray:
        """Expected contacts of every pixel, `[n, m]` float64."""
        return self.mean * np.outer(self.row_bias, self.column_bias)

    def window(self, row: int, col: int, shape: tuple[int, int]) -> dict[str, np.ndarray]:
        """As `Expected.window`; `decay` is the same at all distances."""
        height, width = shape
        return {
            "row_bias": _cut(self.row_bias, row, height),
            "column_bias": _cut(self.column_bias, col, width),
            "row_coverage": _cut(self.row_coverage, row, height),
            "column_coverage": _cut(self.column_coverage, col, width),
            "decay": np.full(height + width - 1, self.mean, np.float32),
        }


class TransSums:
    """Sums over the pairs of different chromosomes of a map, for their expected contacts.

    The coverage of a bin is by all other chromosomes, so that one pair alone does not give it.
    """

    def __init__(self, contact_map: ContactMap):
        self._map = contact_map
        self._coverage = {chrom: np.zeros(contact_map.n_bins(chrom)) for chrom in contact_map.chromsizes}
        self._totals: dict[Pair, float] = {}

    def add(self, pair: Pair, matrix: scipy.sparse.sparray) -> None:
        """Adds the contacts `[n, m]` of a pair of the map, if they are loaded anyway."""
        for chrom, axis in zip(pair, (1, 0), strict=True):
            self._coverage[chrom] += matrix.sum(axis=axis)
        self._totals[pair] = float(matrix.sum())

    def expected(self, pairs: Iterable[Pair]) -> dict[Pair, TransExpected]:
        """Expected contacts of these pairs; loads each pair of the map once that was not added."""
        for pair in self._map.pairs():
            if pair[0] != pair[1] and pair not in self._totals:
                self.add(pair, self._map.matrix(*pair))
        found = {}
        for pair in pairs:
            rows, columns = (self._coverage[chrom] for chrom in pair)
            pixels = max(np.count_nonzero(rows) * np.count_nonzero(columns), 1)
            found[pair] = TransExpected(self._totals.get(pair, 0.0) / pixels, rows, columns)
        return found


def find_expected(matrix: scipy.sparse.sparray) -> Expected:
    """Fits decay and bias so that sums by bin and over ranges of distances agree with those of the map.

    The ranges grow with distance, so that few contacts are enough: the fit of 1/256 of a map is close to that
    of the whole map, scaled. The matrix `[n, n]` is the upper triangle of a chromosome with the diagonal.
    """
    counts = matrix.tocoo()
    size = counts.shape[0]
    values = counts.data.astype(np.float64)
    off = counts.row != counts.col
    coverage = np.bincount(counts.row, values, size) + np.bincount(counts.col[off], values[off], size)
    at_distance = np.bincount(counts.col - counts.row, values, size)
    bias = (coverage > 0).astype(np.float64)
    if not bias.any():
        return Expected(np.zeros(size), bias, coverage)
    for step in range(ROUNDS):
        unbiased = _sums_by_bin(_decay(at_distance, bias), bias)
        ratio = np.divide(coverage, unbiased, out=np.zeros(size), where=(coverage > 0) & (unbiased > 0))
        # Half a step on the log scale: whole steps oscillate.
        bias = np.sqrt(ratio * bias if step else ratio)
        bias /= bias[bias > 0].mean()
    return Expected(_decay(at_distance, bias), bias, coverage)


def _decay(at_distance: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Contacts over the pairs of bins at each distance, the pairs weighted by their bias, `[n]`."""
    size = len(bias)
    padded = scipy.fft.next_fast_len(2 * size, real=True)
    spectrum = scipy.fft.rfft(bias, padded)
    pairs = np.maximum(scipy.fft.irfft(spectrum * spectrum.conj(), padded)[:size], 0.0)
    distance = np.arange(size)
    reach = (SMOOTHING * distance).astype(int)
    first, last = distance - reach, np.minimum(distance + reach + 1, size)

    def around(sums):
        total = np.concatenate([[0.0], np.cumsum(sums)])
        return total[last] - total[first]

    pairs = around(pairs)
    # Rounding errors of the FFT where no pair of bins has contacts.
    return np.divide(around(at_distance), pairs, out=np.zeros(size), where=pairs > 1e-6)


def _sums_by_bin(decay: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Contacts that each bin would have with the chromosome if its own bias were 1, `[n]`."""
    size = len(bias)
    kernel = np.concatenate([decay[:0:-1], decay])
    padded = scipy.fft.next_fast_len(3 * size, real=True)
    product = scipy.fft.rfft(kernel, padded) * scipy.fft.rfft(bias, padded)
    return np.maximum(scipy.fft.irfft(product, padded)[size - 1 : 2 * size - 1], 0.0)


def _relative(coverage: np.ndarray) -> np.ndarray:
    return coverage / max(coverage.sum() / max(np.count_nonzero(coverage), 1), np.finfo(float).tiny)


def _cut(values: np.ndarray, first: int, size: int) -> np.ndarray:
    bins = np.arange(first, first + size)
    inside = (bins >= 0) & (bins < len(values))
    return np.where(inside, values[np.clip(bins, 0, len(values) - 1)], 0).astype(np.float32)
