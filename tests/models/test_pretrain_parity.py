"""Parity of the pretraining model with activations of the original code."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.models import create_model, mae, preprocess, vit
from tests.models.original_names import to_ours

CLOSE = dict(rtol=1e-5, atol=1e-5)


@pytest.fixture(scope="module")
def tiny(golden):
    return golden("upstream_tiny_pretrain")


@pytest.fixture(scope="module")
def params(tiny):
    arrays, _ = tiny
    return to_ours({name[6:]: arrays[name] for name in arrays.files if name.startswith("state/")})


@pytest.fixture(scope="module")
def activations(tiny, params):
    """The output on the golden batch, and every intermediate by "module/method"."""
    arrays, _ = tiny
    model = create_model("vit_test", (64, 96))
    run = jax.jit(functools.partial(model.apply, capture_intermediates=lambda *_: True))
    output, variables = run(
        {"params": params},
        arrays["imgs"].transpose(0, 2, 3, 1),
        arrays["total_count"],
        arrays["diag"].astype(np.int32),
        noise=arrays["noise"],
    )
    found = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(variables["intermediates"]):
        names = [str(key.key) for key in path if hasattr(key, "key")]
        found["/".join(name for name in names if name != "__call__")] = np.asarray(leaf)
    return output, found


@pytest.mark.default_compiler
def test_image_of_raw_counts(tiny):
    arrays, _ = tiny
    images = jax.jit(preprocess.normalize)(arrays["raw_counts"].astype(np.float32))
    np.testing.assert_allclose(images, arrays["imgs"].transpose(0, 2, 3, 1), **CLOSE)
    np.testing.assert_array_equal(preprocess.valid_mask(arrays["raw_counts"]), arrays["imgs_mask"][:, 0, 0])


@pytest.mark.default_compiler
def test_masks_from_stored_noise(tiny):
    arrays, _ = tiny

    @jax.jit
    def draw(noise, diag):
        noise = mae.symmetric_noise(noise, diag)
        return noise, mae.mask_from_noise(noise, 0.75)

    noise, mask = draw(arrays["noise"], arrays["diag"].astype(np.int32))
    np.testing.assert_array_equal(noise, arrays["noise_sym"])
    np.testing.assert_array_equal(mask.restore, arrays["ids_restore"])
    np.testing.assert_array_equal(mask.token_mask, arrays["mask_tokens"])
    np.testing.assert_array_equal(mask.keep, arrays["ids_shuffle"][:, : mask.keep.shape[1]])


@pytest.mark.default_compiler
@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("encoder_input", "encoder/tokens"),
        ("encoder_block_0_norm1", "encoder/blocks/block_0/norm1"),
        ("encoder_block_0_attn", "encoder/blocks/block_0/attn"),
        ("encoder_block_0_mlp", "encoder/blocks/block_0/mlp"),
        ("encoder_block_0", "encoder/blocks/block_0"),
        ("encoder_block_1", "encoder/blocks/block_1"),
        ("latent", "encoder"),
        ("decoder_embed", "decoder/embed"),
        ("decoder_input", "decoder/tokens"),
        ("decoder_block_0", "decoder/blocks/block_0"),
        ("decoder_block_1", "decoder/blocks/block_1"),
        ("decoder_norm", "decoder"),
        ("patch_pred", "pixel_head"),
        ("count_pred", "count_head"),
    ],
)
def test_activation(tiny, activations, name, place):
    golden_value = tiny[0][f"act/{name}"]
    ours = activations[1][place].reshape(golden_value.shape)
    np.testing.assert_allclose(ours, golden_value, **CLOSE)


@pytest.mark.default_compiler
def test_patch_embedding_of_all_patches(tiny, params):
    """The model embeds only the visible patches; the layer itself agrees on all of them."""
    arrays, _ = tiny
    layer = params["encoder"]["patch_embed"]
    patches = preprocess.patchify(jnp.asarray(arrays["imgs"].transpose(0, 2, 3, 1)))
    np.testing.assert_allclose(patches @ layer["kernel"] + layer["bias"], arrays["act/patch_embed"], **CLOSE)


@pytest.mark.default_compiler
def test_output_and_image_of_the_prediction(tiny, activations):
    arrays, _ = tiny
    output, _ = activations
    np.testing.assert_array_equal(output.token_mask, arrays["mask_tokens"])
    np.testing.assert_allclose(output.patch_pred, arrays["act/patch_pred"], **CLOSE)
    image = preprocess.unpatchify(output.patch_pred, 64, 96)
    np.testing.assert_allclose(image, arrays["pred_image"].transpose(0, 2, 3, 1), **CLOSE)


def test_missing_diagonal_and_depth(tiny, params, forward):
    arrays, _ = tiny
    output = forward()({"params": params}, arrays["imgs"].transpose(0, 2, 3, 1), noise=arrays["noise"])
    np.testing.assert_array_equal(output.token_mask, arrays["nodiag/mask_tokens"])
    np.testing.assert_allclose(output.count_pred[:, None], arrays["nodiag/count_pred"], **CLOSE)


@pytest.mark.default_compiler
def test_position_tables(golden):
    arrays, _ = golden("upstream_data")
    for name in ("D32_4x6_cls1", "D16_4x6_cls0", "D64_7x9_cls1"):
        dim, grid, token = name.split("_")
        height, width = map(int, grid.split("x"))
        table = vit.sincos_2d(height, width, int(dim[1:]), class_token=token == "cls1")
        np.testing.assert_allclose(table, arrays[f"pos_embed/{name}"], rtol=0, atol=3e-7)


@pytest.mark.default_compiler
@pytest.mark.parametrize("dim", [32, 1024])
def test_count_token(golden, dim):
    arrays, _ = golden("upstream_data")
    counts = np.array([1, 10, 1234567, 1e9, 3.7e10], np.float32)
    np.testing.assert_allclose(vit.count_token(counts, 5, dim), arrays[f"count_embed/D{dim}"], **CLOSE)


@pytest.mark.default_compiler
def test_symmetric_noise_at_every_diagonal(golden):
    arrays, _ = golden("upstream_data")
    names = [name for name in arrays.files if name.startswith("symnoise/") and "_diag" in name]
    assert names
    mirrored = jax.jit(mae.symmetric_noise)
    for name in names:
        grid, diag = name.removeprefix("symnoise/").split("_diag")
        ours = mirrored(arrays[f"symnoise/{grid}_in"][None], np.array([int(diag)]))
        np.testing.assert_array_equal(ours[0], arrays[name], err_msg=name)
