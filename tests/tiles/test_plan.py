"""Planning: regions, pieces, splits."""

import pytest

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import plan
from hicfm_jax.tiles.build.splits import HeldOut
from hicfm_jax.tiles.build.summary import count_tiles
from hicfm_jax.tiles.build.windows import Tiling
from hicfm_jax.tiles.stream.disk import DiskSplit
from tests.tiles.toy_maps import dense_to_map, random_matrix


@pytest.fixture
def regions():
    splits = {"A": "train", "B": "val", "C": "train", "D": None, "E": "train"}
    windows = {"A": 10, "B": 3, "C": 0, "D": 9, "E": 7}
    return [plan.ChromosomePair("leaf", (name, name), splits[name], windows[name]) for name in splits]


@pytest.mark.parametrize("most", [1, 4, 7, 10, 17, 100])
def test_pieces_hold_every_window_of_a_split_once_and_in_order(regions, most):
    pieces = plan.find_pieces(regions, most)
    assert [piece.number for piece in pieces] == list(range(len(pieces)))
    for split in ("train", "val"):
        found = [
            (part.chromosomes[0], number)
            for piece in pieces
            if piece.split == split
            for part in piece.parts
            for number in range(part.first, part.last)
        ]
        assert found == [
            (region.chromosomes[0], number)
            for region in regions
            if region.split == split
            for number in range(region.windows)
        ]
        sizes = [piece.windows for piece in pieces if piece.split == split]
        assert all(size == most for size in sizes[:-1]) and 0 < sizes[-1] <= most


def test_many_small_pairs_share_a_piece():
    regions = [plan.ChromosomePair("leaf", (f"s{i}", f"s{i + 1}"), "train", 1) for i in range(5000)]
    assert [piece.windows for piece in plan.find_pieces(regions, 4096)] == [4096, 904]


@pytest.mark.slow  # plans 10,000 scaffolds
def test_an_assembly_of_scaffolds_costs_what_it_holds():
    """20,000 scaffolds have 200 million pairs; only those with contacts, and long enough, are looked at."""
    sizes = {f"s{index}": 64_000 if index < 100 else 3_000 for index in range(20_000)}
    pairs = [("s0", "s5"), ("s3", "s3"), ("s0", "s700"), ("s700", "s900"), ("s2", "s99")]
    loaded = []
    contact_map = ContactMap(sizes, 1000, lambda *pair: loaded.append(pair), pairs=lambda: pairs)
    regions = plan.find_regions({"leaf": contact_map}, Tiling((64, 64), 32, trans=True))
    assert [region.chromosomes for region in regions if not region.cis] == [("s0", "s5"), ("s2", "s99")]
    assert sum(region.windows > 0 for region in regions if region.cis) == 100
    assert not loaded


@pytest.fixture
def maps():
    return {
        "leaf": dense_to_map({"Chr1": random_matrix(40, 0), "Chr2": random_matrix(40, 1)}),
        "rice": dense_to_map({"1": random_matrix(40, 2), "2": random_matrix(40, 3)}),
    }


def test_a_chromosome_of_one_map_is_held_out(maps):
    held_out = HeldOut(val_chromosomes=["rice:chr2"], test_chromosomes=["1"]).resolve(maps)
    assert held_out.val_chromosomes == ["rice:2"] and held_out.test_chromosomes == ["Chr1", "1"]
    assert held_out.split("leaf", ("Chr2", "Chr2")) == "train"
    assert held_out.split("rice", ("2", "2")) == "val"
    assert held_out.split("rice", ("1", "1")) == held_out.split("leaf", ("Chr1", "Chr1")) == "test"
    assert held_out.split("rice", ("1", "2")) is None


@pytest.mark.parametrize(
    ("held_out", "message"),
    [
        (HeldOut(val_chromosomes=["Chr2"], test_chromosomes=["rice:2"]), "2 is held out twice"),
        (HeldOut(val_chromosomes=["rice:7"]), "no chromosome '7'"),
        (HeldOut(val_chromosomes=["maize:1"]), "names 'maize:1' but the maps have"),
        (HeldOut(val_assays=["rice"], test_assays=["rice"]), "rice is held out twice"),
    ],
)
def test_what_cannot_be_held_out(maps, held_out, message):
    with pytest.raises(InputError, match=message):
        held_out.resolve(maps)


def test_maps_of_two_resolutions_do_not_mix(maps):
    with pytest.raises(InputError, match="leaf 1000 bp, rice 2000 bp"):
        plan.check_resolution({"leaf": maps["leaf"], "rice": maps["rice"].coarsen(2)})


def test_tiles_of_simulated_maps_are_known_as_such():
    """Not those of a measured map with simulated loops."""
    maps = {name: dense_to_map({"A": random_matrix(100, 0)}) for name in ("leaf", "sim", "planted")}
    maps["sim"].metadata, maps["planted"].metadata = {"simulated": True}, {"simulated": "loops"}
    manifest, _ = count_tiles(maps, tile_size=32, stride=16, min_density=0.0)
    assays = DiskSplit("tiles", manifest, "train").assays
    assert [name for name, info in assays.items() if info.simulated] == ["sim"]
