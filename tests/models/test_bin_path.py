"""The network along the bins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.models.bin_path import DISTANCES, BinPath, by_distance, log_visibility, ranges

HEIGHT, WIDTH = 32, 64
_apply = jax.jit(lambda model, *arguments: model.apply(*arguments), static_argnums=0)


def test_pixels_are_summed_by_their_distance_from_the_diagonal():
    # Row r is bin 100 + r, column c is bin 84 + c: the middle of the window is on the diagonal.
    distance = np.abs(100 + np.arange(HEIGHT)[:, None] - 84 - np.arange(WIDTH))
    in_range = ranges(HEIGHT, WIDTH)
    for number, (first, last) in enumerate(zip(DISTANCES, DISTANCES[1:], strict=False)):
        np.testing.assert_array_equal(in_range[..., number] > 0, (first <= distance) & (distance < last))
    pixels = np.random.default_rng(0).random((1, HEIGHT, WIDTH)).astype(np.float32)
    found = by_distance(jnp.asarray(pixels), in_range)[0]
    np.testing.assert_allclose(found[:, 3], (pixels[0] * (distance == 3)).sum(1), rtol=1e-6)
    np.testing.assert_allclose(found[:, 4], (pixels[0] * np.isin(distance, (4, 5))).sum(1), rtol=1e-6)


def test_visibility_is_relative_to_the_window():
    bias = np.array([0.5, 1.0, 2.0, 0.0] * 8, np.float32)
    columns = np.concatenate([np.ones(16), bias, np.ones(16)])
    expected = jnp.asarray(7.0 * bias[:, None] * columns, jnp.float32)[None]
    logs = np.log(np.maximum(bias, 1e-9)) * (bias > 0)
    np.testing.assert_allclose(log_visibility(expected)[0], logs, atol=1e-6)
    np.testing.assert_array_equal(log_visibility(0 * expected), 0)


@pytest.fixture(scope="module")
def network():
    """A network with random parameters, and a larger map than its windows, with expected counts."""
    model = BinPath(tracks=3, width=8, depth=1)
    rng = np.random.default_rng(0)
    distance = np.abs(np.subtract.outer(np.arange(200), np.arange(200)))
    expected = (300 / (1 + distance)).astype(np.float32)
    counts = np.triu(rng.poisson(expected * rng.gamma(9, 1 / 9, expected.shape)))
    counts = (counts + np.triu(counts, 1).T).astype(np.float32)
    params = jax.jit(model.init)(jax.random.key(0), counts[None, :160, :160], expected[None, :160, :160])
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(1), len(leaves))
    drawn = [0.3 * jax.random.normal(key, leaf.shape) for key, leaf in zip(keys, leaves, strict=True)]
    return model, tree.unflatten(drawn), params, counts, expected


def test_every_bin_has_the_same_function(network):
    model, params, _, counts, expected = network
    windows = [(start, start + 160) for start in (0, 7)]

    def predict(first, last):
        cut = (slice(None), slice(first, last), slice(first, last))
        return _apply(model, params, counts[None][cut], expected[None][cut])[0]

    one, other = (predict(*window) for window in windows)
    # Far from the ends of both windows, whose smoothing and convolutions lack neighbors.
    np.testing.assert_allclose(one[:, 81:93], other[:, 74:86], atol=2e-2)
    assert np.std(one[:, 81:93]) > 0.1


def test_it_starts_at_zero_and_missing_bins_stay_finite(network):
    model, drawn, fresh, counts, expected = network
    counts, expected = counts[None, :160, :160].copy(), expected[None, :160, :160].copy()
    np.testing.assert_array_equal(_apply(model, fresh, counts, expected), 0)
    for axis in ((slice(None), slice(100, 160)), (slice(None), slice(None), slice(100, 160))):
        counts[axis] = expected[axis] = 0  # beyond the chromosome's end
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(model.apply(params, counts, expected) ** 2)))(drawn)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_depth_changes_the_noise_and_not_the_ratios(network):
    model, params, _, counts, expected = network
    one = _apply(model, params, counts[None, :160, :160], expected[None, :160, :160])
    other = _apply(model, params, 100 * counts[None, :160, :160], 100 * expected[None, :160, :160])
    np.testing.assert_allclose(one, other, atol=0.1)
