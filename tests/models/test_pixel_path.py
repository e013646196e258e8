"""The pixel path: its start at the filter, its invariances and its FLOPs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.models import PRESETS, create_model
from hicfm_jax.models.flops import head_flops, pixel_path_flops
from hicfm_jax.models.heads import apply_head, init_head
from hicfm_jax.models.pixel_path import PIXEL_FEATURES, BinAttention, PixelPath
from hicfm_jax.models.presets import head_options
from hicfm_jax.models.smoothing import estimated_counts, expected_counts
from tests.models.drawn import draw_params
from tests.models.test_smoothing import chromosome, context_of

SIZE = (96, 96)
OPTIONS = dict(residual="coverage", pixel_width=4, pixel_depth=1, bin_heads=2)
WITH, WITHOUT = (
    create_model("vit_test", SIZE, "resolution", **OPTIONS, transformer=transformer, scan=True)
    for transformer in (True, False)
)
_apply = jax.jit(apply_head, static_argnames=("model", "cutoff"))


@pytest.fixture(scope="module")
def untrained():
    """`untrained(model)`: random parameters, but for the last layer, which is as `init_head` makes it."""
    last = jax.jit(lambda key: init_head(WITHOUT, key)["pixel_path"]["out"])(jax.random.key(0))

    def draw(model):
        params = draw_params(model, model.input_size)
        params["pixel_path"]["out"] = last
        return params

    return draw


@pytest.fixture(scope="module")
def params(untrained):
    return untrained(WITH)


@pytest.fixture(scope="module")
def shallow():
    """A window of an eighth of a chromosome's contacts, and its context."""
    _, deep = chromosome(depth=400.0)
    upper = np.triu(np.random.default_rng(2).binomial(deep, 1 / 8))
    counts = upper + np.triu(upper, 1).T
    return counts, context_of(counts)[1]


def predict(model, params, counts, context, depth_ratio=8.0):
    counts = jnp.asarray(counts)[None]
    total, depth_ratio = jnp.full(1, 1e6), jnp.full(1, depth_ratio)
    return _apply(model, params, counts, total, cutoff=100.0, context=context, depth_ratio=depth_ratio).map[0]


def assert_starts_at_the_filter(found, counts, context):
    filtered = estimated_counts(jnp.asarray(counts, jnp.float32)[None], expected_counts(context))[0]
    near = np.log10(1 + 8 * np.asarray(filtered))
    assert np.corrcoef(np.ravel(found), np.ravel(near))[0, 1] > 0.99
    assert np.abs(found - near).mean() < 0.05


@pytest.mark.slow  # compiles a network of its own
def test_untrained_it_is_close_to_the_coverage_aware_filter(params, shallow):
    """Training starts there."""
    assert_starts_at_the_filter(predict(WITH, params, *shallow), *shallow)


@pytest.mark.slow  # compiles a network
def test_it_predicts_at_the_requested_depth(params, shallow):
    # The transformer's input is scaled by it too; with a zero last layer the map is proportional to it.
    silent = {**params["pixel_path"], "out": jax.tree.map(jnp.zeros_like, params["pixel_path"]["out"])}
    params = {**params, "pixel_path": silent}
    eight, sixteen = (10 ** predict(WITH, params, *shallow, by) - 1 for by in (8.0, 16.0))
    np.testing.assert_allclose(sixteen, 2 * eight, rtol=1e-3, atol=1e-4)


def test_bins_without_coverage_stay_empty(params, shallow):
    counts, context = shallow
    hidden = np.arange(20, 24)
    context = {**context, "row_bias": context["row_bias"].at[0, hidden].set(0.0)}
    found = predict(WITH, params, counts, context)
    np.testing.assert_array_equal(found[hidden], 0.0)
    assert np.isfinite(found).all()


@pytest.mark.slow  # compiles the gradient of the whole network
def test_an_empty_window_has_a_finite_gradient(untrained):
    model = create_model("vit_test", (32, 32), "resolution", **OPTIONS, scan=True)
    params = untrained(model)
    context = {"row_bias": jnp.zeros((1, 32)), "column_bias": jnp.zeros((1, 32)), "decay": jnp.zeros((1, 63))}
    counts = np.zeros((32, 32))
    gradient = jax.jit(jax.grad(lambda p: predict(model, p, counts, context).sum()))(params)
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(gradient))


def test_averages_over_similar_bins_reduce_noise():
    """Noisy rows of two kinds: averages over similar rows are closer to the kind than the row itself."""
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(2, 64))
    true = kinds[np.arange(64) % 2]
    noisy = true + rng.normal(size=true.shape)
    model = BinAttention(1)
    shapes = jax.eval_shape(lambda: model.init(jax.random.key(0), noisy[None], noisy[None])["params"])
    params = jax.tree.map(lambda leaf: jnp.ones(leaf.shape), shapes)
    # Parameters that training should find: profiles pass the block unchanged and are compared.
    params["norm"]["bias"] = jnp.zeros(64)
    for outer, inner in (("attn", "proj"), ("mlp", "fc2")):
        params["block_0"][outer][inner] = jax.tree.map(jnp.zeros_like, params["block_0"][outer][inner])
    params["profile"] = {"kernel": jnp.eye(64), "bias": jnp.zeros(64)}
    projection = jnp.asarray(np.linalg.qr(kinds.T)[0])
    for name in ("query", "key"):
        kernel = jnp.zeros((64, 16)).at[:, :2].set(projection)
        params[name] = {"kernel": kernel, "bias": jnp.zeros(16)}
    averages = jax.jit(model.apply)({"params": params}, noisy[None], noisy[None])[0, :, :, 0]
    assert np.square(averages - true).mean() < 0.2 * np.square(noisy - true).mean()


def test_options_and_inputs_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match="take none, or coverage for resolution, loop, epigenome"):
        create_model("vit_test", SIZE, "single_cell", residual="coverage")
    with pytest.raises(InputError, match="coverage"):
        create_model("vit_test", SIZE, "resolution", residual="smooth")
    with pytest.raises(InputError, match="use tiles that have a context"):
        apply_head(WITH, {}, jnp.zeros((1, *SIZE)), None)
    with pytest.raises(InputError, match="apply_head"):
        jax.eval_shape(WITH.init, jax.random.key(0), jnp.zeros((1, *SIZE, 3)))
    assert head_options({"name": "vit_test"}) == {} and head_options({"residual": "none"}) == {}
    options = {**OPTIONS, "transformer": True}
    assert head_options({**options, "name": "vit_test"}) == options


def test_its_flops_are_what_the_compiler_counts():
    """XLA's count of a forward pass includes element-wise work."""
    size, width, depth, heads = (64, 64), 16, 2, 4
    model = PixelPath(width, depth, heads)
    counts, pixels = jnp.ones((1, *size)), jnp.ones((1, *size, PIXEL_FEATURES))
    params = jax.eval_shape(lambda: model.init(jax.random.key(0), counts, counts, pixels))
    lowered = jax.jit(lambda p: model.apply(p, counts, counts, pixels)).lower(params)
    counted = pixel_path_flops(size, width, depth, heads) / 3
    assert 0.85 < counted / lowered.cost_analysis()["flops"] < 1.0


@pytest.mark.slow  # compiles the whole model
def test_flops_of_the_whole_model_are_what_the_compiler_counts(monkeypatch):
    wide = dict(dim=768, depth=2, heads=12, decoder_dim=512, decoder_depth=1, decoder_heads=8)
    monkeypatch.setitem(PRESETS, "wide", wide)
    model = create_model("wide", SIZE, "resolution", residual="coverage")
    params = jax.eval_shape(lambda: init_head(model, jax.random.key(0)))
    _, context = context_of(np.ones(SIZE))
    predicted = jax.jit(lambda p: predict(model, p, np.ones(SIZE), context)).lower(params)
    counted = pixel_path_flops(SIZE, 32, 2, 4) / 3
    counted += head_flops("wide", SIZE, "resolution", map_channels=PIXEL_FEATURES)
    assert 0.9 < counted / predicted.cost_analysis()["flops"] < 1.02


@pytest.mark.slow  # compiles another network
def test_without_a_transformer_it_is_the_whole_network(untrained, shallow):
    params = untrained(WITHOUT)
    assert list(params) == ["pixel_path"]
    assert_starts_at_the_filter(predict(WITHOUT, params, *shallow), *shallow)
