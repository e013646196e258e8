"""Conversion to and from the original's folders of tiles."""

import errno
import os
import pathlib
import pickle
import pickletools

import numpy as np
import pytest
import scipy.sparse
import tensorflow_datasets as tfds

from hicfm_jax.errors import InputError
from hicfm_jax.tiles import dataset as records
from hicfm_jax.tiles import upstream_folder
from hicfm_jax.tiles.build import shards
from hicfm_jax.tiles.stream.source import open_source
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, NO_DIAGONAL
from tests.run_script import run_script
from tests.tiles.toy_maps import random_matrix

ROOT = pathlib.Path(__file__).resolve().parents[2]


def read_dataset(folder, split):
    return list(tfds.builder_from_directory(folder).as_data_source(split))


def assert_same_tiles(folder, other):
    for split in records.read_manifest(folder)["splits"]:
        tiles, others = read_dataset(folder, split), read_dataset(other, split)
        assert len(tiles) == len(others) > 0
        for tile, same in zip(tiles, others, strict=True):
            assert tile.keys() == same.keys()
            for field, value in tile.items():
                a, b = np.asarray(value), np.asarray(same[field])
                assert a.dtype == b.dtype, field
                np.testing.assert_array_equal(a, b, err_msg=field)


def write_folder(folder, **splits):
    """Writes `split={sub_folder: {file: content}}` as the original's users do."""
    for split, sub_folders in splits.items():
        folder.mkdir(exist_ok=True)
        (folder / f"{split}.txt").write_text("\n".join(sub_folders))
        for name, files in sub_folders.items():
            (folder / name).mkdir(parents=True)
            for file, content in files.items():
                (folder / name / file).write_bytes(pickle.dumps(content))
    return folder


def tile(seed=0, **more):
    return {"input": random_matrix(32, seed).astype(float), **more}


@pytest.fixture
def finetuning_dataset(request, tmp_path):
    """A dataset of rectangular trans tiles with fractions, negative starts and every kind of target."""
    rng = np.random.default_rng(0)
    targets = {"map": (32, 48), "track": getattr(request, "param", (32,)), "embedding": (7,)}
    tiles = [
        {
            "counts": (rng.gamma(0.3, size=(32, 48)) * (rng.random((32, 48)) < 0.3)).astype(np.float32),
            "diag": NO_DIAGONAL,
            "total_count": np.float32(12345.678),
            "matrix_count": np.float32(rng.random()),
            "chromosomes": ["Chr1", "Chr2"],
            "starts": np.array([-5, 10 * number], np.int32),
            "assay": "root",
            **{
                f"target_{name}": rng.normal(size=shape).astype(np.float32) for name, shape in targets.items()
            },
        }
        for number in range(12)
    ]
    features = records.features((32, 48), np.dtype(np.float32), targets)
    count = shards.write_shard(tmp_path / "shard", tiles, features)
    manifest = {
        "format_version": records.FORMAT_VERSION,
        "mode": "locus",
        "trans": True,
        "resolution": 1000,
        "tile_size": [32, 48],
        "stride": 1,
        "min_density": 0.0,
        "held_out": {},
        "sources": {},
        "dtype": "float32",
        "targets": targets,
        "mix": {},
        "tiles": {},
        "splits": {"train": {"tiles": count, "chromosomes": ["Chr1", "Chr2"], "assays": {"root": count}}},
    }
    shards.finish_dataset(tmp_path / "dataset", {"train": [(tmp_path / "shard", count)]}, manifest, features)
    return tmp_path / "dataset"


def test_the_original_finds_and_reads_what_is_exported(toy_dataset, toy_maps, tmp_path):
    dataset, manifest = toy_dataset
    counted = upstream_folder.export_folder(dataset, tmp_path / "folder")
    assert counted == {name: split["assays"] for name, split in manifest["splits"].items()}
    for split, assays in counted.items():
        lines = (tmp_path / "folder" / f"{split}.txt").read_text().splitlines()
        for line, (assay, n_tiles) in zip(lines, assays.items(), strict=True):
            sub_folder = os.path.join(tmp_path / "folder", line.strip())
            files = os.listdir(sub_folder)
            assert len(files) == n_tiles and all(file.endswith(".pkl") for file in files)
            for file in files[:20]:
                with open(os.path.join(sub_folder, file), "rb") as opened:
                    content = pickle.load(opened)
                assert isinstance(content["input"], scipy.sparse.coo_matrix)  # not coo_array
                counts = content["input"].toarray()
                assert np.sum(counts).dtype == np.float64  # it stops with any other
                assert content["input"].nnz == np.count_nonzero(counts)  # its measure of density
                assert type(content["input_count"]) is float
                assert content["input_count"] == toy_maps[assay].total_count
                assert type(content["diag"]) is int
                if content["diag"] == 0:
                    np.testing.assert_array_equal(counts, counts.T)
                assert not any("target" in key for key in content)  # would make it fine-tuning data


def test_an_unfinished_build_beside_the_output_is_left_alone(toy_dataset, tmp_path):
    waiting = tmp_path / "folder.partial" / "pieces" / "00000.array_record"
    waiting.parent.mkdir(parents=True)
    waiting.write_bytes(b"tiles")
    upstream_folder.export_folder(toy_dataset[0], tmp_path / "folder")
    assert waiting.read_bytes() == b"tiles"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "folder.partial"]


def test_exported_files_name_nothing_that_old_libraries_lack(finetuning_dataset, tmp_path):
    """The original's environment is Python 3.8, which ends at numpy 1.24 and scipy 1.10."""
    upstream_folder.export_folder(finetuning_dataset, tmp_path / "folder")
    stream = (tmp_path / "folder" / "train" / "root" / "0000000.pkl").read_bytes()
    ops = list(pickletools.genops(stream))
    assert max(op.proto for op, _, _ in ops) <= 4
    strings = {argument for _, argument, _ in ops if isinstance(argument, str)}
    modules = {name.split()[0] for name in strings if name.startswith(("numpy", "scipy"))}
    assert modules == {"numpy", "numpy.core.multiarray", "scipy.sparse._coo"}
    assert "coords" not in strings  # an attribute of newer sparse matrices


@pytest.mark.slow  # writes and reads a dataset of hundreds of tiles
def test_export_and_import_give_the_same_tiles(toy_dataset, tmp_path):
    assert_the_same_after_export(toy_dataset[0], tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("finetuning_dataset", [(32,), (3, 32)], indirect=True)
def test_export_and_import_give_the_same_targets(finetuning_dataset, tmp_path):
    assert_the_same_after_export(finetuning_dataset, tmp_path)


def assert_the_same_after_export(folder, tmp_path):
    upstream_folder.export_folder(folder, tmp_path / "folder")
    manifest = upstream_folder.import_folder(tmp_path / "folder", tmp_path / "again", resolution=1000)
    assert_same_tiles(folder, tmp_path / "again")
    assert manifest == records.read_manifest(tmp_path / "again")
    original = records.read_manifest(folder)
    for field in ("tile_size", "dtype", "targets", "splits", "trans", "resolution"):
        assert manifest[field] == original[field], field


def test_tiles_of_the_original(tmp_path):
    matrix = random_matrix(32, 5).astype(float)
    with_nan = matrix.copy()
    with_nan[3, 4] = np.nan
    folder = write_folder(
        tmp_path / "folder",
        train={
            "leaf": {
                "chr1_1120_0.pkl": tile(2, input_count=None, diag=None),
                "chr1_224_0.pkl": tile(1, input_count=1e6, diag=-16),
                "notes.txt": "passed over",
            },
            "root": {"data_1.pkl": {"input": scipy.sparse.coo_matrix(matrix), "diag": 0}},
        },
        val={"stem": {"a.pkl": {"input": with_nan, "input_count": np.int64(7), "diag": 32}}},
    )
    manifest = upstream_folder.import_folder(folder, tmp_path / "tiles")
    assert manifest["splits"]["train"]["assays"] == {"leaf": 2, "root": 1}
    assert (manifest["dtype"], manifest["tile_size"], manifest["trans"]) == ("uint16", [32, 32], False)
    first, second, third = read_dataset(tmp_path / "tiles", "train")  # 224 comes before 1120
    np.testing.assert_array_equal(first["counts"], random_matrix(32, 1))
    assert (first["diag"], first["total_count"], first["assay"]) == (-16, 1e6, b"leaf")
    assert (second["diag"], second["total_count"]) == (NO_DIAGONAL, DEFAULT_TOTAL_COUNT)
    np.testing.assert_array_equal(third["counts"], matrix)
    assert (third["diag"], third["total_count"], third["matrix_count"]) == (0, 1e9, matrix.sum())
    assert (third["chromosomes"] == [b"", b""]).all() and (third["starts"] == 0).all()
    (held_out,) = read_dataset(tmp_path / "tiles", "val")
    np.testing.assert_array_equal(held_out["counts"], np.nan_to_num(with_nan))
    # A diagonal that starts beyond the tile says that there is none.
    assert (held_out["diag"], held_out["total_count"]) == (NO_DIAGONAL, 7)
    batch = next(open_source(tmp_path / "tiles").train_stream(batch_size=2, window=(16, 16), seed=0))
    assert batch.counts.shape == (2, 16, 16)


@pytest.mark.parametrize("source", ["sym", "rect", "tall", "nan"])
def test_counts_are_those_that_the_original_computes(golden, tmp_path, source):
    arrays, manifest = golden("upstream_data")
    cases = [
        case
        for case in manifest["pretrain_cases"]["cases"]
        if len(case["files"]) == 1 and case["files"][0]["src"] == source
    ]
    files = {}
    for number, case in enumerate(cases):
        content = {"input": arrays[f"pretrain_src/{source}"]}
        content |= {key: case["files"][0][key] for key in ("diag", "input_count") if key in case["files"][0]}
        if case["files"][0].get("coo"):
            content["input"] = scipy.sparse.coo_matrix(content["input"])
        files[f"{number}.pkl"] = content
    folder = write_folder(tmp_path / "folder", train={source: files})
    upstream_folder.import_folder(folder, tmp_path / "tiles")
    for stored, case in zip(read_dataset(tmp_path / "tiles", "train"), cases, strict=True):
        assert stored["matrix_count"] == case["draws"][0]["matrix_count"]
        assert stored["total_count"] == case["draws"][0]["hic_count"]
        given = case["files"][0].get("diag")
        crosses = given is not None and abs(given) < max(stored["counts"].shape)
        assert stored["diag"] == (given if crosses else NO_DIAGONAL)


@pytest.mark.parametrize("value", [0.25, 65_536.0])
def test_counts_that_uint16_cannot_hold_are_float32(tmp_path, value):
    content = tile()
    content["input"][0, 0] = value
    folder = write_folder(tmp_path / "folder", train={"leaf": {"1.pkl": tile(1), "2.pkl": content}})
    manifest = upstream_folder.import_folder(folder, tmp_path / "tiles")
    assert manifest["dtype"] == "float32"
    assert read_dataset(tmp_path / "tiles", "train")[1]["counts"][0, 0] == value


def test_targets_of_the_original(tmp_path):
    rng = np.random.default_rng(3)
    deep = scipy.sparse.coo_matrix(rng.poisson(1.0, (32, 32)).astype(float))
    track = rng.normal(size=32)
    track[5] = np.nan
    content = tile(**{"2d_target": deep, "1d_target": track, "embed_target": np.arange(512.0)})
    folder = write_folder(tmp_path / "folder", train={"leaf": {"1.pkl": content}})
    manifest = upstream_folder.import_folder(folder, tmp_path / "tiles")
    assert manifest["targets"] == {"map": [32, 32], "track": [32], "embedding": [512]}
    (stored,) = read_dataset(tmp_path / "tiles", "train")
    np.testing.assert_array_equal(stored["target_map"], deep.toarray())
    np.testing.assert_array_equal(stored["target_track"], np.nan_to_num(track).astype(np.float32))
    np.testing.assert_array_equal(stored["target_embedding"], np.arange(512))


class Hostile:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_a_hostile_pickle_runs_nothing_and_is_named(tmp_path):
    content = tile() | {"diag": Hostile(tmp_path / "ran")}
    folder = write_folder(tmp_path / "folder", train={"leaf": {"bad.pkl": content}})
    with pytest.raises(InputError, match="bad.pkl.*mkdir"):
        upstream_folder.import_folder(folder, tmp_path / "tiles")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def out_of_bounds():
    matrix = scipy.sparse.coo_matrix(np.eye(32))
    matrix.row[3] = 1_000_000
    return matrix


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"diag": 0}, r"2.pkl has the keys \['diag'\], but a tile is a dict with the key 'input'"),
        ([1, 2], "2.pkl has list"),
        (tile() | {"input": np.zeros((1, 32, 32))}, r"2.pkl: input has the shape \(1, 32, 32\)"),
        (tile() | {"input": np.zeros((0, 32))}, r"input has the shape \(0, 32\)"),
        (tile() | {"input": "a matrix"}, "input is str"),
        (tile() | {"input": np.array([["a"]])}, "2.pkl.* expected|2.pkl.*numbers"),
        (tile() | {"input": np.full((32, 32), -1.0)}, "input has -1, but contacts are 0 or more"),
        (tile() | {"input": np.full((32, 32), np.inf)}, "input has a value beyond 1e.30"),
        (tile() | {"input": out_of_bounds()}, "2.pkl.*(damaged|index)"),
        (tile() | {"input": np.ones((32, 48))}, r"2.pkl has the shape \(32, 48\) and the tiles before it"),
        (tile(input_count=0), "input_count is 0, but should be positive or None"),
        (tile(input_count="many"), "input_count is 'many', but should be a number or None"),
        (tile(diag=float("nan")), "diag is 'nan'"),
        (tile(input_count=1e300), "input_count is '1e.300'"),
        (tile(diag=0.5), "diag is 0.5, but should be a whole number"),
        (tile() | {"1d_target": np.ones(32)}, r"2.pkl has the targets {'track': \(32,\)}.*before it none"),
        (tile() | {"1d_target": np.ones(31)}, r"1d_target has the shape \(31,\)"),
        (tile() | {"2d_target": np.ones((32, 31))}, r"2d_target has the shape \(32, 31\)"),
        (tile() | {"embed_target": np.ones((1, 512))}, r"embed_target has the shape \(1, 512\)"),
    ],
)
def test_a_file_that_is_no_such_tile(tmp_path, content, message):
    folder = write_folder(tmp_path / "folder", train={"leaf": {"1.pkl": tile(), "2.pkl": content}})
    with pytest.raises(InputError, match=message):
        upstream_folder.import_folder(folder, tmp_path / "tiles")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_file_that_is_no_pickle(tmp_path):
    folder = write_folder(tmp_path / "folder", train={"leaf": {"1.pkl": tile()}})
    (folder / "leaf" / "1.pkl").write_bytes((folder / "leaf" / "1.pkl").read_bytes()[:-100])
    with pytest.raises(InputError, match="1.pkl"):
        upstream_folder.import_folder(folder, tmp_path / "tiles")


@pytest.mark.parametrize(
    ("lists", "message"),
    [
        ({}, "has no train.txt"),
        ({"val": "leaf"}, "has no train.txt"),
        ({"train": " \n\n"}, "train.txt is empty"),
        ({"train": "leaf\nroot"}, "train.txt lists 'root', but there is no folder"),
        ({"train": "leaf\nempty"}, "train.txt lists 'empty', but .* has no .pkl file"),
        ({"train": "leaf\nleaf"}, "train.txt lists 'leaf', but .*train.txt lists it"),
        ({"train": "leaf", "val": "./leaf"}, "val.txt lists './leaf', but .*train.txt lists it"),
        (
            {"train": "leaf\nother/leaf"},
            "lists 'other/leaf', but .*train.txt lists it or a folder of the same name",
        ),
    ],
)
def test_lists_that_cannot_be_followed(tmp_path, lists, message):
    folder = write_folder(
        tmp_path / "folder", train={"leaf": {"1.pkl": tile()}, "other/leaf": {"1.pkl": tile()}, "empty": {}}
    )
    (folder / "train.txt").unlink()
    for split, text in lists.items():
        (folder / f"{split}.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        upstream_folder.import_folder(folder, tmp_path / "tiles")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_full_disk_leaves_nothing(finetuning_dataset, tmp_path, monkeypatch):
    upstream_folder.export_folder(finetuning_dataset, tmp_path / "folder")
    before = sorted(path.name for path in tmp_path.iterdir())

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(upstream_folder, "write_tile", full)
    monkeypatch.setattr(upstream_folder.shards, "write_shard", full)
    with pytest.raises(OSError, match="No space left"):
        upstream_folder.export_folder(finetuning_dataset, tmp_path / "other")
    with pytest.raises(OSError, match="No space left"):
        upstream_folder.import_folder(tmp_path / "folder", tmp_path / "tiles")
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_what_is_there_is_not_replaced(finetuning_dataset, tmp_path):
    with pytest.raises(InputError, match="dataset exists already: remove it"):
        upstream_folder.export_folder(finetuning_dataset, finetuning_dataset)
    assert records.read_manifest(finetuning_dataset)
    with pytest.raises(InputError, match="names a file, but tiles are a folder"):
        upstream_folder.export_folder(finetuning_dataset, tmp_path / "tiles.npz")


def test_an_assay_that_no_folder_can_be_named_after(finetuning_dataset, tmp_path):
    manifest = finetuning_dataset / records.MANIFEST
    manifest.write_text(manifest.read_text().replace('"root"', '"../root"'))
    with pytest.raises(InputError, match="'../root' cannot name a f"):
        upstream_folder.export_folder(finetuning_dataset, tmp_path / "folder")
    assert not (tmp_path / "folder").exists()


def test_the_script_goes_both_ways(tmp_path):
    folder = write_folder(
        tmp_path / "folder",
        train={"leaf": {"1.pkl": tile(1), "2.pkl": tile(2)}},
        val={"root": {"1.pkl": tile(3)}},
    )
    for source, output in ((folder, tmp_path / "tiles"), (tmp_path / "tiles", tmp_path / "again")):
        done = run_script("convert_tiles.py", f"--input={source}", f"--output={output}")
        assert done.returncode == 0, done.stderr
        table = [line.split() for line in done.stdout.splitlines()]
        assert table[1:3] == [["train", "2", "leaf"], ["val", "1", "root"]]
    assert (tmp_path / "again" / "train.txt").read_text() == "train/leaf\n"


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--input=nowhere", "--output=x"], "nowhere is not a folder"),
        ([f"--input={ROOT / 'tests'}", "--output=x"], "tests has no train.txt"),
    ],
)
def test_mistakes_end_in_one_sentence(flags, message):
    done = run_script("convert_tiles.py", *flags)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ") and done.stderr.count("\n") == 1 and message in done.stderr
    assert not (ROOT / "x").exists()
