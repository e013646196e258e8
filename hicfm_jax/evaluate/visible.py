"""Which bins hold enough contacts to say something, and tracks compared over them."""

import numpy as np

from hicfm_jax.contacts.expected import Expected

LEAST_BIAS = 0.2
"""Of the median: bins that reads hardly map to are left out."""


def visible_bins(expected: Expected) -> np.ndarray:
    """Bins with at least a fifth of the median visibility, `[n]` bool."""
    held = expected.bias > 0
    if not held.any():
        return held
    return expected.bias >= LEAST_BIAS * np.median(expected.bias[held])


def track_correlation(test: np.ndarray, reference: np.ndarray) -> tuple[float, int]:
    """Pearson correlation of two tracks over the bins where both are known, and their number.

    NaN where fewer than three are known or the reference does not vary; 0 where only the test does not.
    """
    known = np.isfinite(test) & np.isfinite(reference)
    x, y = test[known], reference[known]
    if x.size < 3 or np.ptp(y) == 0:
        return float("nan"), 0
    if np.ptp(x) == 0:
        return 0.0, x.size
    return float(np.corrcoef(x, y)[0, 1]), x.size
