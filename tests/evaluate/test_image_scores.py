"""SSIM and PSNR: data range of the reference, no main diagonal."""

import math

import numpy as np
import pytest

from hicfm_jax.evaluate.scores.diagonals import upper
from hicfm_jax.evaluate.scores.whole_map import data_range, image_scores


def test_psnr_by_hand():
    reference = np.zeros((2, 2))
    reference[0, 1] = 99  # log10(1 + 99) = 2
    test = reference.copy()
    test[0, 1] = 9  # 1: an error of 1 in two of four pixels
    test[1, 1] = 1e6
    assert data_range(reference) == 2
    ssim, psnr = image_scores(test, reference)
    assert psnr == pytest.approx(10 * math.log10(4 / 0.5))
    assert math.isnan(ssim)  # smaller than the window


def test_identical_and_empty_maps(deep, shallow):
    reference = upper(deep.matrix("Chr4"))
    assert image_scores(reference, reference) == (pytest.approx(1), math.inf)
    noisy = image_scores(upper(shallow.matrix("Chr4")) * 16, reference)
    assert noisy[0] < 0.7 and noisy[1] < 25
    assert all(map(math.isnan, image_scores(np.ones((12, 12)), np.zeros((12, 12)))))
