"""Properties of the network that hold without golden numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.config import REMATS
from hicfm_jax.errors import InputError
from hicfm_jax.models import PRESETS, create_model, mae, preprocess
from hicfm_jax.models.flops import pretrain_flops
from hicfm_jax.models.vit import Blocks
from hicfm_jax.types import NO_DIAGONAL
from tests.models.drawn import draw_params


@pytest.fixture(scope="module")
def predict():
    """`(**options) -> PretrainOutput` of the smallest model on random counts."""
    rng = np.random.default_rng(0)
    images = jax.jit(preprocess.normalize)(rng.poisson(5, (2, 64, 96)).astype(np.uint16))
    diag, noise = np.array([1, NO_DIAGONAL]), rng.random((2, 4, 6), np.float32)
    params = draw_params(create_model("vit_test", (64, 96)), (64, 96))

    @functools.cache
    def run(**options):
        model = create_model("vit_test", (64, 96), **options)
        return jax.jit(model.apply)({"params": params}, images, None, diag, noise=noise)

    return run


@pytest.mark.parametrize(
    "options",
    [dict(scan=True), dict(remat="blocks"), dict(remat="products"), dict(scan=True, remat="products")],
    ids=str,
)
def test_scan_and_remat_change_nothing_but_speed(predict, options):
    np.testing.assert_allclose(predict(**options).patch_pred, predict().patch_pred, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("scan", [False, True])
def test_what_is_computed_again_takes_no_memory(scan):
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 128, 64)), jnp.float32)
    params = jax.jit(Blocks(4, 2).init)(jax.random.key(0), x)
    memory, gradients = {}, {}
    for remat in REMATS:
        blocks = Blocks(4, 2, scan=scan, remat=remat)
        step = jax.jit(jax.grad(lambda p, blocks=blocks: (blocks.apply(p, x) ** 2).mean())).lower(params)
        step = step.compile()
        memory[remat] = step.memory_analysis().temp_size_in_bytes
        gradients[remat] = jax.tree.leaves(step(params))
    assert memory["blocks"] < 0.8 * memory["products"] and memory["products"] < 0.8 * memory["none"]
    for remat in REMATS:
        for found, expected in zip(gradients[remat], gradients["none"], strict=True):
            np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_bfloat16_computes_close_to_float32_and_returns_float32(predict):
    half, full = predict(dtype="bfloat16"), predict()
    assert half.patch_pred.dtype == jnp.float32
    assert 0 < np.abs(half.patch_pred - full.patch_pred).max() < 0.1


@pytest.mark.parametrize("task", ["pretrain", "finetune"])
def test_parameters_are_float32_whatever_the_dtype(task):
    model = create_model("vit_test", (64, 96), task, dtype="bfloat16")
    rngs = {"params": jax.random.key(0), "mask": jax.random.key(0)}
    shapes = jax.eval_shape(lambda: model.init(rngs, jnp.zeros((1, 64, 96, 3))))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}


def test_the_encoder_does_not_see_masked_patches():
    """Changing a masked patch changes nothing that is predicted."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.normal(size=(1, 64, 64, 3)), jnp.float32)
    noise = jnp.arange(16.0).reshape(1, 4, 4) / 16
    model = create_model("vit_test", (64, 64))
    params, apply = draw_params(model, (64, 64)), jax.jit(model.apply)
    before = apply({"params": params}, images, noise=noise)
    hidden = images.at[0, 48:, 48:].add(1.0)  # the last patch has the largest noise
    seen = images.at[0, :16, :16].add(1.0)
    assert before.token_mask[0, -1] == 1 and before.token_mask[0, 0] == 0
    same, other = (apply({"params": params}, changed, noise=noise).patch_pred for changed in (hidden, seen))
    np.testing.assert_array_equal(same, before.patch_pred)
    assert np.abs(other - before.patch_pred).max() > 1e-4


@pytest.mark.parametrize("combine", ["sum", "mean"])
@pytest.mark.parametrize("diag", [-3, -1, 0, 2])
def test_mirror_image_patches_fall_together(diag, combine):
    noise = mae.draw_noise(jax.random.split(jax.random.key(3), 50), 5, 7)
    mirrored = jax.jit(mae.symmetric_noise, static_argnums=2)
    noise = np.asarray(mirrored(noise, jnp.full((50,), diag), combine))
    for row in range(5):
        for column in range(7):
            mirror = (column - diag, row + diag)
            if 0 <= mirror[0] < 5 and 0 <= mirror[1] < 7:
                np.testing.assert_array_equal(noise[:, row, column], noise[:, mirror[0], mirror[1]])


@pytest.mark.parametrize("diag", [6, -5, 40, -40, NO_DIAGONAL])
def test_a_diagonal_that_misses_the_grid_leaves_the_noise(diag):
    noise = mae.draw_noise(jax.random.split(jax.random.key(3), 2), 5, 6)
    mirrored = jax.jit(mae.symmetric_noise)(noise, jnp.full((2,), diag))
    np.testing.assert_array_equal(mirrored, noise)


def test_patchify_there_and_back():
    images = jax.random.uniform(jax.random.key(0), (2, 48, 32, 3))
    patches = preprocess.patchify(images)
    assert patches.shape == (2, 6, 768)
    np.testing.assert_array_equal(preprocess.unpatchify(patches, 48, 32), images)
    np.testing.assert_array_equal(patches[0, 1].reshape(16, 16, 3), images[0, :16, 16:32])


def test_counts_to_image_and_back():
    counts = np.array([[[0, 9], [99, 999]]], np.uint16)
    np.testing.assert_allclose(preprocess.intensity(counts)[0], [[0, 1 / 3], [2 / 3, 1]], rtol=1e-6)
    np.testing.assert_allclose(preprocess.log_scale(counts), [3.0], rtol=1e-6)
    colours = preprocess.denormalize(preprocess.normalize(counts))
    np.testing.assert_allclose(colours[..., 0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(colours[..., 1], 1 - preprocess.intensity(counts), atol=1e-6)


def test_a_window_without_contacts_is_white_not_nan():
    colours = preprocess.denormalize(preprocess.normalize(np.zeros((1, 16, 16), np.uint16)))
    np.testing.assert_allclose(colours, 1.0, rtol=1e-6)


def test_vit_large_has_the_published_size():
    model = create_model("vit_large_patch16", (448, 448))
    rngs = {"params": jax.random.key(0), "mask": jax.random.key(0)}
    shapes = jax.eval_shape(lambda: model.init(rngs, jnp.zeros((1, 448, 448, 3))))["params"]
    encoder = sum(leaf.size for leaf in jax.tree.leaves(shapes["encoder"]))
    # 24 blocks of 12 D^2 + 13 D, the patch embedding, the class token, the final norm.
    assert encoder == 24 * (12 * 1024**2 + 13 * 1024) + 769 * 1024 + 1024 + 2048


@pytest.mark.parametrize(("size", "giga"), [(448, 528), (224, 127)])
def test_flops_of_a_step(size, giga):
    """528 and 127 GFLOP a sample were counted with every patch embedded; ours embeds a quarter."""
    assert pretrain_flops("vit_large_patch16", (size, size)) / 1e9 == pytest.approx(giga, rel=0.02)


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        (("vit_giant", (64, 64)), {}, "vit_giant"),
        (("vit_test", (64, 60)), {}, "60"),
        (("vit_test", (0, 64)), {}, "0"),
        (("vit_test", (64, 64), "segmentation"), {}, "segmentation"),
        (("vit_test", (64, 64), "pretrain"), dict(residual="coverage"), "coverage"),
        (("vit_test", (64, 64), "resolution"), dict(transformer=False), "transformer"),
    ],
)
def test_what_there_is_not(arguments, options, named):
    with pytest.raises(InputError, match=named):
        create_model(*arguments, **options)


def test_a_misspelt_option_is_no_option():
    with pytest.raises(TypeError, match="mask_ration"):
        create_model("vit_test", (64, 64), mask_ration=0.5)


def test_presets_have_sizes_that_heads_divide():
    for size in PRESETS.values():
        assert size["dim"] % size["heads"] == 0
        assert size["decoder_dim"] % size["decoder_heads"] == 0
        assert size["dim"] % 4 == size["decoder_dim"] % 4 == 0
