"""Parity of losses and gradients with the original, and their properties."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.models import create_model, preprocess
from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.train.losses import pretrain_losses
from hicfm_jax.train.losses import pretraining_losses as losses
from hicfm_jax.train.losses.pretraining_losses import gaussian_taps, ssim_per_channel
from hicfm_jax.train.tasks.pretrain_task import predicted_intensity
from tests.train.golden_model import load_params, named_leaves, spreads


@pytest.fixture(scope="module")
def tiny(golden):
    return golden("upstream_tiny_pretrain")


LOSSES = ("ssim_loss", "contrastive_loss", "count_loss", "loss")


@pytest.fixture(scope="module")
def golden_losses(tiny):
    """(losses, gradients) of the golden batch, by name."""
    arrays, _ = tiny
    images = jnp.asarray(arrays["imgs"].transpose(0, 2, 3, 1))
    model = create_model("vit_test", (64, 96))

    def losses_of(params):
        output = model.apply(
            {"params": params},
            images,
            arrays["total_count"],
            arrays["diag"].astype(np.int32),
            noise=arrays["noise"],
        )
        parts = pretrain_losses(output, images, arrays["imgs_mask"][:, 0, 0], arrays["matrix_count"])
        return jnp.stack([parts[name] for name in LOSSES])

    @jax.jit
    def run(params):
        values, backward = jax.vjp(losses_of, params)
        return values, jax.lax.map(lambda row: backward(row)[0], jnp.eye(len(LOSSES)))

    values, gradients = jax.device_get(run(load_params(arrays)))  # to take them apart without compiling
    return {
        name: (float(values[i]), jax.tree.map(lambda leaf, i=i: leaf[i], gradients))
        for i, name in enumerate(LOSSES)
    }


@pytest.mark.default_compiler
@pytest.mark.parametrize("name", LOSSES)
def test_loss_and_its_gradient(tiny, golden_losses, name):
    arrays, manifest = tiny
    value, gradient = golden_losses[name]
    assert value == pytest.approx(float(arrays[name]), rel=1e-5)
    prefix = "grad/" if name == "loss" else f"grad_{name.removesuffix('_loss')}/"
    expected, ours = named_leaves(load_params(arrays, prefix)), named_leaves(gradient)
    spread = spreads(manifest["float64_spread"]["grad_max_abs_over_max_per_parameter"])
    for path, value in expected.items():
        # rtol 1e-5 of the largest entry, or the original's own distance from float64.
        allowed = max(1e-5, spread[path]) * np.abs(value).max()
        np.testing.assert_allclose(ours[path], value, rtol=0, atol=allowed, err_msg=path)
    for path in ours.keys() - expected.keys():
        assert not ours[path].any(), f"{path} has no gradient in the original"


@pytest.mark.default_compiler
def test_parts_of_the_losses(tiny):
    arrays, _ = tiny
    images = arrays["imgs"].transpose(0, 2, 3, 1)
    output = PretrainOutput(arrays["act/patch_pred"], arrays["act/count_pred"][:, 0], arrays["mask_tokens"])
    windows = losses.Reconstruction(output, images, None, None)
    ssim_loss = jax.jit(losses.ssim_losses)(windows)
    np.testing.assert_allclose(1 - ssim_loss, arrays["ssim_per_channel"], rtol=1e-5, atol=1e-6)
    per_patch = jax.jit(losses.contrastive_per_patch)(output.patch_pred, preprocess.patchify(images))
    np.testing.assert_allclose(per_patch, arrays["contrastive_per_token"], rtol=1e-5)
    keep = jax.jit(losses.patches_with_data)(arrays["imgs_mask"][:, 0, 0])
    np.testing.assert_array_equal(keep, arrays["contrastive_keep"])


@pytest.mark.parametrize("backend", ["cpu", "gpu"])
def test_ssim_of_the_original(backend, golden, monkeypatch):
    """Also as computed on a GPU."""
    monkeypatch.setattr(losses.jax, "default_backend", lambda: backend)
    arrays, _ = golden("upstream_data")
    x, y = (jnp.asarray(arrays[f"ssim/{name}"].transpose(0, 2, 3, 1)) for name in "xy")
    np.testing.assert_allclose(gaussian_taps(), arrays["ssim/window"].ravel(), rtol=1e-6)
    # A function of its own is compiled for each backend.
    per_channel, backward = jax.jit(lambda x, y: jax.vjp(ssim_per_channel, x, y))(x, y)
    np.testing.assert_allclose(per_channel.mean(axis=1), arrays["ssim/per_image"], rtol=1e-5)
    assert float(per_channel.mean()) == pytest.approx(float(arrays["ssim/mean_f64"]), rel=1e-6)
    gradient, _ = jax.jit(backward)(jnp.full_like(per_channel, 1 / per_channel.size))
    expected = arrays["ssim/grad_x"].transpose(0, 2, 3, 1)
    np.testing.assert_allclose(gradient, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    small = jax.jit(lambda x, y: ssim_per_channel(x, y).mean())(x[:, :8, :32], y[:, :8, :32])
    assert float(small) == pytest.approx(float(arrays["ssim/small_8x32"]), rel=1e-5)


def _random_case(examples=3):
    rng = np.random.default_rng(0)
    counts = rng.poisson(3, (examples, 32, 48)).astype(np.uint16)
    output = PretrainOutput(
        rng.normal(size=(examples, 6, 768)).astype(np.float32),
        rng.normal(size=examples).astype(np.float32),
        np.zeros((examples, 6), np.float32),
    )
    return counts, output


_normalize = jax.jit(preprocess.normalize)


@jax.jit
def _parts(output, counts, example_mask):
    return pretrain_losses(
        output,
        preprocess.normalize(counts),
        preprocess.valid_mask(counts),
        counts.sum((1, 2)),
        example_mask=example_mask,
        pixel_weight=1.0,
    )


def test_the_shortcut_for_images_of_counts_changes_nothing():
    counts, output = _random_case()
    images = _normalize(counts)

    def value_and_gradient(from_counts):
        def weighted(patch_pred):  # a different weight per channel
            predicted = output.replace(patch_pred=patch_pred)
            windows = losses.Reconstruction(
                predicted, images, None, None, None, counts if from_counts else None
            )
            found = losses.ssim_losses(windows)
            return (found * jnp.array([1.0, 2.0, 3.0])).sum(), found

        value_and_grad = jax.jit(jax.value_and_grad(weighted, has_aux=True))
        (_, found), gradient = value_and_grad(output.patch_pred * 0.1)
        return found, gradient

    (plain, plain_gradient), (shortcut, gradient) = value_and_gradient(False), value_and_gradient(True)
    np.testing.assert_allclose(shortcut, plain, rtol=1e-6)
    np.testing.assert_allclose(gradient, plain_gradient, rtol=0, atol=1e-5 * np.abs(plain_gradient).max())


def test_padding_examples_do_not_count():
    counts, output = _random_case()
    twice, thrice = np.array([0, 0, 2]), np.array([0, 0, 0])
    padded = _parts(jax.tree.map(lambda x: x[twice], output), counts[twice], jnp.array([1.0, 1.0, 0.0]))
    alone = _parts(jax.tree.map(lambda x: x[thrice], output), counts[thrice], jnp.ones(3))
    for name, value in alone.items():
        assert float(padded[name]) == pytest.approx(float(value), rel=1e-5), name


def test_perfect_prediction_has_no_pixel_or_ssim_loss():
    counts, output = _random_case()
    perfect = output.replace(
        patch_pred=preprocess.patchify(_normalize(counts)),
        count_pred=np.log10(counts.sum((1, 2)) + 1.0).astype(np.float32),
    )
    parts = _parts(perfect, counts, jnp.ones(3))
    for name in ("ssim_loss", "ssim_loss_gb", "count_loss", "pixel_loss"):
        assert float(parts[name]) == pytest.approx(0, abs=1e-5), name


def test_a_blank_image_flatters_the_ssim_of_all_channels():
    """The red channel is constant: a third of a white image is perfect."""
    counts, output = _random_case()
    white = preprocess.patchify(_normalize(np.zeros_like(counts)))
    parts = _parts(output.replace(patch_pred=white), counts, jnp.ones(3))
    assert float(parts["ssim_loss"]) == pytest.approx(2 / 3 * float(parts["ssim_loss_gb"]), rel=1e-4)


def test_contrastive_loss_of_equal_predictions_is_ln_of_the_patches():
    counts, output = _random_case()
    true = preprocess.patchify(_normalize(counts))
    per_patch = jax.jit(losses.contrastive_per_patch)(np.ones_like(output.patch_pred), true)
    assert float(per_patch.mean()) == pytest.approx(np.log(6), rel=1e-3)


def test_temperature_and_centering_give_the_contrast_a_gradient():
    """A perfect prediction hardly lowers the plain loss of nearly parallel patches; the options let it."""
    counts, _ = _random_case()
    true = preprocess.patchify(_normalize(counts))
    plain = np.log(6) - jax.jit(losses.contrastive_per_patch)(true, true).mean()
    options = jax.jit(functools.partial(losses.contrastive_per_patch, temperature=0.1, center=True))
    sharp = np.log(6) - options(true, true).mean()
    assert 0 < plain < 0.2 * np.log(6) and sharp > 0.9 * np.log(6)


def test_an_empty_window_keeps_every_gradient_finite():
    counts = np.zeros((1, 32, 48), np.uint16)
    output = PretrainOutput(jnp.zeros((1, 6, 768)), jnp.zeros(1), jnp.zeros((1, 6)))
    gradient = jax.jit(jax.grad(lambda output: _parts(output, counts, jnp.ones(1))["loss"]))(output)
    assert np.isfinite(gradient.patch_pred).all()


def test_log_loss_is_the_error_of_the_metrics():
    """Squared error of log10(1 + counts) within the chromosome, in decades, for any maximum."""
    counts, output = _random_case()
    counts[1, 20:], counts[1, :, 30:] = 0, 0
    logs = np.log10(1 + counts)
    scale = jax.jit(preprocess.log_scale)(counts)[:, None, None]
    predicted = jax.jit(predicted_intensity, static_argnums=(1, 2))(output, 32, 48) * scale
    errors = np.asarray((predicted - logs) ** 2)
    expected = np.concatenate([errors[0].ravel(), errors[1, :20, :30].ravel()]).mean()
    windows = losses.Reconstruction(output, output, None, None, jnp.array([1.0, 1.0, 0.0]), counts)
    ours = jax.jit(losses.log_loss)(windows)["log_loss"]
    assert float(ours) == pytest.approx(float(expected), rel=1e-4)
