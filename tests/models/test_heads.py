"""Properties of the heads, without golden numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.models import PRESETS, attention, create_model, vit
from hicfm_jax.models.flops import head_flops
from hicfm_jax.models.heads import OUTPUTS
from hicfm_jax.models.vit import Encoder
from tests.models.drawn import draw_params

SIZE = (32, 48)


@pytest.mark.parametrize(("task", "size"), [*((task, SIZE) for task in OUTPUTS), ("epigenome", (128, 4000))])
def test_what_a_task_predicts(task, size):
    """Also at the 128 x 4000 bins of the published epigenome weights."""
    model = create_model("vit_test", size, task)
    image = jax.ShapeDtypeStruct((2, *size, 3), jnp.float32)
    output, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), image)
    (height, width), (h, w) = size, (size[0] // 16, size[1] // 16)
    shapes = {
        "embedding": (2, 16),
        "map": (2, height, width),
        "track": (2, height),
        "tracks": (2, 6, height),
        "features": [(2, h, w, 32), (2, h, w, 16), (2, h, w, 16)],
        "image": (2, height, width, 3),
    }
    found = {field: value for field, value in vars(output).items() if value is not None}
    assert {field: jax.tree.map(jnp.shape, value) for field, value in found.items()} == {
        field: shapes[field] for field in OUTPUTS[task]
    }
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(found))


def test_a_head_predicts_any_number_of_named_tracks():
    model = create_model("vit_test", SIZE, "epigenome", tracks=["genes", "TEs"])
    image = jax.ShapeDtypeStruct((2, *SIZE, 3), jnp.float32)
    output, _ = jax.eval_shape(lambda x: model.init_with_output(jax.random.key(0), x), image)
    assert model.tracks == ("genes", "TEs") and output.tracks.shape == (2, 2, SIZE[0])


@pytest.mark.parametrize("tracks", [(), ("genes", "genes"), ("a/b",), ("",), (".hidden",)])
def test_names_of_tracks_are_names_of_files(tracks):
    with pytest.raises(InputError, match="track"):
        create_model("vit_test", SIZE, "epigenome", tracks=tracks)


@pytest.mark.slow  # compiles two networks
def test_scan_gives_the_same_layers(predict):
    plain, scanned = predict("embedding"), predict("embedding", scan=True, remat="blocks")
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), plain, scanned)


@pytest.mark.slow  # compiles two models more
def test_scan_and_bfloat16_stay_close_to_float32(predict):
    full = predict("finetune")
    scanned, half = predict("finetune", scan=True, remat="blocks"), predict("finetune", dtype="bfloat16")
    for field in OUTPUTS["finetune"]:
        plain, other = getattr(full, field), getattr(half, field)
        np.testing.assert_allclose(getattr(scanned, field), plain, rtol=1e-5, atol=1e-5)
        assert other.dtype == jnp.float32
        assert 0 < np.abs(plain - other).max() < 0.1


def test_a_fresh_head_has_the_positions_of_pretraining():
    """Pretraining computes its position tables; in a head they are parameters that start there."""
    model = create_model("vit_test", SIZE, "reproducibility")

    def tables(key):
        fresh = model.init(key, jnp.zeros((1, *SIZE, 3)))["params"]
        return fresh["encoder"]["pos_embed"], fresh["decoder"]["pos_embed"]

    encoder_table, decoder_table = jax.jit(tables)(jax.random.key(0))
    np.testing.assert_array_equal(encoder_table[0, 1:], vit.sincos_2d(2, 3, 32))
    np.testing.assert_array_equal(decoder_table[0], vit.sincos_2d(2, 3, 16))
    # With that table, the encoder of a head is the encoder of pretraining.
    images = jnp.asarray(np.random.default_rng(0).normal(size=(1, *SIZE, 3)), jnp.float32)
    params = draw_params(create_model("vit_test", SIZE), SIZE)["encoder"]
    in_pretraining, in_head = Encoder(32, 2, 4), Encoder(32, 2, 4, (2, 3))

    @jax.jit
    def enter(params, table):
        head = {**params, "pos_embed": table}
        return (
            in_pretraining.apply({"params": params}, images, None, method="tokens"),
            in_head.apply({"params": head}, images, None, method="tokens"),
        )

    np.testing.assert_array_equal(*enter(params, encoder_table))


@pytest.mark.parametrize("size", [(48, 32), (64, 64)])
def test_windows_of_another_size_are_refused(size):
    """(48, 32) has as many patches as (32, 48), but its positions would be wrong."""
    model = create_model("vit_test", SIZE, "resolution")
    with pytest.raises(InputError, match=f"{size[0]} x {size[1]}.* 32 x 48"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *size, 3)))


@pytest.mark.parametrize("task", ["finetune", "epigenome", "reconstruction"])
def test_flops_are_what_the_compiler_counts(task, monkeypatch):
    # The compiler counts the body of a loop once: take all heads at once.
    monkeypatch.setattr(attention.jax.lax, "map", lambda function, items: jax.vmap(function)(items))
    # It also counts element-wise work, which weighs little in a wide model.
    wide = dict(dim=768, depth=2, heads=12, decoder_dim=512, decoder_depth=1, decoder_heads=8)
    monkeypatch.setitem(PRESETS, "wide", wide)
    model = create_model("wide", (224, 224), task)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    counted = jax.jit(model.apply).lower(variables, image).cost_analysis()["flops"]
    assert head_flops("wide", (224, 224), task) == pytest.approx(counted, rel=0.02)


def test_a_frozen_encoder_costs_one_pass():
    arguments = ("vit_large_patch16", (224, 224), "resolution")
    inference, everything = head_flops(*arguments), head_flops(*arguments, train_encoder=True)
    decoder_only = head_flops(*arguments, train_decoder=True)
    assert everything == 3 * inference
    # The encoder of ViT-L does 12 times the decoder's work.
    assert decoder_only == pytest.approx(inference * (12 + 3) / 13, rel=0.02)
