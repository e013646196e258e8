"""Mixtures: weights, quotas, order of the tiles."""

import collections

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream import mixing, sampling


def groups_of(mix: dict, tiles: dict) -> tuple[mixing.Group, ...]:
    """Groups of a split with so many tiles by assay, the assays' tiles scattered over it."""
    numbers = np.repeat(np.arange(len(tiles)), list(tiles.values()))
    return mixing.make_groups(mix, list(tiles), np.random.default_rng(0).permutation(numbers))


def epochs(groups, num_tiles: int, batch_size: int, count: int) -> list[np.ndarray]:
    """Tiles drawn in each of the first epochs."""
    steps = sampling.steps_per_epoch(num_tiles, batch_size)
    batches = [mixing.batch_indices(7, step, num_tiles, batch_size, groups) for step in range(count * steps)]
    return np.split(np.concatenate(batches), count)


def test_a_mix_is_read():
    assert mixing.parse_mix("rice*=2, maize=0.5") == {"rice*": 2.0, "maize": 0.5}
    assert mixing.parse_mix("") == {}


@pytest.mark.parametrize(
    "text", ["rice", "rice=", "=2", "rice=two", "rice=0", "rice=-1", "rice=nan", "rice=inf"]
)
def test_a_mix_is_names_with_positive_weights(text):
    with pytest.raises(InputError, match="NAME=WEIGHT with a weight above 0"):
        mixing.parse_mix(text)


def test_a_name_has_one_weight():
    with pytest.raises(InputError, match="'rice' twice"):
        mixing.parse_mix("rice=2,rice=1")


@pytest.mark.parametrize(
    ("mix", "message"),
    [
        ({"rice": 1}, "'maize' matches no key"),
        ({"rice": 1, "m*": 1, "*e": 2}, r"'rice' matches several keys \(rice, \*e\)"),
        ({"rice": 1, "maize": 1, "wheat": 1}, "names 'wheat' but the training tiles are of rice, maize"),
    ],
)
def test_every_assay_answers_to_one_key(mix, message):
    with pytest.raises(InputError, match=message):
        groups_of(mix, {"rice": 3, "maize": 4})


def test_a_share_too_small_for_an_epoch_is_reported():
    with pytest.raises(InputError, match="without a sample in an epoch of 8"):
        mixing.batch_indices(0, 0, 8, 4, groups_of({"rice": 1, "maize": 1e-3}, {"rice": 4, "maize": 4}))


def test_two_thirds_and_a_third():
    groups = groups_of({"rice*": 2, "maize": 1}, {"rice_leaf": 10, "maize": 70, "rice_root": 10})
    rice = set(groups[0].tiles.tolist())
    for drawn in epochs(groups, 90, 9, 3):
        visits = collections.Counter(drawn.tolist())
        assert sum(visits[tile] for tile in rice) == 60
        assert set(visits[tile] for tile in rice) == {3}  # 60 samples of 20 tiles, evenly


@settings(max_examples=60, deadline=None)
@given(
    sizes=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    weights=st.lists(st.integers(1, 9), min_size=4, max_size=4),
    batch_size=st.integers(1, 30),
)
def test_quotas_are_exact_and_walks_leave_no_tile_behind(sizes, weights, batch_size):
    tiles = {f"assay{i}": size for i, size in enumerate(sizes)}
    mix = {name: weights[i] for i, name in enumerate(tiles)}
    groups, num_tiles = groups_of(mix, tiles), sum(sizes)
    length = max(1, num_tiles // batch_size) * batch_size
    try:
        drawn = epochs(groups, num_tiles, batch_size, 4)
    except InputError:
        assert min(weights[: len(sizes)]) / sum(mix.values()) * length < 1
        return
    for group in groups:
        for visited in drawn:
            assert abs(np.isin(visited, group.tiles).sum() - group.fraction * length) < 1
        walk = np.concatenate(drawn)
        walk = walk[np.isin(walk, group.tiles)]
        for first in range(0, len(walk) - len(group.tiles) + 1, len(group.tiles)):
            assert set(walk[first : first + len(group.tiles)]) == set(group.tiles)


def test_an_order_never_comes_again():
    groups = groups_of({"*": 1}, {"rice": 30})
    first, second, third = epochs(groups, 30, 10, 3)
    assert (first != second).any() and (second != third).any() and (first != third).any()


def test_no_mix_is_the_plain_order():
    for step in range(7):
        plain = sampling.batch_indices(3, step, 25, 8)
        np.testing.assert_array_equal(mixing.batch_indices(3, step, 25, 8, ()), plain)


def test_the_order_stays_the_same_for_ever():
    # Runs resume by (seed, step) alone: another sequence would silently change a resumed run.
    groups = groups_of({"rice": 1, "maize": 1}, {"rice": 3, "maize": 5})
    np.testing.assert_array_equal(mixing.batch_indices(888, 5, 8, 4, groups), [0, 5, 7, 2])
