"""Losses of counts whose intensity has a gamma distribution: the negative binomial."""

import math

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlogy

from hicfm_jax.models.preprocess import TargetScaling
from hicfm_jax.train.losses.finetuning_losses import LN10, mean_per_example
from hicfm_jax.types import Array

LEAST_MEAN = 1e-6
"""Contacts; lower means, which only networks without a residual predict, approach 0 and keep a gradient."""

_SERIES_FROM = 8.0  # where Stirling's series of three terms has an error below 1e-8


def gamma_poisson_deviance(
    output: Array, target: Array, scaling: TargetScaling, log_shape: Array | None = None
) -> Array:
    """Mean negative log-likelihood of a target y, above that of a Poisson distribution of mean y, in nats.

    The count y is Poisson with an intensity that has a gamma distribution of mean m = 10^(output * unit) - 1
    and shape k, so y is negative binomial. With s(x) = log Gamma(x) - (x - 1/2) log x + x - log(2 pi) / 2:

        y log(y / m) + (k + y) log((k + m) / (k + y)) + log(1 + y / k) / 2 + s(k) - s(k + y)

    Each term is accurate in single precision for any k. It is least at the mean of the counts, not at that of
    their logarithms. It is 0 at m = y for k without bound only.

    Args:
      output, target, scaling: as of the other losses.
      log_shape: log k of each value, in the shape of `output`; None: the limit of large k, half the Poisson
        deviance.
    """
    mean = jnp.expm1(output * scaling.unit * LN10) if scaling.offset is not None else output
    below = LEAST_MEAN**2 / (2 * LEAST_MEAN - jnp.minimum(mean, LEAST_MEAN))  # meets `mean` smoothly
    mean = jnp.where(mean > LEAST_MEAN, mean, below)
    y = target.astype(jnp.float32)
    own = xlogy(y, jnp.where(y > 0, y, 1.0) / mean)
    if log_shape is None:
        nats = own + mean - y
    else:
        k = jnp.exp(log_shape)
        nats = own + (k + y) * _log_ratio(k, mean, y)
        nats += 0.5 * jnp.log1p(y / k) + _beyond_stirling(k) - _beyond_stirling(k + y)
    return mean_per_example(nats)


def quasi_poisson_deviance(
    output: Array, target: Array, scaling: TargetScaling, log_shape: Array | None = None
) -> Array:
    """`gamma_poisson_deviance`, whose means learn by the gradient of Poisson's likelihood.

    The gradient of the negative binomial by its mean is that of Poisson times k / (k + m). Pixels that the
    network is not sure of, and those of many contacts, then hardly teach the mean, and stay unsure. Poisson's
    gradient finds the mean of counts of any variance (quasi-likelihood: Wedderburn, Biometrika 1974), and the
    shape is that which the negative binomial finds for this mean. On the same pathology of Gaussian
    likelihoods: Seitzer et al., ICLR 2022.

    Arguments and value are as of `gamma_poisson_deviance`; only the gradient differs.
    """
    by_mean = gamma_poisson_deviance(output, target, scaling)
    by_shape = gamma_poisson_deviance(jax.lax.stop_gradient(output), target, scaling, log_shape)
    return by_shape + (by_mean - jax.lax.stop_gradient(by_mean))


def _log_ratio(k: Array, mean: Array, y: Array) -> Array:
    """log((k + mean) / (k + y)), also where both are much less than k, or one much less than the other."""
    change = (mean - y) / (k + y)
    near = change > -0.5
    return jnp.where(near, jnp.log1p(jnp.where(near, change, 0.0)), jnp.log((k + mean) / (k + y)))


def _beyond_stirling(x: Array) -> Array:
    """log Gamma(x) - ((x - 1/2) log x - x + log(2 pi) / 2)."""
    small, large = jnp.minimum(x, _SERIES_FROM), jnp.maximum(x, _SERIES_FROM)
    exact = gammaln(small) - ((small - 0.5) * jnp.log(small) - small + 0.5 * math.log(2 * math.pi))
    inverse = 1 / large**2
    series = (1 / 12 - inverse * (1 / 360 - inverse / 1260)) / large
    return jnp.where(x < _SERIES_FROM, exact, series)
