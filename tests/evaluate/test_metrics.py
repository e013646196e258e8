"""Correlation by distance and error of logarithms, by hand and by scipy."""

import math

import numpy as np
import pytest
import scipy.sparse
import scipy.stats

from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.scores.correlation import log_mse, spearman_by_distance, stratified_pearson
from hicfm_jax.evaluate.scores.diagonals import coarsen, dense, mean_by_distance, upper
from hicfm_jax.evaluate.scores.scored_pair import PreparedMap, ScoredPair


@pytest.fixture
def maps():
    rng = np.random.default_rng(0)
    reference = np.triu(rng.poisson(5, (40, 40)))
    test = np.triu(reference + rng.poisson(3, (40, 40)))
    return test + np.triu(test, 1).T, reference + np.triu(reference, 1).T


def test_the_definition_written_out(maps):
    test, reference = maps
    for log in (False, True):
        total = pixels = 0
        for distance in range(1, 31):
            x, y = test.diagonal(distance), reference.diagonal(distance)
            if log:
                x, y = np.log10(1 + x), np.log10(1 + y)
            total += len(x) * scipy.stats.pearsonr(x, y).statistic
            pixels += len(x)
        r, over = stratified_pearson(test, reference, 30, log=log)
        assert r == pytest.approx(total / pixels, abs=1e-12)
        assert over == pixels
    places = np.triu_indices(40, 1)
    error = ((np.log10(1 + test[places]) - np.log10(1 + reference[places])) ** 2).mean()
    assert log_mse(test, reference) == (pytest.approx(error, abs=1e-12), 780)
    ranks, _ = spearman_by_distance(test, reference, 30)
    for distance in (1, 7, 30):
        r = scipy.stats.spearmanr(test.diagonal(distance), reference.diagonal(distance)).statistic
        assert ranks[distance - 1] == pytest.approx(r, abs=1e-12)


def test_sparse_and_dense_maps_have_equal_scores(maps):
    sparse = [upper(matrix) for matrix in maps]
    for one in (sparse[0], maps[0]):
        for two in (sparse[1], maps[1]):
            assert log_mse(one, two)[0] == pytest.approx(log_mse(*maps)[0], abs=1e-12)
            assert stratified_pearson(one, two)[0] == pytest.approx(stratified_pearson(*maps)[0], abs=1e-12)


def test_a_diagonal_that_does_not_vary():
    """In the reference it is left out; in the test map alone it counts with r = 0."""
    reference = np.zeros((4, 4))
    reference[0, 1], reference[1, 2], reference[2, 3] = 1, 2, 3  # 3 pixels that vary
    reference[0, 2] = reference[1, 3] = 7  # 2 that do not
    assert stratified_pearson(reference, reference) == (pytest.approx(1), 3)
    blank = np.full((4, 4), 0.1)
    assert stratified_pearson(blank, reference) == (0, 3)
    assert math.isnan(stratified_pearson(reference, blank)[0])


def test_scaling_changes_the_error_but_not_the_correlation(maps):
    test, reference = maps
    for scale in (1e-6, 16, 1e6):
        assert stratified_pearson(test * scale, reference)[0] == pytest.approx(
            stratified_pearson(test, reference)[0], abs=1e-9
        )
    assert log_mse(reference * 10, reference)[0] > 0.5
    assert log_mse(reference, reference)[0] == 0


def test_maps_of_different_shapes_are_refused(maps):
    with pytest.raises(InputError, match=r"\(40, 40\).*\(39, 39\)"):
        ScoredPair(PreparedMap(maps[0], 1), PreparedMap(maps[1][:39, :39], 1))


def test_coarsening_conserves_contacts_and_their_decay(maps):
    whole = upper(maps[1])
    coarse = coarsen(whole, 3)
    assert coarse.shape == (14, 14)
    assert coarse.sum() == whole.sum()
    assert scipy.sparse.tril(coarse, -1).nnz == 0
    assert mean_by_distance(whole)[39] == maps[1][0, 39]
    np.testing.assert_array_equal(dense(whole), maps[1])
