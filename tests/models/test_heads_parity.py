"""Parity of every head with the original code and with a PyTorch reference."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from hicfm_jax.models import PRESETS, create_model
from hicfm_jax.models.heads import FIXED, OUTPUTS
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, NO_DIAGONAL
from tests.models.original_names import head_to_ours, to_ours

CLOSE = dict(rtol=1e-5, atol=1e-5)
TASKS = list(OUTPUTS)  # in the order of the original's numbers, 0 to 7


@pytest.fixture(scope="module")
def reference():
    import torch

    from tests import reference_torch

    with torch.no_grad():
        yield reference_torch


@pytest.fixture(scope="module")
def heads(golden):
    return golden("upstream_tiny_heads")


def golden_state(heads, task: str) -> dict[str, np.ndarray]:
    """The state_dict of a task's model; the file holds the patch embedding under one of its two names."""
    arrays, manifest = heads
    names = manifest["state_dict_keys"][str(TASKS.index(task))]
    stored = {name: name if f"state/{name}" in arrays else f"vit_backbone.{name}" for name in names}
    return {name: arrays[f"state/{place}"] for name, place in stored.items()}


def golden_outputs(heads, task: str, case: str) -> dict[str, np.ndarray | list[np.ndarray]]:
    """The original's outputs under the names of `HeadOutput`."""
    arrays, _ = heads
    prefix = f"task{TASKS.index(task)}/{case}/"
    if task == "finetune":
        names = {"embedding": "submatrix_embedding", "map": "pred_2d", "track": "pred_1d"}
        return {field: arrays[prefix + name] for field, name in names.items()}
    if task == "embedding":
        return {"features": [arrays[f"{prefix}embedding_{depth}"] for depth in range(3)]}
    (field,) = OUTPUTS[task]
    return {field: arrays[prefix + "out"]}


def filled(output) -> dict:
    """The fields of an output that are not None, images with channels first as in the original."""
    found = {field: value for field, value in vars(output).items() if value is not None}
    if "image" in found:
        found["image"] = found["image"].transpose(0, 3, 1, 2)
    return found


def assert_same(found: dict, expected: dict):
    assert found.keys() == expected.keys()
    for field in expected:
        pairs = [(found[field], expected[field])]
        if field == "features":
            pairs = list(zip(*pairs[0], strict=True))
        # Colors are compared in [0, 1]: float32 resolves 255 to no more than 1.5e-5.
        unit = 255 if field == "image" else 1
        for ours, other in pairs:
            np.testing.assert_allclose(
                np.asarray(ours) / unit, np.asarray(other) / unit, err_msg=field, **CLOSE
            )


CASES = ["with_count", "count_none"]


def depths(arrays) -> list[np.ndarray]:
    """The depth of each case."""
    return [arrays["total_count"], np.full_like(arrays["total_count"], DEFAULT_TOTAL_COUNT)]


def _marked(task):
    """Fast for one task of each network, and with users' compiler settings for all fields of the output.

    The fields of "finetune" are those of `test_golden_activations`.
    """
    if task in ("loop", "single_cell"):
        return pytest.param(task, marks=pytest.mark.slow)  # the network of "resolution"
    if task in ("resolution", "reproducibility"):
        return task  # fields of "finetune"
    return pytest.param(task, marks=pytest.mark.default_compiler)


@pytest.mark.parametrize("task", [_marked(task) for task in TASKS if task != "finetune"])
def test_golden_outputs(heads, forward, task):
    """Known and unknown depth."""
    arrays, _ = heads
    params = head_to_ours(golden_state(heads, task))
    images = arrays["imgs"].transpose(0, 2, 3, 1)
    for case, count in zip(CASES, depths(arrays), strict=True):
        output = forward(task)({"params": params}, images, count)
        assert_same(filled(output), golden_outputs(heads, task, case))


def test_no_depth_is_the_default_depth(heads, forward):
    arrays, _ = heads
    params = head_to_ours(golden_state(heads, "resolution"))
    output = forward("resolution")({"params": params}, arrays["imgs"].transpose(0, 2, 3, 1))
    assert_same(filled(output), golden_outputs(heads, "resolution", "count_none"))


@pytest.fixture(scope="module")
def activations(heads):
    """For each case the output of "finetune" and what is between its layers, by one program."""
    arrays, _ = heads
    model = create_model("vit_test", (64, 96), "finetune")
    run = jax.jit(
        functools.partial(
            model.apply, capture_intermediates=lambda module, _: module.name in ("encoder", "decoder")
        )
    )
    variables = {"params": head_to_ours(golden_state(heads, "finetune"))}
    images = arrays["imgs"].transpose(0, 2, 3, 1)
    return {case: run(variables, images, count) for case, count in zip(CASES, depths(arrays), strict=True)}


@pytest.mark.default_compiler
@pytest.mark.parametrize("case", CASES)
def test_golden_activations(heads, activations, case):
    arrays, _ = heads
    output, variables = activations[case]
    assert_same(filled(output), golden_outputs(heads, "finetune", case))
    found = variables["intermediates"]
    for name, (ours,) in {
        "backbone": found["encoder"]["__call__"],
        "decoder_input": found["decoder"]["tokens"],
        "decoder_norm": found["decoder"]["__call__"],
    }.items():
        np.testing.assert_allclose(ours, arrays[f"task0/{case}/act_{name}"], err_msg=name, **CLOSE)


@pytest.mark.slow  # imports PyTorch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("task", TASKS)
def test_golden_outputs_of_the_reference(heads, reference, task, case):
    import torch

    arrays, _ = heads
    model = reference.Head(task, (4, 6), **PRESETS["vit_test"])
    model.load_state_dict({name: torch.tensor(a) for name, a in golden_state(heads, task).items()})
    count = torch.tensor(arrays["total_count"]) if case == "with_count" else None
    assert_same(model(torch.tensor(arrays["imgs"]), count), golden_outputs(heads, task, case))


@pytest.mark.slow  # imports PyTorch
@pytest.mark.needs("torch")
def test_golden_pretraining_of_the_reference(golden, reference):
    import torch

    arrays, _ = golden("upstream_tiny_pretrain")
    model = reference.Pretraining((4, 6), **PRESETS["vit_test"])
    state = {name[6:]: torch.tensor(arrays[name]) for name in arrays.files if name.startswith("state/")}
    model.load_state_dict(state)
    images, noise = torch.tensor(arrays["imgs"]), torch.tensor(arrays["noise"])
    patches, count, mask = model(images, torch.tensor(arrays["total_count"]), arrays["diag"], noise)
    np.testing.assert_array_equal(mask, arrays["mask_tokens"])
    np.testing.assert_allclose(patches, arrays["act/patch_pred"], **CLOSE)
    np.testing.assert_allclose(count[:, None], arrays["act/count_pred"], **CLOSE)


def _state(model) -> dict[str, np.ndarray]:
    return {name: value.numpy() for name, value in model.state_dict().items()}


@pytest.mark.slow  # compiles each head at another size
@pytest.mark.needs("torch")
@pytest.mark.parametrize("task", TASKS)
def test_heads_are_the_reference(reference, task):
    """On random weights and windows that are not square, for known and unknown depth."""
    import torch

    model = reference.randomize(reference.Head(task, (5, 2), **PRESETS["vit_test"]), seed=TASKS.index(task))
    images = torch.randn(2, 3, 80, 32, generator=torch.Generator().manual_seed(0))
    apply = jax.jit(create_model("vit_test", (80, 32), task).apply)
    params = {"params": head_to_ours(_state(model))}
    for count in (None, np.array([3e6, 8e9], np.float32)):
        output = apply(params, images.numpy().transpose(0, 2, 3, 1), count)
        assert_same(filled(output), model(images, None if count is None else torch.tensor(count)))


@pytest.mark.slow  # compiles the model at another size
@pytest.mark.needs("torch")
def test_pretraining_is_the_reference(reference):
    import torch

    model = reference.randomize(reference.Pretraining((3, 5), **PRESETS["vit_test"]), seed=8)
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(3, 3, 48, 80, generator=generator)
    noise = torch.rand(3, 3, 5, generator=generator)
    diag, count = np.array([2, -1, NO_DIAGONAL]), np.array([2e5, 1e9, 4e10], np.float32)
    # The tables of pretraining are fixed: ours are computed.
    model.pos_embed.data[:, 1:] = reference.position_table((3, 5), 32)
    model.decoder_pos_embed.data[:] = reference.position_table((3, 5), 16)
    patches, counts, mask = model(images, torch.tensor(count), diag, noise)
    output = jax.jit(create_model("vit_test", (48, 80)).apply)(
        {"params": to_ours(_state(model))},
        jnp.asarray(images.numpy().transpose(0, 2, 3, 1)),
        count,
        diag,
        noise=noise.numpy(),
    )
    np.testing.assert_array_equal(output.token_mask, mask)
    np.testing.assert_allclose(output.patch_pred, patches, **CLOSE)
    np.testing.assert_allclose(output.count_pred, counts, **CLOSE)


@pytest.mark.slow  # imports PyTorch
@pytest.mark.needs("torch")
@pytest.mark.parametrize("task", ["pretrain", *TASKS])
def test_both_have_the_same_parameters(reference, task):
    """Names and shapes agree, and the same parameters are fixed."""
    size = PRESETS["vit_test"]
    if task == "pretrain":
        other, rename = reference.Pretraining((2, 3), **size), to_ours
    else:
        other, rename = reference.Head(task, (2, 3), **size), head_to_ours
    rngs = {"params": jax.random.key(0), "mask": jax.random.key(0)}
    model = create_model("vit_test", (32, 48), task)
    shapes = jax.eval_shape(lambda: model.init(rngs, jnp.zeros((1, 32, 48, 3))))["params"]
    renamed = rename(_state(other))
    assert jax.tree.map(lambda leaf: leaf.shape, shapes) == jax.tree.map(np.shape, renamed)
    if task != "pretrain":
        fixed = {name for name, value in other.named_parameters() if not value.requires_grad}
        assert fixed == {other.table} and FIXED == ("decoder/pos_embed",)
