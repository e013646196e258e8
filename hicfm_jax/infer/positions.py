"""Where the windows lie that a chromosome is read in."""

import numpy as np

ORIGINAL_STRIDE = 20  # bins, of the published resolution maps
ORIGINAL_BOUND = 0


def covering_starts(size: int, side: int, stride: int) -> np.ndarray:
    """First bins of windows along one axis: 0, stride, ..., and one that ends with the chromosome.

    Args:
      size: bins of the chromosome; if `side` or less there is one window, which overhangs its end.
      side, stride: bins.
    """
    last = max(size - side, 0)
    return np.append(np.arange(0, last, stride), last)


def covering_positions(
    size: int, window: tuple[int, int], stride: int, max_bins: int | None = None
) -> np.ndarray:
    """Windows that hold every pixel of the upper triangle, `[N, 2]` (first row, first column).

    The lower triangle is the mirror image, so each row of windows begins at the diagonal.

    Args:
      size: bins of the chromosome.
      window: (H, W) in bins.
      stride: bins from one window to the next along both axes, at most the shorter side.
      max_bins: pixels farther from the diagonal are not needed; None: all are.

    Returns:
      Sorted as `in_order` does.
    """
    rows, cols = (covering_starts(size, side, stride) for side in window)
    reach = size if max_bins is None else max_bins
    # Where the sides differ, no window of this row may begin right at the diagonal: take the one before.
    first = np.searchsorted(cols, rows, side="right") - 1
    last = np.searchsorted(cols, rows + window[0] - 1 + reach, side="right")
    found = [
        np.stack(np.broadcast_arrays(row, cols[begin:end]), axis=1)
        for row, begin, end in zip(rows, first, last, strict=True)
    ]
    return in_order(np.concatenate(found))


def original_positions(size: int, window: tuple[int, int], stride: int, bound: int) -> np.ndarray:
    """Windows of the original's inference, `[N, 2]`, with its duplicates, which weigh in the mean.

    Along each axis: 0, stride, ... below n - w, then n - w, then n - w - stride. A pair is kept if its
    starts differ by at most `bound`, then set to 0 where negative; the row's start at once, so that
    later columns of its row are compared with 0. Both triangles are scanned.

    Args:
      size: bins of the chromosome; one shorter than the window counts as long as it.
      window: (H, W) in bins.
      stride, bound: bins.

    Returns:
      Sorted as `in_order` does, which the original does not; its means do not depend on the order.
    """

    def starts(side):
        last = max(size, side) - side
        return [*range(0, last, stride), last, last - stride]

    found, cols = [], starts(window[1])
    for row in starts(window[0]):
        for col in cols:
            if abs(row - col) <= bound:
                row = max(row, 0)
                found.append((row, max(col, 0)))
    return in_order(np.array(found, np.int64).reshape(-1, 2))


def in_order(positions: np.ndarray) -> np.ndarray:
    """Sorts by the first row of the upper triangle that a window or its mirror image touches.

    What lies above the first row of the next window is then final.
    """
    rows, cols = positions.T
    return positions[np.lexsort((cols, rows, positions.min(axis=1, initial=1 << 62)))]
