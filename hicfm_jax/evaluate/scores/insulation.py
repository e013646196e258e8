"""Insulation: how little of the contacts near the diagonal cross each bin."""

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.expected import Expected
from hicfm_jax.evaluate.scores.diagonals import visible_bins

WINDOW = 100_000  # bp, or five bins where that is more
BIN = 10_000
"""bp; finer maps are summed up to bins of about this width: cooltools' time grows with the window squared."""
IGNORED = 2  # diagonals next to the main one, as after balancing


def bin_factor(resolution: int) -> int:
    """How many bins of a map to sum up before insulation is computed."""
    return max(1, round(BIN / resolution))


def default_window(bin_size: int) -> int:
    """Bins of `bin_size` bp along the diamond's side."""
    return max(5, round(WINDOW / bin_size))


def log_insulation(matrix: scipy.sparse.sparray, expected: Expected, window: int) -> np.ndarray:
    """log2 insulation scores of cooltools, `[n]`: the mean of a diamond over the chromosome's median.

    Args:
      matrix: counts of a chromosome, upper triangle `[n, n]`.
      expected: fitted to it; counts are divided by its biases.
      window: the diamond's side, in bins.

    Returns:
      NaN for bins with few contacts and where the diamond holds none.
    """
    import pandas as pd
    from cooltools.api.insulation import insul_diamond

    pixels = matrix.tocoo()
    near = pixels.col - pixels.row <= 2 * window
    table = {"bin1_id": pixels.row[near], "bin2_id": pixels.col[near], "count": pixels.data[near]}
    seen = visible_bins(expected)
    weight = np.divide(1, expected.bias, out=np.full(len(seen), np.nan), where=seen)
    scores = insul_diamond(
        _Pixels(table), pd.DataFrame({"weight": weight}), window, IGNORED, clr_weight_name="weight"
    )[0]
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log2(scores)
    return np.where(np.isfinite(logs) & seen, logs, np.nan)


class _Pixels:
    """What cooltools asks of a selection of pixels: pieces of the table."""

    def __init__(self, table: dict[str, np.ndarray]):
        self.table = table

    def read_chunked(self):
        yield self.table
