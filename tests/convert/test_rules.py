"""Names and layouts against what the original's models list."""

import numpy as np
import pytest

from hicfm_jax.checkpoints.parameters import HEAD_LAYERS, parameter_shapes
from hicfm_jax.convert import names

TASKS = list(HEAD_LAYERS)  # in the original's numbering


@pytest.mark.parametrize("task", TASKS)
def test_every_name_of_a_head_of_the_original(golden, task):
    arrays, manifest = golden("upstream_tiny_heads")
    theirs = manifest["state_dict_keys"][str(TASKS.index(task))]
    shapes = parameter_shapes("vit_test", (64, 96), task)
    ours = {names.original_name(path, task): path for path in shapes}
    unused = {name for name in theirs if names.dropped(name, task)}
    assert ours.keys() == set(theirs) - unused
    assert unused == {
        f"{layer}.{leaf}"
        for layer in ("vit_backbone.head", "patch_embed.proj")
        for leaf in ("weight", "bias")
    }
    for name, path in ours.items():
        assert arrays[f"state/{name}"].shape == names.original_shape(path, shapes[path]), name
        assert names.to_ours(path, arrays[f"state/{name}"]).shape == shapes[path], name


def test_every_name_of_pretraining_in_the_originals_order(golden):
    arrays, manifest = golden("upstream_tiny_pretrain")
    theirs = list(manifest["arrays"]["state/*"]["members"])
    shapes = parameter_shapes("vit_test", (64, 96), "pretrain")
    ours = [names.original_name(path, "pretrain") for path in shapes]
    tables = [name for name in theirs if names.dropped(name, "pretrain")]
    assert tables == ["pos_embed", "decoder_pos_embed"]
    assert sorted(ours + tables, key=names.original_order) == theirs


@pytest.mark.parametrize("task", TASKS)
def test_heads_are_written_in_the_originals_order(golden, task):
    """PyTorch's optimizer knows its parameters by their place in this order."""
    _, manifest = golden("upstream_tiny_heads")
    theirs = manifest["state_dict_keys"][str(TASKS.index(task))]
    assert sorted(theirs, key=names.original_order) == theirs


@pytest.mark.parametrize("task", ["pretrain", *TASKS])
def test_layouts_there_and_back(task):
    rng = np.random.default_rng(0)
    there = set()
    for path, shape in parameter_shapes("vit_test", (64, 96), task).items():
        value = rng.normal(size=shape).astype(np.float32)
        theirs = names.to_original(path, value)
        assert theirs.shape == names.original_shape(path, shape)
        np.testing.assert_array_equal(names.to_ours(path, theirs), value)
        there.add(names.original_name(path, task))
    assert len(there) == len(parameter_shapes("vit_test", (64, 96), task))


def test_the_patch_embedding_is_the_originals_convolution():
    """A 16 x 16 convolution of stride 16 over one patch equals our dense layer on its pixels."""
    rng = np.random.default_rng(1)
    kernel, patch = rng.normal(size=(5, 3, 16, 16)), rng.normal(size=(3, 16, 16))
    convolved = (kernel * patch).sum((1, 2, 3))
    pixels = patch.transpose(1, 2, 0).reshape(-1)  # row, column, channel
    np.testing.assert_allclose(
        pixels @ names.to_ours("encoder/patch_embed/kernel", kernel), convolved, rtol=1e-5
    )
