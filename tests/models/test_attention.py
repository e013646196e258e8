"""Every way of computing attention gives the same numbers."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.models import attention


def drawn(length):
    keys = jax.random.split(jax.random.key(0), 3)
    return [jax.random.normal(key, (2, length, 4, 8)) for key in keys]


def value_and_gradients(function, arguments):
    weights = jax.random.normal(jax.random.key(1), arguments[0].shape)
    return jax.jit(jax.value_and_grad(lambda *x: (function(*x) * weights).sum(), argnums=(0, 1, 2)))(
        *arguments
    )


def plain(query, key, value, **_):
    return jax.nn.dot_product_attention(query, key, value, implementation="xla")


def as_on_the_card(monkeypatch):
    """Lets XLA stand in for cuDNN, which takes even lengths and the lengths of what is seen."""
    real = jax.nn.dot_product_attention

    def cudnn(query, key, value, implementation, **lengths):
        assert implementation == "cudnn" and query.shape[1] % 2 == 0
        return real(query, key, value, implementation="xla", **lengths)

    monkeypatch.setattr(attention.jax.nn, "dot_product_attention", cudnn)


@pytest.mark.parametrize("length", [6, 7])
def test_one_head_after_another_is_the_plain_formula(length):
    ours = value_and_gradients(attention.attend, drawn(length))
    expected = value_and_gradients(plain, drawn(length))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, expected)


@pytest.mark.parametrize("length", [6, 7])
def test_a_token_that_fills_up_an_odd_length_is_not_seen(length, monkeypatch):
    expected = value_and_gradients(plain, drawn(length))
    as_on_the_card(monkeypatch)
    ours = value_and_gradients(attention._flash, drawn(length))
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


def test_only_half_precision_of_a_size_that_the_kernel_takes_goes_there(monkeypatch):
    taken = []
    monkeypatch.setattr(attention.jax, "default_backend", lambda: "gpu")
    monkeypatch.setattr(attention, "_has_flash", lambda: True)
    monkeypatch.setattr(attention, "_flash", lambda query, *_: taken.append(query) or query)
    query, key, value = drawn(6)
    attention.attend(query, key, value)
    attention.attend(*(x[..., :4].astype(jnp.bfloat16) for x in (query, key, value)))
    assert not taken
    attention.attend(*(x.astype(jnp.bfloat16) for x in (query, key, value)))
    assert len(taken) == 1
