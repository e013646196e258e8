"""SSIM and PSNR of maps as images."""

import math

import numpy as np

from hicfm_jax.evaluate.scores.diagonals import Matrix, dense

SMALLEST = 11  # bins; the Gaussian window of SSIM


def data_range(reference: Matrix) -> float:
    """log10(1 + largest count off the main diagonal): the range of both scores; 0 for an empty map."""
    return float(_image(reference).max(initial=0))


def image_scores(test: Matrix, reference: Matrix, span: float) -> tuple[float, float]:
    """SSIM and PSNR of the whole map as an image of log10(1 + count).

    The main diagonal is set to 0 in both. SSIM (Wang et al. 2004) is scikit-image's with a Gaussian window
    of 1.5 bins. PSNR is 10 log10(span^2 / mean squared error) over all pixels.

    Args:
      test, reference: maps `[n, n]` of counts at the same depth.
      span: the data range, see `data_range`.

    Returns:
      (SSIM, PSNR in dB). SSIM is NaN for maps of fewer bins than its window. PSNR is infinite for equal
      maps. Both are NaN where `span` is 0.
    """
    from skimage.metrics import structural_similarity

    if span <= 0:
        return float("nan"), float("nan")
    images = [_image(matrix) for matrix in (test, reference)]
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
