"""Scores of whole maps: SSIM and PSNR as images, GenomeDISCO as networks."""

import math

import numpy as np

from hicfm_jax.evaluate.scores.diagonals import Matrix, dense

SMALLEST = 11  # bins; the Gaussian window of SSIM
STEPS = 3  # of the walk; the authors of GenomeDISCO found it best for most data


def data_range(reference: Matrix) -> float:
    """log10(1 + largest count off the main diagonal): the range of both scores; 0 for an empty map."""
    return float(_image(reference).max(initial=0))


def image_scores(test: Matrix, reference: Matrix) -> tuple[float, float]:
    """SSIM, and PSNR in dB, of whole maps `[n, n]` of the same depth as images of log10(1 + count).

    The main diagonal is set to 0 in both. SSIM (Wang et al. 2004) is scikit-image's with a Gaussian window
    of 1.5 bins; NaN for maps of fewer bins than the window. PSNR is 10 log10(span^2 / mean squared error)
    over all pixels with the `data_range` as span; infinite for equal maps. Both are NaN for an empty
    reference.
    """
    from skimage.metrics import structural_similarity

    images = [_image(matrix) for matrix in (test, reference)]
    span = float(images[1].max(initial=0))
    if span <= 0:
        return float("nan"), float("nan")
    error = float(((images[0] - images[1]) ** 2).mean())
    psnr = 10 * math.log10(span**2 / error) if error else math.inf
    if len(images[0]) < SMALLEST:
        return float("nan"), psnr
    gaussian = {"gaussian_weights": True, "sigma": 1.5, "use_sample_covariance": False}
    return float(structural_similarity(*images, data_range=span, **gaussian)), psnr


def genome_disco(test: Matrix, reference: Matrix, steps: int = STEPS) -> tuple[float, int]:
    """GenomeDISCO: 1 minus the difference of the maps' random walks per bin with contacts.

    Ursu et al. 2018, Bioinformatics 34:2701 (doi:10.1093/bioinformatics/bty164). From -1 (nothing in common)
    to 1 (equal); NaN without contacts. Also the mean number of bins with contacts. Contacts of a bin with
    itself are left out. Each map is divided by the square roots of its coverages, and each row by its sum.
    Maps `[n, n]` are not downsampled to equal depth, because they need not be counts.
    """
    walks, visited = [], []
    for matrix in (test, reference):
        contacts = dense(matrix)
        np.fill_diagonal(contacts, 0)
        visited.append(int((contacts.sum(axis=1) > 0).sum()))
        walks.append(np.linalg.matrix_power(_transitions(contacts), steps))
    nodes = sum(visited) / 2
    if not nodes:
        return float("nan"), 0
    return float(1 - np.abs(walks[0] - walks[1]).sum() / nodes), round(nodes)


def _image(matrix: Matrix) -> np.ndarray:
    image = np.log10(1 + dense(matrix))
    np.fill_diagonal(image, 0)
    return image


def _transitions(contacts: np.ndarray) -> np.ndarray:
    """Transition probabilities between bins; rows sum to 1, or to 0 for bins without contacts."""
    root = np.sqrt(contacts.sum(axis=1))
    root[root == 0] = 1
    contacts = contacts / np.outer(root, root)
    sums = contacts.sum(axis=1, keepdims=True)
    sums[sums == 0] = 1
    return contacts / sums
