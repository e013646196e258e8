"""SSIM and PSNR of maps as images, with the range of values that they are relative to."""

import math

import numpy as np

from hicfm_jax.evaluate.scores.diagonals import Matrix, check_shapes, dense


def data_range(reference: Matrix) -> float:
    """log10(1 + largest count off the main diagonal): the range of both scores; 0 for an empty map."""
    image = dense(reference)
    np.fill_diagonal(image, 0)
    return float(np.log10(1 + image.max()))


def image_scores(test: Matrix, reference: Matrix, span: float) -> tuple[float, float]:
    """SSIM and PSNR of the whole map as an image of log10(1 + count).

    The main diagonal is set to 0 in both. SSIM (Wang et al. 2004) is scikit-image's with a Gaussian window
    of 1.5 bins. PSNR is 10 log10(span^2 / mean squared error) over all pixels.

    Args:
      test, reference: maps `[n, n]` of counts at the same depth.
      span: the data range, see `data_range`.

    Returns:
      (SSIM, PSNR in dB). SSIM is NaN for maps smaller than its window of 11 bins; PSNR is infinite for
      identical maps. Both are NaN where `span` is 0.

    Raises:
      InputError: maps of different shapes.
    """
    from skimage.metrics import structural_similarity

    size = check_shapes(test, reference)
    if span <= 0:
        return float("nan"), float("nan")
    images = []
    for matrix in (test, reference):
        image = np.log10(1 + dense(matrix))
        np.fill_diagonal(image, 0)
        images.append(image)
    error = float(((images[0] - images[1]) ** 2).mean())
    psnr = 10 * math.log10(span**2 / error) if error else math.inf
    if size < 11:
        return float("nan"), psnr
    ssim = structural_similarity(
        *images, data_range=span, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(ssim), psnr
