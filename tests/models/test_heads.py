"""Properties of the heads that hold without golden numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.models import attention, create_model, vit
from hicfm_jax.models.flops import head_flops
from hicfm_jax.models.heads import OUTPUTS
from hicfm_jax.models.vit import Encoder
from tests.models.drawn import draw_params

SIZE = (32, 48)


@pytest.fixture(scope="module")
def images():
    return jax.random.normal(jax.random.key(0), (2, *SIZE, 3))


def params(task):
    return draw_params(create_model("vit_test", SIZE, task), SIZE)


@pytest.mark.parametrize("size", [(32, 48), (128, 4000)])
@pytest.mark.parametrize("task", OUTPUTS)
def test_what_a_task_predicts(task, size):
    """Also at the epigenome task's published 128 x 4000 bins."""
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


@pytest.mark.parametrize(
    ("task", "options"), [("embedding", dict(scan=True)), ("finetune", dict(scan=True, remat="blocks"))]
)
def test_scan_and_remat_change_nothing_but_speed(task, options, images):
    plain, other = (
        jax.jit(create_model("vit_test", SIZE, task, **chosen).apply)({"params": params(task)}, images)
        for chosen in ({}, options)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), plain, other)


def test_bfloat16_computes_close_to_float32_and_returns_float32(images):
    full, half = (
        jax.jit(create_model("vit_test", SIZE, "finetune", dtype=dtype).apply)(
            {"params": params("finetune")}, images
        )
        for dtype in ("float32", "bfloat16")
    )
    for field in OUTPUTS["finetune"]:
        one, other = getattr(full, field), getattr(half, field)
        assert other.dtype == jnp.float32
        assert 0 < np.abs(one - other).max() < 0.1


def test_a_fresh_head_sees_what_the_pretrained_encoder_saw(images):
    """Pretraining computes its position tables; a head starts from the same ones as parameters."""
    model = create_model("vit_test", SIZE, "reproducibility")

    def tables(key):
        fresh = model.init(key, images)["params"]
        return fresh["encoder"]["pos_embed"], fresh["decoder"]["pos_embed"]

    encoder_table, decoder_table = jax.jit(tables)(jax.random.key(0))
    np.testing.assert_array_equal(decoder_table[0], vit.sincos_2d(2, 3, 16))
    pretrained = params("pretrain")["encoder"]
    seen = jax.jit(Encoder(32, 2, 4).apply)({"params": pretrained}, images, None)
    head = {**pretrained, "pos_embed": encoder_table}
    np.testing.assert_array_equal(
        jax.jit(Encoder(32, 2, 4, (2, 3)).apply)({"params": head}, images, None), seen
    )


@pytest.mark.parametrize("size", [(48, 32), (64, 64)])
def test_windows_of_another_size_are_refused(size):
    """(48, 32) has as many patches as (32, 48) and would go through with wrong positions."""
    model = create_model("vit_test", SIZE, "resolution")
    with pytest.raises(InputError, match=f"{size[0]} x {size[1]}.* 32 x 48"):
        jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((1, *size, 3)))


@pytest.mark.parametrize("task", ["finetune", "epigenome", "reconstruction"])
def test_flops_are_what_the_compiler_counts(task, monkeypatch):
    # The compiler counts the body of a loop once: take all heads at once.
    monkeypatch.setattr(attention.jax.lax, "map", lambda function, items: jax.vmap(function)(items))
    model = create_model("vit_small_patch16", (224, 224), task)
    image = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), image)
    counted = jax.jit(model.apply).lower(variables, image).cost_analysis()["flops"]
    # The compiler also counts element-wise work, which weighs more in a small model.
    assert head_flops("vit_small_patch16", (224, 224), task) == pytest.approx(counted, rel=0.04)


def test_a_frozen_encoder_costs_one_pass():
    arguments = ("vit_large_patch16", (224, 224), "resolution")
    inference, everything = head_flops(*arguments), head_flops(*arguments, train_encoder=True)
    decoder_only = head_flops(*arguments, train_decoder=True)
    assert everything == 3 * inference
    # The encoder of ViT-L does 12 times the decoder's work.
    assert decoder_only == pytest.approx(inference * (12 + 3) / 13, rel=0.02)
