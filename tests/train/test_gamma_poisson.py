"""The gamma-Poisson loss: its value, its gradients in single precision, and what it makes of noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import gammaln

from hicfm_jax.models.preprocess import SCALINGS
from hicfm_jax.train.losses.gamma_poisson import gamma_poisson_deviance, quasi_poisson_deviance

SCALING = SCALINGS["log10"]
MEANS, SHAPES, COUNTS = np.meshgrid(
    [1e-4, 0.03, 0.7, 5.0, 300.0, 40_000.0],
    np.exp([-3.0, 0.0, 2.0, 2.1, 5.0, 9.0, 12.0]),
    [0.0, 1, 7, 350, 60_000],
)


@jax.jit
def deviance(output, target, log_shape=None):
    return gamma_poisson_deviance(output, target, SCALING, log_shape)


def each(output, log_shape):
    """The loss of every pixel, as a window of its own."""
    target = jnp.asarray(COUNTS.ravel()[:, None], jnp.float32)
    return deviance(output[:, None], target, log_shape[:, None])


def in_double(log_mean, log_shape):
    """By the definition, in double precision: negative binomial over Poisson at the count itself."""
    k, y, m = np.exp(log_shape), COUNTS.ravel(), np.exp(log_mean)
    nats = gammaln(k) - gammaln(k + y) + k * np.log1p(m / k) + y * (np.log(k + m) - np.log(m))
    return nats + np.where(y > 0, y * np.log(np.maximum(y, 1)), 0) - y


@pytest.fixture(scope="module")
def points():
    log_mean, log_shape = np.log(MEANS.ravel()), np.log(SHAPES.ravel())
    return np.log1p(MEANS.ravel()) / np.log(10), log_mean, log_shape


def test_it_is_the_negative_log_likelihood(points):
    output, log_mean, log_shape = points
    found = each(jnp.asarray(output, jnp.float32), jnp.asarray(log_shape, jnp.float32))
    expected = in_double(log_mean, log_shape)
    scale = 1e-6 * COUNTS.ravel()  # rounding of y log y, of which little is left where m is near y
    assert (np.abs(found - expected) <= 1e-5 + 1e-4 * np.abs(expected) + scale).all()
    some = stats.nbinom.logpmf(7, 2.5, 2.5 / (2.5 + 3)) - stats.poisson.logpmf(7, 7)
    value = deviance(*(np.full((1, 1), value, np.float32) for value in (np.log10(4), 7, np.log(2.5))))
    assert float(value[0]) == pytest.approx(-some, rel=1e-5)


def test_single_precision_gradients_are_those_of_finite_differences(points):
    output, log_mean, log_shape = points
    arguments = jnp.asarray(output, jnp.float32), jnp.asarray(log_shape, jnp.float32)
    by_output, by_shape = jax.jit(jax.grad(lambda *x: each(*x).sum(), (0, 1)))(*arguments)
    step = 1e-4

    def slope(a, b):
        ends = [in_double(log_mean + sign * a, log_shape + sign * b) for sign in (1, -1)]
        return (ends[0] - ends[1]) / (2 * step)

    # d log mean / d output = log(10) (1 + m) / m
    factor = np.log(10) * (1 + MEANS.ravel()) / MEANS.ravel()
    for found, expected in ((by_output / factor, slope(step, 0)), (by_shape, slope(0, step))):
        tolerance = 2e-3 + 2e-3 * np.abs(expected) + 2e-6 * COUNTS.ravel()
        assert np.isfinite(found).all() and (np.abs(found - expected) <= tolerance).all()


def test_without_a_shape_it_is_the_limit_of_large_ones(points):
    output = jnp.asarray(points[0], jnp.float32)[:, None]
    target = jnp.asarray(COUNTS.ravel()[:, None], jnp.float32)
    small = COUNTS.ravel() < 10
    limit = deviance(output, target)
    large = deviance(output, target, jnp.full(output.shape, 16.0))
    near = small & (MEANS.ravel() < 10)
    np.testing.assert_allclose(np.asarray(large)[near], np.asarray(limit)[near], rtol=1e-3, atol=1e-5)


def test_the_quasi_likelihood_has_poissons_gradient_by_the_mean_and_its_own_by_the_shape(points):
    output, _, log_shape = (jnp.asarray(each, jnp.float32)[:, None] for each in points)
    target = jnp.asarray(COUNTS.ravel()[:, None], jnp.float32)

    def of(loss, shape=None):
        def total(output, shape):
            values = loss(output, target, SCALING, shape)
            return values.sum(), values

        return jax.jit(jax.value_and_grad(total, (0, 1) if shape is not None else 0, has_aux=True))(
            output, shape
        )

    _, by_mean = of(gamma_poisson_deviance)
    (_, likelihood), (_, by_shape) = of(gamma_poisson_deviance, log_shape)
    (_, values), (mean, shape) = of(quasi_poisson_deviance, log_shape)
    np.testing.assert_allclose(values, likelihood, rtol=1e-5, atol=1e-2)  # y log y of 60,000
    np.testing.assert_array_equal(mean, by_mean)
    np.testing.assert_array_equal(shape, by_shape)


def test_the_best_mean_and_shape_are_those_of_the_counts():
    """Intensities with a standard deviation of half their mean."""
    counts = np.random.default_rng(0).poisson(np.random.default_rng(1).gamma(4.0, 10 / 4, 40_000))
    target = jnp.asarray(counts[None], jnp.float32)

    def loss(mean, shape):
        output = jnp.broadcast_to(jnp.log10(1 + mean), target.shape)
        return deviance(output, target, jnp.broadcast_to(jnp.log(shape), target.shape))[0]

    shapes, means = np.geomspace(1, 16, 81, dtype=np.float32), np.linspace(8, 12, 81, dtype=np.float32)
    by_shape = jax.jit(jax.vmap(lambda shape: loss(counts.mean(), shape)))(shapes)
    by_mean = jax.jit(jax.vmap(lambda mean: loss(mean, 4.0)))(means)
    assert shapes[np.argmin(by_shape)] == pytest.approx(4, rel=0.08)
    assert means[np.argmin(by_mean)] == pytest.approx(counts.mean(), abs=0.06)
