"""Properties of the pretraining model and of images, without golden numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.models import PRESETS, create_model, mae, preprocess
from hicfm_jax.models.flops import pretrain_flops
from hicfm_jax.models.vit import REMATS, Blocks
from hicfm_jax.types import NO_DIAGONAL


@pytest.mark.slow  # compiles the model five times
def test_scan_and_remat_change_nothing_but_speed(predict):
    again = predict(scan=True, remat="products")
    np.testing.assert_allclose(again.patch_pred, predict().patch_pred, rtol=1e-5, atol=1e-5)


@pytest.mark.slow  # compiles six gradients
def test_remat_saves_memory_and_keeps_the_gradients():
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 128, 64)), jnp.float32)
    params = jax.jit(Blocks(3, 2).init)(jax.random.key(0), x)
    gradients = {}
    for scan in (False, True):
        memory = {}
        for remat in REMATS:
            blocks = Blocks(3, 2, scan=scan, remat=remat)
            step = jax.jit(jax.grad(lambda p, blocks=blocks: (blocks.apply(p, x) ** 2).mean())).lower(params)
            step = step.compile()
            memory[remat] = step.memory_analysis().temp_size_in_bytes
            gradients[scan, remat] = jax.tree.leaves(step(params))
        assert memory["blocks"] < 0.8 * memory["products"] and memory["products"] < 0.8 * memory["none"]
    for found in gradients.values():
        for ours, plain in zip(found, gradients[False, "none"], strict=True):
            np.testing.assert_allclose(ours, plain, rtol=1e-4, atol=1e-4 * np.abs(plain).max())


@pytest.mark.slow  # compiles the model twice
def test_bfloat16_computes_close_to_float32_and_returns_float32(predict):
    half, full = predict(dtype="bfloat16"), predict()
    assert half.patch_pred.dtype == jnp.float32
    assert 0 < np.abs(half.patch_pred - full.patch_pred).max() < 0.1


@pytest.mark.parametrize("task", ["pretrain", "finetune"])
def test_parameters_are_float32_for_every_dtype(task):
    model = create_model("vit_test", (64, 96), task, dtype="bfloat16")
    rngs = {"params": jax.random.key(0), "mask": jax.random.key(0)}
    shapes = jax.eval_shape(lambda: model.init(rngs, jnp.zeros((1, 64, 96, 3))))
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {jnp.dtype(jnp.float32)}


def test_the_encoder_does_not_see_masked_patches(predict):
    """Changing a masked patch changes no prediction."""
    images = np.random.default_rng(0).normal(size=(3, 64, 96, 3)).astype(np.float32)
    before = predict(images=images)
    masked = np.repeat(np.repeat(np.asarray(before.token_mask).reshape(3, 4, 6, 1), 16, 1), 16, 2)
    same, other = (predict(images=images + where).patch_pred for where in (masked, 1 - masked))
    np.testing.assert_array_equal(same, before.patch_pred)
    assert np.abs(other - before.patch_pred).max() > 1e-4


@pytest.mark.parametrize("combine", ["sum", "mean"])
@pytest.mark.parametrize("diag", [-3, 0, 2])
def test_mirror_image_patches_have_the_same_noise(diag, combine):
    noise = np.random.default_rng(3).random((50, 5, 7), np.float32)
    mirrored = jax.jit(mae.symmetric_noise, static_argnums=2)
    noise = np.asarray(mirrored(noise, jnp.full((50,), diag), combine))
    for row in range(5):
        for column in range(7):
            mirror = (column - diag, row + diag)
            if 0 <= mirror[0] < 5 and 0 <= mirror[1] < 7:
                np.testing.assert_array_equal(noise[:, row, column], noise[:, mirror[0], mirror[1]])


def test_noise_is_unchanged_where_the_diagonal_misses_the_grid():
    noise = np.random.default_rng(3).random((5, 5, 6), np.float32)
    mirrored = jax.jit(mae.symmetric_noise)(noise, np.array([6, -5, 40, -40, NO_DIAGONAL]))
    np.testing.assert_array_equal(mirrored, noise)


def test_noise_of_a_window_depends_on_its_own_key():
    keys = jax.random.split(jax.random.key(3), 3)
    all_three, first_two = jax.jit(lambda k: (mae.draw_noise(k, 5, 6), mae.draw_noise(k[:2], 5, 6)))(keys)
    assert all_three.shape == (3, 5, 6) and (all_three >= 0).all() and (all_three < 1).all()
    np.testing.assert_array_equal(first_two, all_three[:2])
    assert (all_three[0] != all_three[1]).any()


def test_unpatchify_is_the_inverse_of_patchify():
    images = np.random.default_rng(0).random((2, 48, 32, 3), np.float32)
    patches = preprocess.patchify(images)
    assert patches.shape == (2, 6, 768)
    np.testing.assert_array_equal(preprocess.unpatchify(patches, 48, 32), images)
    np.testing.assert_array_equal(patches[0, 1].reshape(16, 16, 3), images[0, :16, 16:32])


def test_the_image_of_known_counts():
    counts = np.array([[[0, 9], [99, 999]]], np.uint16)
    intensity = jax.jit(preprocess.intensity)(counts)
    np.testing.assert_allclose(intensity[0], [[0, 1 / 3], [2 / 3, 1]], rtol=1e-6)
    np.testing.assert_allclose(jax.jit(preprocess.log_scale)(counts), [3.0], rtol=1e-6)
    colors = jax.jit(lambda counts: preprocess.denormalize(preprocess.normalize(counts)))(counts)
    np.testing.assert_allclose(colors[..., 0], 1.0, rtol=1e-6)
    np.testing.assert_allclose(colors[..., 1], 1 - intensity, atol=1e-6)


def test_a_window_without_contacts_is_white_not_nan():
    image = jax.jit(preprocess.normalize)(np.zeros((1, 16, 16), np.uint16))
    np.testing.assert_allclose(preprocess.denormalize(image), 1.0, rtol=1e-6)


@pytest.mark.slow  # traces ViT-L
def test_vit_large_has_the_published_size():
    model = create_model("vit_large_patch16", (448, 448))
    rngs = {"params": jax.random.key(0), "mask": jax.random.key(0)}
    shapes = jax.eval_shape(lambda: model.init(rngs, jnp.zeros((1, 448, 448, 3))))["params"]
    encoder = sum(leaf.size for leaf in jax.tree.leaves(shapes["encoder"]))
    # 24 blocks of 12 D^2 + 13 D, the patch embedding, the class token, the final norm.
    assert encoder == 24 * (12 * 1024**2 + 13 * 1024) + 769 * 1024 + 1024 + 2048


@pytest.mark.parametrize(("size", "giga"), [(448, 528), (224, 127)])
def test_flops_of_a_step(size, giga):
    """Expected: 528 and 127 GFLOP per sample, counted with every patch embedded; ours embeds a quarter."""
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
        (("vit_test", (64, 64)), dict(remat="block"), "block"),
    ],
)
def test_unknown_names_and_sizes_are_refused(arguments, options, named):
    with pytest.raises(InputError, match=named):
        create_model(*arguments, **options)


def test_a_misspelled_option_is_refused():
    with pytest.raises(TypeError, match="mask_ration"):
        create_model("vit_test", (64, 64), mask_ration=0.5)


def test_presets_have_sizes_that_heads_divide():
    for size in PRESETS.values():
        assert size["dim"] % size["heads"] == 0
        assert size["decoder_dim"] % size["decoder_heads"] == 0
        assert size["dim"] % 4 == size["decoder_dim"] % 4 == 0
