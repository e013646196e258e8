"""The losses and their gradients against the original, and what must hold of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.models import create_model, preprocess
from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.train.losses import pretraining_losses as losses
from hicfm_jax.train.losses import ssim
from hicfm_jax.train.losses.ssim import gaussian_taps, ssim_per_channel
from hicfm_jax.train.metrics.pretrain_metrics import predicted_intensity
from tests.train.golden_model import load_params, named_leaves, spreads


@pytest.fixture(scope="module")
def tiny(golden):
    return golden("upstream_tiny_pretrain")


@pytest.fixture(scope="module")
def loss_of(tiny):
    """`loss_of(params) -> losses` of the golden batch."""
    arrays, _ = tiny
    images = jnp.asarray(arrays["imgs"].transpose(0, 2, 3, 1))
    model = create_model("vit_test", (64, 96))

    def function(params):
        output = model.apply(
            {"params": params},
            images,
            arrays["total_count"],
            arrays["diag"].astype(np.int32),
            noise=arrays["noise"],
        )
        return losses.pretrain_losses(output, images, arrays["imgs_mask"][:, 0, 0], arrays["matrix_count"])

    return function


@pytest.mark.parametrize("name", ["ssim_loss", "contrastive_loss", "count_loss", "loss"])
def test_loss_and_its_gradient(tiny, loss_of, name):
    arrays, manifest = tiny
    params = load_params(arrays)
    value, gradient = jax.jit(jax.value_and_grad(lambda p: loss_of(p)[name]))(params)
    assert float(value) == pytest.approx(float(arrays[name]), rel=1e-5)
    prefix = "grad/" if name == "loss" else f"grad_{name.removesuffix('_loss')}/"
    expected, ours = named_leaves(load_params(arrays, prefix)), named_leaves(gradient)
    spread = spreads(manifest["float64_spread"]["grad_max_abs_over_max_per_parameter"])
    for path, value in expected.items():
        # rtol 1e-5 of the largest entry, or the original's own distance from float64.
        allowed = max(1e-5, spread[path]) * np.abs(value).max()
        np.testing.assert_allclose(ours[path], value, rtol=0, atol=allowed, err_msg=path)
    for path in ours.keys() - expected.keys():
        assert not ours[path].any(), f"{path} has no gradient in the original"


def test_parts_of_the_losses(tiny):
    arrays, _ = tiny
    images = jnp.asarray(arrays["imgs"].transpose(0, 2, 3, 1))
    output = PretrainOutput(arrays["act/patch_pred"], arrays["act/count_pred"][:, 0], arrays["mask_tokens"])
    np.testing.assert_allclose(
        1 - losses.ssim_losses(output, images), arrays["ssim_per_channel"], rtol=1e-5, atol=1e-6
    )
    per_patch = losses.contrastive_per_patch(jnp.asarray(output.patch_pred), preprocess.patchify(images))
    np.testing.assert_allclose(per_patch, arrays["contrastive_per_token"], rtol=1e-5)
    keep = losses.patches_with_data(jnp.asarray(arrays["imgs_mask"][:, 0, 0]))
    np.testing.assert_array_equal(keep, arrays["contrastive_keep"])


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_ssim_of_the_original(backend, golden, monkeypatch):
    """Also in the way that a GPU computes it."""
    monkeypatch.setattr(ssim.jax, "default_backend", lambda: backend)
    arrays, _ = golden("upstream_data")
    x, y = (jnp.asarray(arrays[f"ssim/{name}"].transpose(0, 2, 3, 1)) for name in "xy")
    np.testing.assert_allclose(gaussian_taps(), arrays["ssim/window"].ravel(), rtol=1e-6)
    per_channel = ssim_per_channel(x, y)
    np.testing.assert_allclose(per_channel.mean(axis=1), arrays["ssim/per_image"], rtol=1e-5)
    assert float(per_channel.mean()) == pytest.approx(float(arrays["ssim/mean_f64"]), rel=1e-6)
    gradient = jax.grad(lambda x: ssim_per_channel(x, y).mean())(x)
    expected = arrays["ssim/grad_x"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    small = ssim_per_channel(x[:, :8, :32], y[:, :8, :32]).mean()
    assert float(small) == pytest.approx(float(arrays["ssim/small_8x32"]), rel=1e-5)


def _random_case(examples=3):
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (examples, 32, 48)).astype(np.uint16)
    output = PretrainOutput(
        jnp.asarray(rng.normal(size=(examples, 6, 768)), jnp.float32),
        jnp.asarray(rng.normal(size=examples), jnp.float32),
        jnp.zeros((examples, 6)),
    )
    return counts, output


def test_what_images_of_counts_spare_changes_nothing():
    counts, output = _random_case()
    images = preprocess.normalize(counts)

    def value_and_gradient(from_counts):
        def weighted(patch_pred):  # each channel with a weight of its own
            found = losses.ssim_losses(output.replace(patch_pred=patch_pred), images, from_counts)
            return (found * jnp.array([1.0, 2.0, 3.0])).sum(), found

        value_and_grad = jax.jit(jax.value_and_grad(weighted, has_aux=True))
        (_, found), gradient = value_and_grad(output.patch_pred * 0.1)
        return found, gradient

    (plain, plain_gradient), (spared, gradient) = value_and_gradient(False), value_and_gradient(True)
    np.testing.assert_allclose(spared, plain, rtol=1e-6)
    np.testing.assert_allclose(gradient, plain_gradient, rtol=0, atol=1e-5 * np.abs(plain_gradient).max())


def test_padding_examples_do_not_count():
    counts, output = _random_case()

    def parts(select, mask):
        return jax.jit(losses.pretrain_losses, static_argnames="pixel_weight")(
            jax.tree.map(lambda x: x[select], output),
            preprocess.normalize(counts[select]),
            preprocess.valid_mask(counts[select]),
            counts[select].sum((1, 2)),
            example_mask=mask,
            pixel_weight=1.0,
        )

    padded = parts(np.array([0, 1, 2]), jnp.array([1.0, 1.0, 0.0]))
    alone = parts(np.array([0, 1]), None)
    for name, value in alone.items():
        assert float(padded[name]) == pytest.approx(float(value), rel=1e-5), name


def test_perfect_prediction_has_no_pixel_or_ssim_loss():
    counts, output = _random_case()
    images = preprocess.normalize(counts)
    perfect = output.replace(
        patch_pred=preprocess.patchify(images), count_pred=jnp.log10(counts.sum((1, 2)) + 1.0)
    )
    parts = losses.pretrain_losses(perfect, images, preprocess.valid_mask(counts), counts.sum((1, 2)))
    for name in ("ssim_loss", "ssim_loss_gb", "count_loss", "pixel_loss"):
        assert float(parts[name]) == pytest.approx(0, abs=1e-5), name


def test_a_blank_image_flatters_the_ssim_of_all_channels():
    """The red channel is constant: a white image gets a third of the score for nothing."""
    counts, output = _random_case()
    images = preprocess.normalize(counts)
    white = preprocess.normalize(np.zeros_like(counts))
    parts = losses.pretrain_losses(
        output.replace(patch_pred=preprocess.patchify(white)),
        images,
        preprocess.valid_mask(counts),
        counts.sum((1, 2)),
    )
    assert float(parts["ssim_loss"]) == pytest.approx(2 / 3 * float(parts["ssim_loss_gb"]), rel=1e-4)


def test_contrastive_loss_of_an_ignorant_model_is_ln_of_the_patches():
    counts, output = _random_case()
    same = jnp.ones_like(output.patch_pred)
    per_patch = losses.contrastive_per_patch(same, preprocess.patchify(preprocess.normalize(counts)))
    assert float(per_patch.mean()) == pytest.approx(np.log(6), rel=1e-3)


def test_temperature_and_centring_give_the_contrast_a_gradient():
    """A perfect prediction hardly lowers the plain loss of nearly parallel patches; the options let it."""
    counts, _ = _random_case()
    true = preprocess.patchify(preprocess.normalize(counts))
    plain = np.log(6) - losses.contrastive_per_patch(true, true).mean()
    sharp = np.log(6) - losses.contrastive_per_patch(true, true, temperature=0.1, center=True).mean()
    assert 0 < plain < 0.2 * np.log(6) and sharp > 0.9 * np.log(6)


def test_an_empty_window_keeps_every_gradient_finite():
    images = preprocess.normalize(np.zeros((1, 32, 48), np.uint16))
    output = PretrainOutput(jnp.zeros((1, 6, 768)), jnp.zeros(1), jnp.zeros((1, 6)))

    def total(patch_pred):
        return losses.pretrain_losses(
            output.replace(patch_pred=patch_pred),
            images,
            jnp.zeros((1, 32, 48)),
            jnp.zeros(1),
            pixel_weight=1.0,
        )["loss"]

    assert np.isfinite(jax.jit(jax.grad(total))(output.patch_pred)).all()


def test_log_loss_is_the_error_that_the_metrics_judge():
    """Squared difference of log10(1 + counts), in decades, whatever the window's maximum."""
    counts, output = _random_case()
    predicted = predicted_intensity(output, 32, 48) * preprocess.log_scale(counts)[:, None, None]
    expected = ((predicted - np.log10(1 + counts)) ** 2)[:2].mean()
    ours = losses.log_loss(output, counts, jnp.array([1.0, 1.0, 0.0]))
    assert float(ours) == pytest.approx(float(expected), rel=1e-4)


def test_log_loss_leaves_out_what_lies_beyond_the_chromosome():
    counts, output = _random_case(1)
    counts[:, 20:], counts[:, :, 30:] = 0, 0
    cut = (predicted_intensity(output, 32, 48) * preprocess.log_scale(counts)[0] - np.log10(1 + counts)) ** 2
    ours = losses.log_loss(output, counts, jnp.ones(1))
    assert float(ours) == pytest.approx(float(cut[:, :20, :30].mean()), rel=1e-4)
