"""Checkpoints say what they have seen, so that nobody judges them on it."""

import json

from hicfm_jax import config as config_lib
from hicfm_jax.tiles.source import open_source
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


def checkpoint(folder, seen):
    meta = folder / "checkpoints" / "7" / "meta"
    meta.mkdir(parents=True)
    (folder / "checkpoints" / "7" / "params").mkdir()
    (meta / "metadata").write_text(json.dumps({"step": 7, "seen": seen}))
    return folder


def a_config():
    config = config_lib.base_config()
    config.data.tiles = "tiles"
    return config


def test_a_run_says_what_it_trains_and_validates_on(tmp_path):
    found = provenance(a_config(), tiles_of(train="Chr1", val="Chr4"), tmp_path, "")
    assert found["seen"] == {"train": {"made_up": ["Chr1"]}, "val": {"made_up": ["Chr4"]}}
    assert found["total_counts"] == {"made_up": 1e6}
    assert trained_before_on(found) == []


def test_what_it_starts_from_counts_and_a_leak_is_named(tmp_path):
    before = checkpoint(tmp_path / "pretrain", {"train": {"made_up": ["Chr4", "Chr5"], "other": ["Chr1"]}})
    found = provenance(a_config(), tiles_of(train="Chr1", val="Chr4"), tmp_path / "new", before)
    assert found["seen"]["train"] == {"made_up": ["Chr1", "Chr4", "Chr5"], "other": ["Chr1"]}
    assert trained_before_on(found) == ["made_up Chr4"]


def test_a_run_that_is_taken_up_keeps_its_past_when_its_source_is_gone(tmp_path):
    workdir = checkpoint(tmp_path / "run", {"train": {"made_up": ["Chr1", "Chr5"]}})
    found = provenance(a_config(), tiles_of(train="Chr1", val="Chr4"), workdir, tmp_path / "gone")
    assert found["seen"]["train"] == {"made_up": ["Chr1", "Chr5"]}


def test_simulated_maps_are_no_chromosomes_of_anybody(tmp_path):
    found = provenance(config_lib.base_config(), tiles_of(train="Chr1", val="Chr4"), tmp_path, "")
    assert found == {"seen": {}, "total_counts": {}}
