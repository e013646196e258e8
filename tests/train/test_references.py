"""References that a model has to beat, on windows with a known answer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.batch import Batch
from hicfm_jax.models import preprocess
from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.train.metrics import references
from hicfm_jax.train.metrics.references import bin_distance, visible_pixels
from hicfm_jax.train.tasks import pretrain_task
from hicfm_jax.types import NO_DIAGONAL

SIZE = 64

# Compiled once: every test has one window of this size.
masked_references = jax.jit(references.masked_references)
metric_sums = jax.jit(pretrain_task.metric_sums)
intensity, log_scale = jax.jit(preprocess.intensity), jax.jit(preprocess.log_scale)


@pytest.fixture
def token_mask():
    """9 of 16 patches masked; visible ones in every row and column, and at every end of the distances."""
    mask = np.ones((1, 16), np.float32)
    mask[0, [0, 1, 3, 4, 11, 12, 14]] = 0
    return jnp.asarray(mask)


def _distance(diag):
    return np.abs(np.arange(SIZE)[None] - np.arange(SIZE)[:, None] - 16 * diag)


def _visible(token_mask):
    return visible_pixels(token_mask, SIZE, SIZE)


def _error(prediction, values, token_mask):
    hidden = 1 - np.asarray(visible_pixels(token_mask, SIZE, SIZE))
    return float((hidden * (np.asarray(prediction) - values) ** 2).sum())


def test_distance_in_bins():
    diags = [-2, 0, 3, 40]
    distances = bin_distance(np.array([*diags, NO_DIAGONAL], np.int32), SIZE, SIZE)
    for diag, distance in zip(diags, distances, strict=False):
        np.testing.assert_array_equal(distance, _distance(diag))
    assert not distances[-1].any()  # trans windows have no distance


@pytest.mark.parametrize("diag", [0, 5])
def test_the_distance_mean_predicts_a_map_of_distance_alone(token_mask, diag):
    values = 3 - 0.01 * _distance(diag)[None].astype(np.float32)  # linear, so gaps are filled exactly
    found = masked_references(values, _visible(token_mask), jnp.array([diag]))
    total = _error(found["mean"], values, token_mask)
    assert _error(found["distance"], values, token_mask) < 0.02 * total
    assert _error(found["coverage"], values, token_mask) < 0.02 * total


def test_coverage_finds_what_distance_alone_cannot(token_mask):
    rng = np.random.default_rng(0)
    row, column = rng.normal(0, 0.3, (SIZE, 1)), rng.normal(0, 0.3, (1, SIZE))
    values = (2 - 0.01 * _distance(5) + row + column)[None].astype(np.float32)
    found = masked_references(values, _visible(token_mask), jnp.array([5]))
    by_distance = _error(found["distance"], values, token_mask)
    assert _error(found["coverage"], values, token_mask) < 0.2 * by_distance


def test_references_do_not_depend_on_masked_pixels(token_mask):
    rng = np.random.default_rng(0)
    values = rng.normal(size=(1, SIZE, SIZE)).astype(np.float32)
    visible = np.asarray(visible_pixels(token_mask, SIZE, SIZE))
    other = np.where(visible, values, rng.normal(size=values.shape)).astype(np.float32)
    a, b = (masked_references(v, _visible(token_mask), jnp.array([0])) for v in (values, other))
    for name in a:
        np.testing.assert_allclose(a[name], b[name], atol=1e-5, err_msg=name)


def _batch(counts):
    ones = np.ones(1, np.float32)
    return Batch(counts, ones, np.zeros(1, np.int32), ones, ones)


def _metrics_of(intensity, batch, token_mask):
    """Metrics of a model that predicts this intensity `[1, H, W]`."""
    image = preprocess.IMAGENET_MEAN + np.zeros((1, SIZE, SIZE, 3))
    image[..., 1:] = (1 - np.asarray(intensity))[..., None]
    normal = (image - np.array(preprocess.IMAGENET_MEAN)) / np.array(preprocess.IMAGENET_STD)
    output = PretrainOutput(preprocess.patchify(normal.astype(np.float32)), jnp.zeros(1), token_mask)
    sums = metric_sums(output, batch)
    return pretrain_task.metrics_of({name: float(value) for name, value in sums.items()})


def test_metrics_of_a_perfect_and_of_the_distance_prediction(token_mask):
    rng = np.random.default_rng(0)
    counts = rng.poisson(200 / (1 + _distance(0)))[None].astype(np.uint16)
    batch = _batch(counts)
    true = intensity(counts)
    perfect = _metrics_of(true, batch, token_mask)
    assert perfect["pixel_r"] == pytest.approx(1, abs=1e-4)
    assert perfect["masked_r2_distance"] == pytest.approx(1, abs=1e-4)
    scale = log_scale(counts)[:, None, None]
    by_distance = masked_references(true * scale, _visible(token_mask), batch.diag)["distance"]
    level = _metrics_of(by_distance / scale, batch, token_mask)
    assert level["masked_r2_distance"] == pytest.approx(0, abs=1e-3)
    assert level["masked_r2_mean"] > 0.3


def test_pixels_beyond_the_chromosome_do_not_count(token_mask):
    """The distance mean within the chromosome and 0 beyond has the score 0 of the distance reference."""
    rng = np.random.default_rng(0)
    counts = rng.poisson(200 / (1 + _distance(0)))[None].astype(np.uint16)
    counts[:, 40:], counts[:, :, 40:] = 0, 0
    batch = _batch(counts)
    inside = np.asarray(preprocess.inside_chromosome(counts))
    assert inside[0, :40, :40].all() and inside.sum() == 1600
    scale = log_scale(counts)[:, None, None]
    visible = _visible(token_mask) * inside
    reference = masked_references(intensity(counts) * scale, visible, batch.diag)["distance"] * inside
    judged = _metrics_of(reference / scale, batch, token_mask)
    assert judged["masked_r2_distance"] == pytest.approx(0, abs=1e-3)
