"""The context of a window as the shallower experiment that its thinned counts are from would give it.

Of a bin's contacts, those that the window shows are known to be kept or not; the others are drawn,
each kept with the same probability. Its visibility follows its coverage, as it does in
`contacts.expected` to first order. What has become of the other bins is left out, which makes it a
little noisier than a fit to a thinned map would find it. The decay is that of the deep map, scaled: it
lacks the noise that such a fit would have.
"""

from collections.abc import Mapping

import numpy as np

from hicfm_jax.tiles.binomial import binomial
from hicfm_jax.types import PATCH


def thin_context(
    context: Mapping[str, np.ndarray],
    deep: np.ndarray,
    kept: np.ndarray,
    diag: int,
    share: float,
    words: np.random.BitGenerator,
) -> dict[str, np.ndarray]:
    """The context of one window after thinning.

    A bin that lies in the rows and in the columns has one value, made of all contacts that the window
    shows of it. Two simplifications: contacts beyond the window are drawn for each bin by itself,
    also those that two of its bins share; and the bias keeps the scale of the deep map, whose mean
    is 1 over a whole chromosome.

    Args:
      context: of the deep window, see `types.Batch`, without the batch's axis.
      deep, kept: its contacts and those that are left of them, whole numbers `[H, W]`.
      diag: where the map's diagonal enters, in patches.
      share: the probability that a contact is kept, a multiple of 2**-16.
      words: where random bits come from.
    """
    height, width = deep.shape
    # Row r and column r + offset are one bin where the window has both.
    offset = diag * PATCH
    first = max(0, -offset)
    last = max(first, min(height, width - offset))
    twice = slice(first, last), slice(first + offset, last + offset)
    (deep_rows, deep_columns), (kept_rows, kept_columns) = (_shown(each, twice) for each in (deep, kept))
    once = np.ones(width, bool)
    once[twice[1]] = False

    coverage = np.concatenate([context["row_coverage"], context["column_coverage"][once]])
    shown = np.concatenate([deep_rows, deep_columns[once]])
    # Coverage beyond 2**24 is rounded in float32.
    outside = np.maximum(np.rint(coverage - shown), 0)
    left = np.concatenate([kept_rows, kept_columns[once]]) + binomial(outside, share, words)
    ratio = np.divide(left, coverage * share, out=np.zeros(len(left)), where=coverage > 0)

    def by_column(of_rows: np.ndarray, of_others: np.ndarray) -> np.ndarray:
        columns = np.empty(width)
        columns[once], columns[twice[1]] = of_others, of_rows[twice[0]]
        return columns

    return {
        "row_bias": (context["row_bias"] * ratio[:height]).astype(np.float32),
        "column_bias": (context["column_bias"] * by_column(ratio[:height], ratio[height:])).astype(
            np.float32
        ),
        "row_coverage": left[:height].astype(np.float32),
        "column_coverage": by_column(left[:height], left[height:]).astype(np.float32),
        "decay": context["decay"] * np.float32(share),
    }


def _shown(counts: np.ndarray, twice: tuple[slice, slice]) -> tuple[np.ndarray, np.ndarray]:
    """Contacts of every row's and every column's bin that a window shows, `[H]` and `[W]` float64.

    For the bins that are in both they are those of the row and of the column, each contact once.
    """
    counts = counts.astype(np.float64)  # once: summing other dtypes converts them each time
    rows, columns = counts.sum(1), counts.sum(0)
    both = rows[twice[0]] + columns[twice[1]] - counts[twice].sum(1)
    rows[twice[0]] = columns[twice[1]] = both
    return rows, columns
