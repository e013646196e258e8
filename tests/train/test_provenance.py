"""Checkpoints say what they have seen, so that nobody judges them on it."""

import json

import pytest

from hicfm_jax import config as config_lib
from hicfm_jax.tiles.stream.batches import AssayInfo
from hicfm_jax.tiles.stream.source import open_source
from hicfm_jax.train.provenance import provenance, trained_before_on
from tests.train.small_run import make_tiles


def tiles_of(**chromosomes):
    """A source whose splits show one chromosome each."""
    tiles = {}
    for seed, (split, name) in enumerate(chromosomes.items()):
        made = make_tiles(2, seed)
        made.chromosomes[:] = name
        tiles[split] = made
    return open_source(tiles)


def checkpoint(folder, seen, **said):
    meta = folder / "checkpoints" / "7" / "meta"
    meta.mkdir(parents=True)
    (folder / "checkpoints" / "7" / "params").mkdir()
    (meta / "metadata").write_text(
        json.dumps({"step": 7, **({} if seen is None else {"seen": seen}), **said})
    )
    return folder


def a_config():
    config = config_lib.base_config()
    config.data.tiles = "tiles"
    return config


def test_a_run_says_what_it_trains_and_validates_on(tmp_path):
    found = provenance(a_config(), tiles_of(train="Chr1", val="Chr4"), tmp_path, "")
    assert found["seen"] == {"train": {"made_up": ["Chr1"]}, "val": {"made_up": ["Chr4"]}}
    assert found["total_counts"] == {"made_up": 1e6}
    assert trained_before_on(a_config(), tiles_of(train="Chr1", val="Chr4"), "") == []


@pytest.mark.parametrize("named", ["", "checkpoints", "checkpoints/7"])
def test_what_it_starts_from_counts_and_a_leak_is_named(tmp_path, named):
    seen = {"train": {"root": ["chr4", "Chr5"], "other": ["Chr1"]}, "val": {"root": ["Chr2"]}}
    before = checkpoint(tmp_path / "pretrain", seen) / named
    tiles = tiles_of(train="Chr1", val="Chr4")
    found = provenance(a_config(), tiles, tmp_path / "new", before)
    assert found["seen"]["train"] == {"made_up": ["Chr1"], "root": ["chr4", "Chr5"], "other": ["Chr1"]}
    assert found["unknown"] == []
    assert trained_before_on(a_config(), tiles, before) == ["made_up Chr4 (as root chr4)"]


def test_what_was_validated_on_before_may_be_trained_on_now(tmp_path):
    before = checkpoint(tmp_path / "pretrain", {"train": {"root": ["Chr1"]}, "val": {"root": ["Chr5"]}})
    assert trained_before_on(a_config(), tiles_of(train="Chr5", val="Chr4"), before) == []


def test_files_that_do_not_say_what_they_have_seen_are_named(tmp_path):
    """And remembered by what is started from that."""
    tiles = tiles_of(train="Chr1", val="Chr4")
    (tmp_path / "mine.pth.tar").touch()
    found = provenance(a_config(), tiles, tmp_path / "new", tmp_path / "mine.pth.tar")
    assert found["unknown"] == ["mine.pth.tar"]
    first = checkpoint(tmp_path / "first", found["seen"], unknown=found["unknown"])
    assert provenance(a_config(), tiles, tmp_path / "next", first)["unknown"] == ["mine.pth.tar"]
    converted = checkpoint(tmp_path / "converted", None, original={"epoch": 3})
    assert provenance(a_config(), tiles, converted, "")["unknown"] == ["converted"]


def test_a_run_that_is_taken_up_keeps_its_past_when_its_source_is_gone(tmp_path):
    workdir = checkpoint(tmp_path / "run", {"train": {"made_up": ["Chr1", "Chr5"]}})
    found = provenance(a_config(), tiles_of(train="Chr1", val="Chr4"), workdir, tmp_path / "gone")
    assert found["seen"]["train"] == {"made_up": ["Chr1", "Chr5"]}


def test_simulated_maps_are_no_chromosomes_of_anybody(tmp_path):
    found = provenance(config_lib.base_config(), tiles_of(train="Chr1", val="Chr4"), tmp_path, "")
    nothing = dict.fromkeys(("total_counts", "maps", "seen_maps"), {})
    assert found == {"seen": {"train": {}, "val": {}}, "unknown": [], **nothing}


def test_a_run_says_which_maps_it_trains_on(tmp_path):
    """Bin width and longest chromosomes, which tiles on disk know, for `infer` to compare with."""
    tiles = tiles_of(train="Chr1", val="Chr4")
    assays = {"leaf": AssayInfo(["Chr1"], 1e6, 30_000, [30, 20, 10], 4)}
    tiles.tiles("train").__dict__["assays"] = assays
    found = provenance(a_config(), tiles, tmp_path, "")
    assert found["maps"] == {"leaf": {"resolution": 30_000, "longest": [30, 20, 10], "bins": 4}}
    fly = {"fly": {"resolution": 100_000, "longest": [32, 28, 25], "bins": 9}}
    before = checkpoint(tmp_path / "pretrain", {"train": {"fly": ["Chr1"]}}, maps=fly)
    found = provenance(a_config(), tiles, tmp_path, before)
    assert list(found["maps"]) == ["leaf"] and found["seen_maps"] == {**fly, **found["maps"]}
    again = checkpoint(tmp_path / "again", {"train": {"fly": ["Chr1"]}}, seen_maps=fly, maps={})
    assert provenance(a_config(), tiles, tmp_path, again)["seen_maps"] == found["seen_maps"]


def test_a_simulated_map_tells_nothing_of_a_measured_one(tmp_path):
    tiles = tiles_of(train="Chr1", val="Chr4")
    maps = {"sim": {"resolution": 30_000, "longest": [30], "simulated": True}}
    before = checkpoint(tmp_path / "pretrain", {"train": {"sim": ["Chr4"]}}, maps=maps)
    assert trained_before_on(a_config(), tiles, before) == []
    assays = {"made_up": AssayInfo(["Chr4"], 1e6, 30_000, [30], 4, simulated=True)}
    tiles.tiles("val").__dict__["assays"] = assays
    assert trained_before_on(a_config(), tiles, before) == ["made_up Chr4 (as sim Chr4)"]
