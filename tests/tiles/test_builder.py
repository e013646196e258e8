import errno
import filecmp
import json
import shutil

import numpy as np
import pytest
import tensorflow_datasets as tfds

from hicfm_jax.errors import InputError
from hicfm_jax.tiles import builder, records
from hicfm_jax.tiles.source import open_source
from tests.tiles.toy_maps import dense_to_map, random_matrix

ARGUMENTS = {"tile_size": 64, "stride": 32, "min_density": 0.05}


def test_tfds_reads_the_dataset(toy_dataset, toy_maps):
    folder, manifest = toy_dataset
    data = tfds.builder_from_directory(folder).as_data_source("val")
    assert len(data) == manifest["splits"]["val"]["tiles"]
    for tile in data:
        assay = tile["assay"].decode()
        matrix = toy_maps[assay].matrix("B").toarray()
        matrix = matrix + np.triu(matrix, 1).T
        (row, col) = tile["starts"]
        assert (tile["chromosomes"] == [b"B", b"B"]).all() and tile["diag"] == row - col
        expected = np.zeros((64, 64), np.uint16)
        part = matrix[row : row + 64, col : col + 64]
        expected[: part.shape[0], : part.shape[1]] = part
        np.testing.assert_array_equal(tile["counts"], expected)
        assert tile["matrix_count"] == expected.sum()
        assert tile["total_count"] == np.float32(toy_maps[assay].total_count)


def test_manifest_accounts_for_every_tile(toy_dataset):
    folder, manifest = toy_dataset
    assert manifest == json.loads((folder / "manifest.json").read_text())
    kept = {"train": 0, "val": 0}
    for chromosomes in manifest["tiles"].values():
        for name, count in chromosomes.items():
            n_starts = len(range(0, count["bins"] - 32, 16))
            assert count["kept"] + count["too_sparse"] == n_starts * (n_starts + 1) // 2
            assert count["too_short"] == (name == "tiny") == (n_starts == 0)
            assert count["split"] == ("val" if name == "B" else "train")
            kept[count["split"]] += count["kept"]
    assert sum(count["too_sparse"] for count in manifest["tiles"]["leaf"].values()) > 0
    assert {name: split["tiles"] for name, split in manifest["splits"].items()} == kept
    assert manifest["splits"]["val"] == {
        "tiles": kept["val"],
        "chromosomes": ["B"],
        "assays": ["leaf", "root"],
    }
    assert (manifest["resolution"], manifest["dtype"], manifest["format_version"]) == (1000, "uint16", 1)
    assert manifest["sources"]["leaf"]["chromsizes"] == {"A": 200_000, "B": 150_000, "tiny": 20_000}


def test_splits_by_assay(toy_maps, tmp_path):
    held_out = builder.HeldOut(val_assays=["root"])
    manifest, _ = builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS, held_out=held_out)
    assert manifest["splits"]["train"]["assays"] == ["leaf"]
    assert manifest["splits"]["val"]["assays"] == ["root"]
    assert manifest["splits"]["val"]["chromosomes"] == ["A", "B"]


def test_a_chromosome_is_held_out_under_any_of_its_names(tmp_path):
    maps = {
        assay: dense_to_map({prefix + "1": random_matrix(100, 0), prefix + "2": random_matrix(100, 1)})
        for assay, prefix in (("leaf", "Chr"), ("root", ""))
    }
    held_out = builder.HeldOut(val_chromosomes=["chr2"])
    manifest, _ = builder.build_tiles(maps, tmp_path / "tiles", **ARGUMENTS, held_out=held_out)
    assert manifest["held_out"]["val_chromosomes"] == ["Chr2", "2"]
    assert manifest["splits"]["train"]["chromosomes"] == ["Chr1", "1"]
    assert manifest["splits"]["val"]["chromosomes"] == ["Chr2", "2"]
    with pytest.raises(InputError, match="Chr2, 2 is held out twice|2, Chr2 is held out twice"):
        builder.HeldOut(val_chromosomes=["2"], test_chromosomes=["Chr2"]).resolve(maps)


def test_same_arguments_give_the_same_bytes_once(toy_maps, tmp_path):
    for name in ("one", "two"):
        _, made = builder.build_tiles(toy_maps, tmp_path / name, **ARGUMENTS)
        assert made
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    match, mismatch, errors = filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", names, shallow=False)
    assert (sorted(match), mismatch, errors) == (names, [], [])
    manifest, made = builder.build_tiles(toy_maps, tmp_path / "one", **ARGUMENTS)
    assert not made and manifest["splits"]["train"]["tiles"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"held_out": builder.HeldOut(val_chromosomes=["Chr9"])},
            "names 'Chr9' but the maps have A, B, tiny",
        ),
        ({"held_out": builder.HeldOut(val_assays=["stem"])}, "'stem' is held out but the inputs are named"),
        ({"held_out": builder.HeldOut(val_chromosomes=["A"], test_chromosomes=["A"])}, "A is held out twice"),
        (
            {"held_out": builder.HeldOut(val_chromosomes=["A"], test_assays=["leaf"])},
            "split by one of the two",
        ),
        ({"held_out": builder.HeldOut(val_chromosomes=["A", "B"])}, "split 'train'"),
        ({"held_out": builder.HeldOut(test_chromosomes=["tiny"])}, "split 'test'"),
        ({"min_density": 1.0}, "No tile of 64 bins"),
        ({"stride": 0}, "stride is 0"),
    ],
)
def test_bad_arguments_leave_nothing(toy_maps, tmp_path, changes, message):
    with pytest.raises(InputError, match=message):
        builder.build_tiles(toy_maps, tmp_path / "tiles", **(ARGUMENTS | changes))
    assert list(tmp_path.iterdir()) == []


def test_maps_of_two_resolutions_do_not_mix(toy_maps, tmp_path):
    maps = {"fine": toy_maps["leaf"], "coarse": toy_maps["root"].coarsen(2)}
    with pytest.raises(InputError, match="fine 1000 bp, coarse 2000 bp"):
        builder.build_tiles(maps, tmp_path / "tiles", **ARGUMENTS)


def test_other_data_under_that_name_is_not_touched(toy_maps, tmp_path):
    output = tmp_path / "tiles"
    output.mkdir()
    (output / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="exists and is not a dataset of tiles: choose another --output"):
        builder.build_tiles(toy_maps, output, **ARGUMENTS)
    assert (output / "thesis.txt").read_text() == "years of work"
    with pytest.raises(InputError, match="exists and is not a dataset of tiles: choose another --output"):
        builder.build_tiles(toy_maps, output / "thesis.txt", **ARGUMENTS)
    with pytest.raises(InputError, match="cannot be made"):
        builder.build_tiles(toy_maps, output / "thesis.txt" / "tiles", **ARGUMENTS)


def test_a_name_that_no_folder_can_have(toy_maps, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be made .*too long.*: choose another --output"):
        builder.build_tiles(toy_maps, tmp_path / ("t" * 300), **ARGUMENTS)
    monkeypatch.chdir(tmp_path)
    for name in (".", "missing/.."):
        with pytest.raises(InputError, match="is the current folder"):
            builder.build_tiles(toy_maps, name, **ARGUMENTS)
    assert list(tmp_path.iterdir()) == []


def test_a_dataset_made_otherwise_is_not_replaced(toy_maps, tmp_path):
    builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS)
    before = (tmp_path / "tiles" / "manifest.json").read_text()
    with pytest.raises(InputError, match="made with another stride, min_density"):
        builder.build_tiles(toy_maps, tmp_path / "tiles", tile_size=64, stride=16, min_density=0.1)
    deeper = {"leaf": dense_to_map({"A": random_matrix(200, 0, mean=90)}), "root": toy_maps["root"]}
    with pytest.raises(InputError, match="made with another sources"):
        builder.build_tiles(deeper, tmp_path / "tiles", **ARGUMENTS)
    assert (tmp_path / "tiles" / "manifest.json").read_text() == before


def test_a_full_disk_leaves_nothing(toy_maps, tmp_path, monkeypatch):
    written = []

    def add_examples(self, split_examples):
        written.append(split_examples)
        if len(written) == 2:  # what array_record raises when the device is full
            raise RuntimeError("write() failed: No space left on device; writing x; at byte 0")
        real(self, split_examples)

    real = tfds.core.SequentialWriter.add_examples
    monkeypatch.setattr(tfds.core.SequentialWriter, "add_examples", add_examples)
    with pytest.raises(OSError) as caught:
        builder.build_tiles(toy_maps, tmp_path / "tiles", tile_size=64, stride=16)
    assert caught.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_killed_build_is_no_dataset_and_does_not_block_the_next(toy_maps, tmp_path, monkeypatch):
    # kill -9 runs no cleanup: what is left is what stood there before the last step.
    monkeypatch.setattr(builder.shutil, "rmtree", lambda *_, **__: None)
    monkeypatch.setattr(builder.pathlib.Path, "rename", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS)
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["tiles.partial"]
    with pytest.raises(InputError, match="not a folder of tiles"):
        open_source(tmp_path / "tiles")
    builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS)
    assert [path.name for path in tmp_path.iterdir()] == ["tiles"]


@pytest.fixture
def copy(toy_dataset, tmp_path):
    return shutil.copytree(toy_dataset[0], tmp_path / "copy")


def test_tiles_of_another_format_are_refused(copy):
    manifest = json.loads((copy / records.MANIFEST).read_text())
    (copy / records.MANIFEST).write_text(json.dumps({"format_version": 2, "new": manifest}))
    with pytest.raises(InputError, match="format version 2, but this program reads 1"):
        open_source(copy)


@pytest.mark.parametrize("content", ["", "[]", "3", "{}", '{"format_version": 1}'])
def test_a_damaged_manifest_is_refused(copy, content):
    (copy / records.MANIFEST).write_text(content)
    with pytest.raises(InputError, match="manifest.json"):
        open_source(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tile_size", "64"),
        ("tile_size", 0),
        ("dtype", ["uint16"]),
        ("dtype", "object"),
        ("splits", ["train", "val"]),
        ("splits", {"train": 9}),
        ("splits", {"train": {"tiles": "9"}}),
        ("splits", None),
        ("tiles", []),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused(copy, name, value):
    manifest = json.loads((copy / records.MANIFEST).read_text())
    (copy / records.MANIFEST).write_text(json.dumps(manifest | {name: value}))
    with pytest.raises(InputError, match=f"manifest.json is damaged, its {name} is"):
        open_source(copy)


def _damage_middle(path):
    data = bytearray(path.read_bytes())
    middle = len(data) // 3
    data[middle : middle + 2000] = bytes(2000)
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        _damage_middle,
        lambda path: path.write_bytes(path.read_bytes()[:5000]),
        lambda path: path.write_bytes(b""),
        lambda path: path.unlink(),
    ],
    ids=["changed", "cut", "emptied", "removed"],
)
def test_a_damaged_file_is_named(copy, damage):
    (path,) = copy.glob("*train*")
    damage(path)
    with pytest.raises(InputError, match=path.name):
        list(open_source(copy).evaluation_stream("train", batch_size=4, window=(64, 64), seed=0))
