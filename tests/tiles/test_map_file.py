"""Names and options of input files."""

import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build.map_file import map_files, parse_inputs


def test_inputs_are_named_by_their_files_without_suffix_or_group():
    inputs = ["maps/col0.pairs.gz", "leaf.mcool::/resolutions/10000", "rice=a/b.hic", "old/run=3/root.cool"]
    assert parse_inputs(inputs) == {
        "col0": "maps/col0.pairs.gz",
        "leaf": "leaf.mcool::/resolutions/10000",
        "rice": "a/b.hic",
        "root": "old/run=3/root.cool",
    }


def test_an_option_goes_to_the_formats_that_have_a_use_for_it():
    files = map_files(["a.cool", "b.hic", "c.txt"], 1000, engine="straw", chromsizes="sizes.txt", weight=None)
    assert (files["a"].engine, files["b"].engine, files["c"].engine) == (None, "straw", None)
    assert (files["a"].chromsizes, files["c"].chromsizes) == (None, "sizes.txt")


def test_an_option_without_use_is_refused():
    with pytest.raises(InputError, match="--engine=straw does not apply to any of the inputs"):
        map_files(["a.cool", "b.mcool"], 1000, engine="straw")


def test_balanced_and_raw_maps_do_not_mix():
    with pytest.raises(InputError, match="'b' .b.pkl. has no weights"):
        map_files(["a.cool", "b.pkl"], 1000, weight="weight")
