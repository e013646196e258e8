"""SSIM and PSNR of maps as images."""

import math

import numpy as np

from hicfm_jax.evaluate.scores.diagonals import Matrix, dense

SMALLEST = 11  # bins; the Gaussian window of SSIM


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


def _image(matrix: Matrix) -> np.ndarray:
    image = np.log10(1 + dense(matrix))
    np.fill_diagonal(image, 0)
    return image
