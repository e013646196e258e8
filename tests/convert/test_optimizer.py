"""Moments of AdamW: the numbers of the original, and the step that PyTorch takes next."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax.traverse_util import flatten_dict, unflatten_dict

from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.config import base_config
from hicfm_jax.convert import load_weights, names, optimizer
from hicfm_jax.errors import InputError
from hicfm_jax.train.optim import create_optimizer
from tests.convert import made_up

pytestmark = pytest.mark.needs("torch")


def test_groups_and_moments_of_the_original(golden, fixtures_dir):
    arrays, manifest = golden("upstream_tiny_optim")
    shapes = parameter_shapes("vit_test", (64, 96), "pretrain")
    ours = [[names.original_name(path, "pretrain") for path in group] for group in optimizer.numbered(shapes)]
    assert ours == [group["params"] for group in manifest["checkpoint"]["groups"]]
    weights = load_weights(fixtures_dir / "upstream_tiny_checkpoint.pth.tar", with_adam=True)
    assert weights.adam.count == weights.step == 1
    for moments, name in ((weights.adam.mu, "exp_avg"), (weights.adam.nu, "exp_avg_sq")):
        for path, value in moments.items():
            recorded = arrays[f"checkpoint/{name}/{names.original_name(path, 'pretrain')}"]
            np.testing.assert_array_equal(names.to_original(path, value), recorded, err_msg=path)


def _next_step_of_pytorch(content: dict, gradients: dict, rate: float) -> dict[str, np.ndarray]:
    import torch

    groups = optimizer.numbered(parameter_shapes("vit_test", made_up.SIZE, "pretrain"))
    named = [[names.original_name(path, "pretrain") for path in group] for group in groups]
    parameters = [[torch.nn.Parameter(content["model"][name].clone()) for name in part] for part in named]
    adam = torch.optim.AdamW([{"params": part} for part in parameters])
    adam.load_state_dict(content["optimizer"])
    for group, part in zip(adam.param_groups, named, strict=True):
        group["lr"] = rate
        for name, parameter in zip(part, group["params"], strict=True):
            parameter.grad = torch.from_numpy(gradients[name])
    adam.step()
    return {
        name: parameter.detach().numpy()
        for part, group in zip(named, parameters, strict=True)
        for name, parameter in zip(part, group, strict=True)
    }


def _next_step_of_ours(path, gradients: dict, rate: float) -> dict[str, np.ndarray]:
    weights = load_weights(path, with_adam=True)
    params = unflatten_dict(weights.params, sep="/")
    grads = unflatten_dict(
        {p: names.to_ours(p, gradients[names.original_name(p, "pretrain")]) for p in weights.params}, sep="/"
    )
    transformation = create_optimizer(base_config())
    moments = {name: unflatten_dict(getattr(weights.adam, name), sep="/") for name in ("mu", "nu")}

    @jax.jit
    def step(params, grads, moments):
        state = jax.tree.map(
            lambda part: (
                part._replace(count=jnp.asarray(weights.adam.count), **moments)
                if isinstance(part, optax.ScaleByAdamState)
                else part
            ),
            transformation.init(params),
            is_leaf=lambda part: isinstance(part, optax.ScaleByAdamState),
        )
        updates, _ = transformation.update(grads, state, params)
        return jax.tree.map(lambda p, u: p - rate * u, params, updates)

    after = step(params, grads, moments)
    return {
        names.original_name(p, "pretrain"): names.to_original(p, np.asarray(value))
        for p, value in flatten_dict(after, sep="/").items()
    }


def _compare(path, content):
    rng = np.random.default_rng(3)
    trained = [names.original_name(p, "pretrain") for p in load_weights(path).params]
    gradients = {n: rng.normal(0, 1, content["model"][n].shape).astype(np.float32) for n in trained}
    theirs = _next_step_of_pytorch(content, gradients, rate=1e-2)
    for name, value in _next_step_of_ours(path, gradients, rate=1e-2).items():
        np.testing.assert_allclose(value, theirs[name], rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.abs(value - content["model"][name].numpy()).max() > 1e-4, f"{name} has not moved"


@pytest.mark.slow  # compiles a training step of its own
def test_the_next_step_is_that_of_pytorch(tmp_path):
    content = made_up.trained()
    _compare(made_up.save(content, tmp_path), content)


@pytest.mark.default_compiler
def test_the_next_step_after_the_golden_checkpoint(fixtures_dir):
    import torch

    path = fixtures_dir / "upstream_tiny_checkpoint.pth.tar"
    _compare(path, torch.load(path, weights_only=False))


@pytest.mark.slow  # exports and reads again
def test_there_and_back():
    content = made_up.trained()
    numpy = {
        "state": {n: {k: v.numpy() for k, v in s.items()} for n, s in content["optimizer"]["state"].items()},
        "param_groups": content["optimizer"]["param_groups"],
    }
    shapes = parameter_shapes("vit_test", made_up.SIZE, "pretrain")
    back = optimizer.to_original(
        optimizer.from_original(numpy, shapes, "here"), content["optimizer"]["param_groups"]
    )
    assert back["param_groups"] == content["optimizer"]["param_groups"]
    for number, state in back["state"].items():
        for name, value in state.items():
            np.testing.assert_array_equal(value, numpy["state"][number][name])


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (lambda o: o["param_groups"][0]["params"].pop(), "groups of"),
        (lambda o: o["state"].pop(5), "missing"),
        (lambda o: o["state"][3]["exp_avg"].fill_(float("nan")), "exp_avg of .* .not finite"),
        (lambda o: o["state"][0].update(step=made_up.tensor(9.0)), "step counts"),
        (lambda o: o["state"][0].update(exp_avg_sq=made_up.tensor([1, 1])), "exp_avg_sq of patch_embed.proj"),
    ],
)
def test_moments_of_other_parameters_are_refused(tmp_path, damage, named):
    content = made_up.trained(steps=1)
    damage(content["optimizer"])
    with pytest.raises(InputError, match=named):
        load_weights(made_up.save(content, tmp_path), with_adam=True)
