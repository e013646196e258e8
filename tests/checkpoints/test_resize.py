"""Bicubic position tables: PyTorch's kernel, and what any interpolation must do."""

import numpy as np
import pytest

from hicfm_jax.checkpoints.parameters import resize_table

CASES = ["4x4:6x10", "8x8:4x6", "14x14:14x28", "14x14:25x50"]


def _grid(text):
    return tuple(int(side) for side in text.split("x"))


@pytest.mark.parametrize("case", CASES)
def test_random_tables_of_the_original(golden, case):
    arrays, _ = golden("upstream_tiny_heads")
    old, new = case.split(":")
    resized = resize_table(arrays[f"bicubic/{old}_in_to_{new}"], _grid(old), _grid(new))
    np.testing.assert_allclose(resized, arrays[f"bicubic/{old}_out_to_{new}"], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("table", ["pos_embed", "decoder_pos_embed"])
def test_the_tables_of_a_pretraining_file(golden, table):
    arrays, _ = golden("upstream_tiny_heads")
    resized = resize_table(arrays[f"load/pretrain_{table}"], (4, 4), (4, 6))
    np.testing.assert_allclose(resized, arrays[f"load/{table}_64x96"], rtol=1e-5, atol=1e-6)


def test_the_same_grid_is_left_alone():
    table = np.random.default_rng(0).normal(size=(1, 25, 4)).astype(np.float32)
    assert resize_table(table, (4, 6), (4, 6)) is table


@pytest.mark.parametrize("new", [(3, 5), (8, 12), (4, 6), (1, 1)])
def test_a_constant_stays_and_the_class_token_is_kept(new):
    table = np.ones((1, 25, 2), np.float32)
    table[0, 0] = 7
    resized = resize_table(table, (4, 6), new)
    assert resized.shape == (1, 1 + new[0] * new[1], 2) and resized.dtype == np.float32
    np.testing.assert_array_equal(resized[0, 0], [7, 7])
    np.testing.assert_allclose(resized[0, 1:], 1, rtol=1e-6)


def test_rows_and_columns_are_not_mixed_up():
    rows = np.repeat(np.arange(4.0), 6)[None, :, None]
    resized = resize_table(rows, (4, 6), (4, 12)).reshape(4, 12)
    np.testing.assert_allclose(resized, np.arange(4.0)[:, None] * np.ones(12), atol=1e-6)
