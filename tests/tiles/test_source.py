"""Opening, saving and joining tiles."""

import dataclasses
import sys

import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import builder
from hicfm_jax.tiles.dataset import FORMAT_VERSION
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import open_source
from tests.tiles.stored_tiles import store, with_targets
from tests.tiles.test_streams import TRAIN, assert_same, take


@pytest.fixture(scope="module")
def tiles(toy_maps) -> ArrayTiles:
    """Tiles with a map, a track and an embedding each."""
    tiles = ArrayTiles.from_contact_maps(toy_maps, 64, 32, 0.3, chromosomes=["A"])
    return with_targets(tiles, "map", "track", "embedding")


def test_tiles_survive_saving(tiles, tmp_path):
    source = open_source({"train": tiles, "val": tiles})
    source.save(tmp_path / "tiles.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["tiles.npz"]
    loaded = open_source(tmp_path / "tiles.npz")
    assert loaded.splits == source.splits == ["train", "val"]
    arguments = TRAIN | {"window": (64, 64), "flips": False}
    for left, right in zip(
        take(source.train_stream(**arguments), 2), take(loaded.train_stream(**arguments), 2), strict=True
    ):
        assert set(left.targets) == {"map", "track", "embedding"}
        assert_same(left, right)


@pytest.mark.parametrize("content", [None, b"", b"not a zip"])
def test_other_files_are_no_tiles(tmp_path, content):
    path = tmp_path / "tiles.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=r"tiles\.npz is not a file of tiles"):
        open_source(path)


def test_a_file_of_another_format_is_refused(tmp_path):
    np.savez(tmp_path / "tiles.npz", format_version=FORMAT_VERSION + 1)
    with pytest.raises(
        InputError, match=f"version {FORMAT_VERSION + 1}, but this program reads {FORMAT_VERSION}"
    ):
        open_source(tmp_path / "tiles.npz")


@pytest.mark.parametrize(("stride", "offsets"), [(32, {0}), (40, {0, 8})])
def test_a_source_knows_where_its_diagonals_are(toy_maps, tmp_path, stride, offsets):
    tiles = ArrayTiles.from_contact_maps(toy_maps, 64, stride, 0.1, chromosomes=["A"])
    assert tiles.diagonal_offsets == offsets
    builder.build_tiles(toy_maps, tmp_path / "tiles", tile_size=64, stride=stride, min_density=0.1)
    assert open_source(tmp_path / "tiles").tiles("train").diagonal_offsets == offsets


@pytest.fixture
def wheat(toy_maps, tmp_path):
    """A file of tiles of another assay, with float counts."""
    tiles = ArrayTiles.from_contact_maps({"wheat": toy_maps["leaf"]}, 64, 32, 0.3, chromosomes=["B"])
    tiles = dataclasses.replace(tiles, counts=tiles.counts.astype(np.float32))
    open_source(tiles).save(tmp_path / "wheat.npz")
    return tmp_path / "wheat.npz"


def test_joined_sources_hold_the_tiles_of_each(toy_dataset, wheat):
    joined = open_source(f"{toy_dataset[0]},{wheat}")
    parts = [open_source(toy_dataset[0]), open_source(wheat)]
    assert (joined.splits, joined.tile_shape) == (["train", "val"], (64, 64))
    assert joined.num_tiles() == sum(part.num_tiles() for part in parts)
    arguments = {"batch_size": 5, "window": (64, 64), "seed": 0}
    shown = [
        np.concatenate(
            [batch.counts[batch.mask == 1] for batch in source.evaluation_stream("train", **arguments)]
        )
        for source in (joined, *parts)
    ]
    np.testing.assert_array_equal(shown[0], np.concatenate(shown[1:]))

    wheat_counts = set(parts[1].tiles("train").matrix_count.tolist())
    stream = joined.train_stream(**arguments, mix={"wheat": 1, "*[!t]": 2, "root": 1})
    drawn = [count for batch in take(stream, 40) for count in batch.matrix_count.tolist()]
    assert 0.2 < np.isin(drawn, list(wheat_counts)).mean() < 0.3


def test_joined_files_need_no_tensorflow(wheat, tiles, tmp_path, monkeypatch):
    open_source(dataclasses.replace(tiles, targets={})).save(tmp_path / "others.npz")
    monkeypatch.setitem(sys.modules, "tensorflow", None)  # importing it now fails
    joined = open_source(f"{wheat},{tmp_path / 'others.npz'}")
    batch = next(joined.train_stream(batch_size=4, window=(64, 64), seed=0))
    assert batch.counts.shape == (4, 64, 64) and batch.counts.dtype == np.float32
    assert len(list(joined.evaluation_stream("train", batch_size=8, window=(64, 64), seed=0))) > 1


def test_the_mix_of_one_dataset_says_nothing_of_those_joined_to_it(tiles, wheat, tmp_path):
    assays = dict.fromkeys(tiles.assay.tolist(), 1.0)
    store(tmp_path / "mixed", {"train": dataclasses.replace(tiles, targets={})}, mix=assays)
    assert open_source(tmp_path / "mixed").mix == assays
    joined = open_source(f"{tmp_path / 'mixed'},{wheat}")
    stream = joined.train_stream(batch_size=joined.num_tiles(), window=(64, 64), seed=0)
    assert len(next(stream).counts) == len(tiles) + open_source(wheat).num_tiles()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda tiles: tiles, "wheat is in several of them"),
        (lambda tiles: dataclasses.replace(tiles, counts=tiles.counts[:, :32]), "its tiles differ"),
        (lambda tiles: dataclasses.replace(tiles, targets={"track": tiles.counts[:, 0]}), "its tiles differ"),
    ],
)
def test_what_does_not_go_together_is_not_joined(wheat, tmp_path, change, message):
    open_source(change(open_source(wheat).tiles("train"))).save(tmp_path / "other.npz")
    with pytest.raises(InputError, match=f"cannot be joined.*{message}"):
        open_source(f"{wheat},{tmp_path / 'other.npz'}")
