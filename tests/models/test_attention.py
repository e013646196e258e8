"""All implementations of attention agree."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.models import attention


def drawn(length):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(2, length, 4, 8)), jnp.float32) for _ in range(3)]


def value_and_gradients(function, arguments):
    weights = np.random.default_rng(1).normal(size=arguments[0].shape).astype(np.float32)
    return jax.jit(jax.value_and_grad(lambda *x: (function(*x) * weights).sum(), argnums=(0, 1, 2)))(
        *arguments
    )


def plain(query, key, value, **_):
    return jax.nn.dot_product_attention(query, key, value, implementation="xla")


def replace_cudnn(monkeypatch):
    """Replaces cuDNN, which needs an even length and the lengths without padding, by XLA."""
    real = jax.nn.dot_product_attention

    def cudnn(query, key, value, implementation, **lengths):
        assert implementation == "cudnn" and query.shape[1] % 2 == 0
        return real(query, key, value, implementation="xla", **lengths)

    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", cudnn)


def test_all_implementations_agree_with_the_plain_formula(monkeypatch):
    """The loop over heads, and cuDNN's, whose padding token for an odd length has no effect."""
    expected = value_and_gradients(plain, drawn(7))
    by_head = value_and_gradients(attention.attend, drawn(7))
    replace_cudnn(monkeypatch)
    padded = value_and_gradients(attention._flash, drawn(7))
    for ours in (by_head, padded):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, expected)


@pytest.mark.parametrize(
    ("capability", "fused"), [("9.0", True), ("8.0", True), ("7.5", False), ("gfx90a", False), (None, False)]
)
def test_which_devices_have_the_fused_kernel(capability, fused, monkeypatch):
    device = (
        types.SimpleNamespace()
        if capability is None
        else types.SimpleNamespace(compute_capability=capability)
    )
    monkeypatch.setattr(attention.jax, "local_devices", lambda: [device])
    assert attention._has_flash.__wrapped__() is fused


def test_cudnn_computes_bfloat16_of_sizes_that_it_supports(monkeypatch):
    monkeypatch.setattr(attention.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(attention, "_has_flash", lambda: True)
    monkeypatch.setattr(attention, "_flash", lambda *_: "cudnn")
    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", lambda *_, implementation: implementation)
    for dtype, width, kernel in (("float32", 8, "xla"), ("bfloat16", 4, "xla"), ("bfloat16", 8, "cudnn")):
        x = np.zeros((2, 6, 4, width), jnp.dtype(dtype))
        assert attention.attend(x, x, x) == kernel
