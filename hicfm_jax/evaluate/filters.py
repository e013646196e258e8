"""What a deeper map has to beat: estimates made from the shallow map by simple arithmetic.

All take the shallow counts of a chromosome and the ratio of the depths, and return a map `[n, n]` at the
reference's depth. Most have one or two numbers to choose, which `tuning.py` does on other chromosomes.
"""

from collections.abc import Callable

import numpy as np
import scipy.ndimage
import scipy.sparse

from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.scores.diagonals import Matrix, dense, upper

Baseline = Callable[..., Matrix]

HALFWAY = 30
"""Bins between two loci where both widths of the blend count alike."""


def rescaled(counts: scipy.sparse.sparray, ratio: float) -> scipy.sparse.csr_array:
    """The counts times the ratio of the depths, upper triangle."""
    return upper(counts) * ratio


def gaussian(counts: scipy.sparse.sparray, ratio: float, sigma: float) -> np.ndarray:
    """The same after a Gaussian filter, mirrored at the borders.

    Args:
      counts: upper triangle `[n, n]`.
      ratio: reference's contacts per contact of the shallow map.
      sigma: standard deviation in bins.
    """
    return scipy.ndimage.gaussian_filter(dense(counts) * ratio, sigma, mode="reflect")


def bicubic(counts: scipy.sparse.sparray, ratio: float, factor: int) -> np.ndarray:
    """The rescaled counts averaged over blocks and brought back by bicubic interpolation, never below 0.

    Blocks at the end are filled up with copies of the last bin. The interpolation is the cubic convolution
    of Keys 1981 (a = -0.5) around the blocks' centres, mirrored at the borders.

    Args:
      counts: upper triangle `[n, n]`.
      ratio: reference's contacts per contact of the shallow map.
      factor: bins along a block's side.
    """
    image = dense(counts) * ratio
    size = len(image)
    image = np.pad(image, (0, -size % factor), mode="edge")
    blocks = len(image) // factor
    pooled = image.reshape(blocks, factor, blocks, factor).mean(axis=(1, 3))
    spread = _cubic_weights(blocks, factor)[:size]
    return np.maximum(spread @ pooled @ spread.T, 0)


def coverage_aware(counts: scipy.sparse.sparray, ratio: float, sigma: float) -> np.ndarray:
    """Smooths what distance and visibility do not explain.

    The counts and what decay and biases let expect (fitted to these same counts) are smoothed alike; the
    ratio of the two, times what is expected, keeps decay and stripes sharp while it averages the rest.

    Args:
      counts: upper triangle `[n, n]`.
      ratio: reference's contacts per contact of the shallow map.
      sigma: standard deviation in bins.
    """
    expected = find_expected(counts).dense()
    observed, model = (
        scipy.ndimage.gaussian_filter(values, sigma, mode="constant") for values in (dense(counts), expected)
    )
    return np.divide(observed, model, out=np.zeros_like(model), where=model > 0) * expected * ratio


def coverage_aware_blend(
    counts: scipy.sparse.sparray, ratio: float, near_sigma: float, far_sigma: float
) -> np.ndarray:
    """Two coverage-aware filters, blended by distance: narrow where there are many contacts, wide far off.

    At d bins the wide one has the weight d / (d + `HALFWAY`).

    Args:
      counts: upper triangle `[n, n]`.
      ratio: reference's contacts per contact of the shallow map.
      near_sigma, far_sigma: standard deviations in bins.
    """
    near, far = (coverage_aware(counts, ratio, sigma) for sigma in (near_sigma, far_sigma))
    bins = np.arange(len(near))
    distance = np.abs(bins[:, None] - bins)
    weight = distance / (distance + HALFWAY)
    return (1 - weight) * near + weight * far


def _cubic_weights(blocks: int, factor: int) -> np.ndarray:
    """How much of each block every bin takes, `[blocks * factor, blocks]`; rows sum to 1."""
    where = (np.arange(blocks * factor) + 0.5) / factor - 0.5
    first = np.floor(where).astype(int) - 1
    weights = np.zeros((len(where), blocks))
    for step in range(4):
        distance = np.abs(where - (first + step))
        value = np.where(
            distance <= 1,
            (1.5 * distance - 2.5) * distance**2 + 1,
            ((-0.5 * distance + 2.5) * distance - 4) * distance + 2,
        )
        mirrored = np.clip(first + step, -first - step - 1, 2 * blocks - 1 - first - step)
        np.add.at(weights, (np.arange(len(where)), np.clip(mirrored, 0, blocks - 1)), value)
    return weights
