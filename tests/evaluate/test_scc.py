"""HiCRep's score: smoothing and weights by hand, and its invariances."""

import numpy as np
import pytest

from hicfm_jax.evaluate.scores.diagonals import upper
from hicfm_jax.evaluate.scores.scc import half_width, scc, smooth_band


def symmetric(rng, size, mean):
    matrix = np.triu(rng.poisson(mean, (size, size))).astype(float)
    return matrix + np.triu(matrix, 1).T


def test_smoothing_is_a_mean_over_the_square_truncated_at_the_border():
    matrix = symmetric(np.random.default_rng(0), 15, 4)
    for half in (0, 1, 3):
        found = smooth_band(upper(matrix), 9, half)
        for row, column in [(0, 0), (0, 9), (5, 8), (7, 7), (14, 14), (13, 14), (6, 14)]:
            rows = slice(max(row - half, 0), row + half + 1)
            columns = slice(max(column - half, 0), column + half + 1)
            expected = matrix[rows, columns].mean()
            assert found[column - row, row] == pytest.approx(expected, abs=1e-12), (half, row, column)


def test_two_strata_by_hand():
    """Distance 1: 3 pixels, of which one is empty in both; distance 2: two pixels that disagree."""
    reference, test = np.zeros((4, 4)), np.zeros((4, 4))
    reference[0, 1], reference[1, 2] = 2, 6
    test[0, 1], test[1, 2] = 1, 2  # two pixels left, r = 1
    reference[0, 2], reference[1, 3] = 1, 4
    test[0, 2], test[1, 3] = 5, 3  # r = -1, same number of pixels
    reference[0, 3] = test[0, 3] = 9  # one pixel has no correlation
    assert scc(test, reference, 3, 0) == (pytest.approx(0, abs=1e-12), 4)
    reference[2, 3], test[2, 3] = 10, 3  # now the first stratum has 3 of 5 pixels
    weights = np.array([3 * (1 + 1 / 3), 2 * (1 + 1 / 2)]) / 12
    assert scc(test, reference, 3, 0)[0] == pytest.approx((weights @ [1, -1]) / weights.sum())


def test_a_stratum_that_is_constant_in_the_test_map_alone_counts_as_zero():
    reference, test = np.ones((6, 6)), np.ones((6, 6))
    reference[[0, 1, 2], [1, 2, 3]] = test[[0, 1, 2], [1, 2, 3]] = [2, 3, 5]  # r = 1
    assert scc(test, reference, 2, 0)[0] == pytest.approx(
        1
    )  # both are constant at distance 2, which is left out
    reference[0, 2] = 7
    weights = np.array([5 + 1, 4 + 1]) / 12
    assert scc(test, reference, 2, 0)[0] == pytest.approx(weights @ [1, 0] / weights.sum())


def test_invariances(deep, shallow):
    reference, test = upper(deep.matrix("Chr4")), upper(shallow.matrix("Chr4"))
    assert scc(reference, reference, 100, 2)[0] == pytest.approx(1)
    score = scc(test, reference, 100, 2)[0]
    assert scc(test * 16, reference * 0.3, 100, 2)[0] == pytest.approx(score, abs=1e-9)
    assert scc(reference, test, 100, 2)[0] == pytest.approx(score, abs=1e-9)
    assert 0 < scc(test, reference, 100, 0)[0] < score < 1  # smoothing hides noise


def test_the_filter_is_about_30_kb_wide_to_each_side():
    assert [half_width(resolution) for resolution in (1000, 10_000, 30_000, 500_000)] == [20, 3, 1, 1]
