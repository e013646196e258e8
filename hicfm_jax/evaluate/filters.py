"""Baselines: estimates of a deep map by filtering a shallow one.

Each takes the shallow counts of a chromosome, an upper triangle `[n, n]`, and the ratio of the depths, which
is the reference's contacts per contact of the shallow map. It returns a map `[n, n]` at the reference's
depth. Widths are standard deviations in bins; `tuning.py` chooses them on other chromosomes.
"""

import numpy as np
import scipy.ndimage
import scipy.sparse

from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.scores.diagonals import dense, upper

HALFWAY = 30  # bins; the distance at which both widths of the blend have equal weight


def rescaled(counts: scipy.sparse.sparray, ratio: float) -> scipy.sparse.csr_array:
    """The counts times the ratio of the depths, upper triangle."""
    return upper(counts) * ratio


def gaussian(counts: scipy.sparse.sparray, ratio: float, sigma: float) -> np.ndarray:
    """The rescaled counts after a Gaussian filter, mirrored at the borders."""
    return scipy.ndimage.gaussian_filter(dense(counts) * ratio, sigma, mode="reflect")


def bicubic(counts: scipy.sparse.sparray, ratio: float, factor: int) -> np.ndarray:
    """The rescaled counts averaged over blocks and resized by bicubic interpolation, clipped at 0.

    Blocks have `factor` bins a side; at the end they are padded with copies of the last bin. The
    interpolation is the cubic convolution of Keys 1981 (a = -0.5) around the blocks' centers, mirrored at
    the borders.
    """
    image = dense(counts) * ratio
    size = len(image)
    image = np.pad(image, (0, -size % factor), mode="edge")
    blocks = len(image) // factor
    pooled = image.reshape(blocks, factor, blocks, factor).mean(axis=(1, 3))
    spread = _cubic_weights(blocks, factor)[:size]
    return np.maximum(spread @ pooled @ spread.T, 0)


def coverage_aware(counts: scipy.sparse.sparray, ratio: float, sigma: float) -> np.ndarray:
    """Smooths the ratio of observed to expected contacts.

    The counts, and their expected contacts from decay and biases, are each smoothed. The ratio of the two,
    times the expected contacts, keeps decay and stripes sharp while it averages the rest.
    """
    expected = find_expected(counts).dense()
    observed, model = (
        scipy.ndimage.gaussian_filter(values, sigma, mode="constant") for values in (dense(counts), expected)
    )
    return np.divide(observed, model, out=np.zeros_like(model), where=model > 0) * expected * ratio


def coverage_aware_blend(
    counts: scipy.sparse.sparray, ratio: float, near_sigma: float, far_sigma: float
) -> np.ndarray:
    """Blends two coverage-aware filters by distance: a narrow one near the diagonal and a wide one far off.

    At d bins the wide one has the weight d / (d + `HALFWAY`).
    """
    near, far = (coverage_aware(counts, ratio, sigma) for sigma in (near_sigma, far_sigma))
    bins = np.arange(len(near))
    distance = np.abs(bins[:, None] - bins)
    weight = distance / (distance + HALFWAY)
    return (1 - weight) * near + weight * far


def _cubic_weights(blocks: int, factor: int) -> np.ndarray:
    """Weight of each block in every bin, `[blocks * factor, blocks]`; rows sum to 1."""
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
