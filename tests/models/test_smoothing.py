"""Coverage-aware estimates of maps and of few contacts."""

import jax.numpy as jnp
import numpy as np
import scipy.ndimage
import scipy.sparse

from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.models import smoothing
from hicfm_jax.models.smoothing import estimated_counts


def chromosome(size=96, depth=200.0, seed=0):
    """Mean contacts `[n, n]` of a chromosome with decay and uneven coverage, and a sample of them."""
    rng = np.random.default_rng(seed)
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    visibility = rng.gamma(8, 1 / 8, size)
    mean = depth / (1 + distance) * np.outer(visibility, visibility)
    upper = np.triu(rng.poisson(mean))
    return mean, upper + np.triu(upper, 1).T


def context_of(counts, row=0, col=0, shape=None):
    fit = find_expected(scipy.sparse.csr_array(np.triu(counts)))
    window = fit.window(row, col, shape or counts.shape)
    return fit, {name: jnp.asarray(values)[None] for name, values in window.items()}


def test_expected_counts_are_a_window_of_the_chromosomes_model():
    _, counts = chromosome()
    for row, col, shape in ((0, 0, (96, 96)), (10, 40, (32, 48)), (48, 5, (48, 16))):
        fit, context = context_of(counts, row, col, shape)
        whole = fit.dense()[row : row + shape[0], col : col + shape[1]]
        np.testing.assert_allclose(smoothing.expected_counts(context)[0], whole, rtol=1e-4, atol=1e-6)


def test_smoothing_is_scipys_gaussian_filter():
    values = np.random.default_rng(1).random((1, 48, 64)).astype(np.float32)
    for sigma in smoothing.SIGMAS:
        true = scipy.ndimage.gaussian_filter(values[0], sigma, mode="constant")
        np.testing.assert_allclose(smoothing.smooth(jnp.asarray(values), sigma)[0], true, atol=1e-6)


def test_a_map_of_distance_and_coverage_alone_is_unchanged():
    """Neither the steep diagonal nor bins of low coverage are blurred."""
    mean, _ = chromosome()
    ratios, _ = smoothing.log_ratios(
        jnp.asarray(mean, jnp.float32)[None], jnp.asarray(mean, jnp.float32)[None]
    )
    np.testing.assert_allclose(ratios, 0.0, atol=1e-4)


def test_the_estimate_has_a_smaller_error_than_counts_and_a_plain_filter():
    mean, counts = chromosome(depth=30.0)
    _, context = context_of(counts)
    shallow = jnp.asarray(counts, jnp.float32)[None]
    expected = smoothing.expected_counts(context)
    error = {
        "counts": counts,
        "plain": scipy.ndimage.gaussian_filter(counts.astype(float), 2.0),
        "estimate": np.asarray(estimated_counts(shallow, expected)[0]),
    }
    error = {name: np.square(np.log1p(value) - np.log1p(mean)).mean() for name, value in error.items()}
    assert error["estimate"] < 0.5 * min(error["counts"], error["plain"])


def test_without_contacts_the_estimate_is_the_expected_map():
    expected = jnp.full((1, 32, 32), 1e-3)
    ratios, evidence = smoothing.log_ratios(jnp.zeros((1, 32, 32)), expected)
    assert np.isfinite(ratios).all()
    assert abs(float(ratios[0, 16, 16, 0])) < 0.05  # sigma 1: 0.01 contacts were to be expected
    assert float(evidence[0, 16, 16, 0]) < 0.02
