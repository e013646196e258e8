"""Building datasets: contents, bytes, splits, interruptions, damaged files."""

import errno
import filecmp
import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import scipy.sparse
import tensorflow_datasets as tfds

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import builder, runners
from hicfm_jax.tiles.build.map_file import MapFile
from hicfm_jax.tiles.build.splits import HeldOut
from hicfm_jax.tiles.build.summary import count_tiles
from hicfm_jax.tiles.stream.source import open_source
from hicfm_jax.types import NO_DIAGONAL
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
        "assays": {assay: manifest["tiles"][assay]["B"]["kept"] for assay in ("leaf", "root")},
    }
    assert (manifest["resolution"], manifest["dtype"], manifest["format_version"]) == (1000, "uint16", 2)
    assert manifest["sources"]["leaf"]["chromsizes"] == {"A": 200_000, "B": 150_000, "tiny": 20_000}


def test_splits_by_assay(toy_maps, tmp_path):
    held_out = HeldOut(val_assays=["root"])
    manifest, _ = builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS, held_out=held_out)
    assert list(manifest["splits"]["train"]["assays"]) == ["leaf"]
    assert list(manifest["splits"]["val"]["assays"]) == ["root"]
    assert manifest["splits"]["val"]["chromosomes"] == ["A", "B"]


def test_a_chromosome_is_held_out_under_any_of_its_names(tmp_path):
    maps = {
        assay: dense_to_map({prefix + "1": random_matrix(100, 0), prefix + "2": random_matrix(100, 1)})
        for assay, prefix in (("leaf", "Chr"), ("root", ""))
    }
    held_out = HeldOut(val_chromosomes=["chr2"])
    manifest, _ = builder.build_tiles(maps, tmp_path / "tiles", **ARGUMENTS, held_out=held_out)
    assert manifest["held_out"]["val_chromosomes"] == ["Chr2", "2"]
    assert manifest["splits"]["train"]["chromosomes"] == ["Chr1", "1"]
    assert manifest["splits"]["val"]["chromosomes"] == ["Chr2", "2"]
    with pytest.raises(InputError, match="Chr2, 2 is held out twice|2, Chr2 is held out twice"):
        HeldOut(val_chromosomes=["2"], test_chromosomes=["Chr2"]).resolve(maps)


def test_same_arguments_give_the_same_bytes_once(toy_maps, tmp_path):
    for name in ("one", "two"):
        _, made = builder.build_tiles(toy_maps, tmp_path / name, **ARGUMENTS)
        assert made
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    match, mismatch, errors = filecmp.cmpfiles(tmp_path / "one", tmp_path / "two", names, shallow=False)
    assert (sorted(match), mismatch, errors) == (names, [], [])
    (tmp_path / "one.partial" / "pieces").mkdir(parents=True)  # left by a kill right after the renaming
    manifest, made = builder.build_tiles(toy_maps, tmp_path / "one", **ARGUMENTS)
    assert not (tmp_path / "one.partial").exists()
    assert not made and manifest["splits"]["train"]["tiles"] > 0


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"held_out": HeldOut(val_chromosomes=["Chr9"])},
            "names 'Chr9' but the maps have A, B, tiny",
        ),
        ({"held_out": HeldOut(val_assays=["stem"])}, "'stem' is held out but the inputs are named"),
        ({"held_out": HeldOut(val_chromosomes=["A"], test_chromosomes=["A"])}, "A is held out twice"),
        (
            {"held_out": HeldOut(val_chromosomes=["A"], test_assays=["leaf"])},
            "split by one of the two",
        ),
        ({"held_out": HeldOut(val_chromosomes=["A", "B"])}, "Split 'train' gets no tiles of 64"),
        ({"held_out": HeldOut(test_chromosomes=["tiny"])}, "Split 'test' gets no tiles of 64"),
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


@pytest.mark.parametrize("name", ["tiles.npz", "root.mcool", "Reads.pairs.gz"])
def test_a_name_of_a_file_is_refused(toy_maps, tmp_path, name):
    """A folder x.npz would later be read as a file of tiles; a map may be one input too many."""
    with pytest.raises(InputError, match=f"{name} names a file, but tiles are a folder"):
        builder.build_tiles(toy_maps, tmp_path / name, **ARGUMENTS)
    assert not (tmp_path / name).exists()


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


@pytest.fixture
def small_pieces(monkeypatch):
    monkeypatch.setattr(builder, "PIECE_WINDOWS", 20)


def _content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_full_disk_leaves_finished_pieces_and_no_dataset(toy_maps, tmp_path, monkeypatch, small_pieces):
    arguments = {"tile_size": 64, "stride": 16}
    builder.build_tiles(toy_maps, tmp_path / "whole", **arguments)

    def write_shard(path, *arguments):
        if path.name.startswith("00002"):
            limits = resource.getrlimit(resource.RLIMIT_FSIZE)
            resource.setrlimit(resource.RLIMIT_FSIZE, (1000, limits[1]))
            try:
                return real(path, *arguments)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        return real(path, *arguments)

    real = runners.shards.write_shard
    monkeypatch.setattr(runners.shards, "write_shard", write_shard)
    with pytest.raises(OSError) as caught:
        builder.build_tiles(toy_maps, tmp_path / "tiles", **arguments)
    assert caught.value.errno == errno.ENOSPC
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "tiles.partial"}
    kept = {path.name for path in (tmp_path / "tiles.partial" / "pieces").iterdir()}
    assert kept == {"00000.array_record", "00000.json", "00001.array_record", "00001.json"}
    with pytest.raises(InputError, match="not a folder of tiles"):
        open_source(tmp_path / "tiles")

    monkeypatch.undo()
    monkeypatch.setattr(builder, "PIECE_WINDOWS", 20)
    builder.build_tiles(toy_maps, tmp_path / "tiles", **arguments)
    assert _content(tmp_path / "tiles") == _content(tmp_path / "whole")
    assert {path.name for path in tmp_path.iterdir()} == {"whole", "tiles"}


@pytest.mark.slow  # seven builds in processes of their own
def test_a_build_killed_at_any_time_is_finished_by_the_next(tmp_path):
    # Imports what a build needs, and only this test needs the module.
    from tests.tiles import toy_build

    processes = toy_build.server()

    def start(output):
        process = processes.Process(target=toy_build.build, args=(output,))
        process.start()
        return process

    start(tmp_path / "warm").join()
    began = time.monotonic()
    start(tmp_path / "whole").join()
    needed = time.monotonic() - began
    whole = _content(tmp_path / "whole")
    assert len([name for name in whole if "array_record" in name]) > 10

    random, killed = np.random.default_rng(0), 0
    for _ in range(5):
        process = start(tmp_path / "tiles")
        process.join(timeout=random.uniform(0.1, 0.9) * needed)
        process.kill()
        process.join()
        killed += process.exitcode == -signal.SIGKILL
        if (tmp_path / "tiles").exists():  # never before it is complete
            assert _content(tmp_path / "tiles") == whole
            shutil.rmtree(tmp_path / "tiles")
    assert killed >= 3
    process = start(tmp_path / "tiles")
    process.join()
    assert process.exitcode == 0 and _content(tmp_path / "tiles") == whole
    assert not (tmp_path / "tiles.partial").exists()


def test_what_a_killed_build_left_half_done_is_cleared_away(toy_maps, tmp_path, small_pieces):
    def interrupt(job, pieces, progress):
        runners.run_here(job, pieces[:1], progress)
        raise KeyboardInterrupt

    partial = tmp_path / "tiles.partial"
    for left in ((), ("pieces/.00001.array_record.0af3/00001.array_record", "dataset/context.npz")):
        for name in left:
            (partial / name).parent.mkdir(exist_ok=True)
            (partial / name).write_bytes(b"half")
        with pytest.raises(KeyboardInterrupt):
            builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS, runner=interrupt)
        assert not list(partial.glob("pieces/.*")) and not (partial / "dataset").exists()
    builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS)
    builder.build_tiles(toy_maps, tmp_path / "whole", **ARGUMENTS)
    assert _content(tmp_path / "tiles") == _content(tmp_path / "whole")


def test_finished_pieces_are_kept_for_the_same_tiles_only(toy_maps, tmp_path, monkeypatch, small_pieces):
    class Telling(NullProgress):
        lines = ()

        def say(self, line):
            self.lines += (line,)

    def interrupt(job, pieces, progress):
        runners.run_here(job, pieces[:3], progress)
        raise KeyboardInterrupt

    cut, telling = [], Telling()
    write_shard = runners.shards.write_shard
    monkeypatch.setattr(
        runners.shards, "write_shard", lambda path, *a: (cut.append(int(path.stem)), write_shard(path, *a))[1]
    )
    for arguments in (ARGUMENTS, ARGUMENTS, ARGUMENTS | {"stride": 16}):
        with pytest.raises(KeyboardInterrupt):
            builder.build_tiles(toy_maps, tmp_path / "tiles", **arguments, runner=interrupt, progress=telling)
    assert cut == [0, 1, 2, 3, 0, 1, 2]  # there are four at the first stride
    assert [line for line in telling.lines if "was begun with another stride" in line]
    assert len([line for line in telling.lines if "were finished before" in line]) == 1
    # A piece that was cut short is no finished one.
    shard = tmp_path / "tiles.partial" / "pieces" / "00001.array_record"
    shard.write_bytes(shard.read_bytes()[:-1])
    del cut[:]
    with pytest.raises(KeyboardInterrupt):
        builder.build_tiles(toy_maps, tmp_path / "tiles", **arguments, runner=interrupt)
    assert cut == [1, 3, 4]


def test_a_changed_input_file_starts_the_build_anew(tmp_path, monkeypatch, small_pieces):
    path = tmp_path / "leaf.cool"
    write_contacts(dense_to_map({"A": random_matrix(200, 0)}), path)
    source = {"leaf": MapFile(str(path), 1000)}
    seen = []

    def interrupt(job, pieces, progress):
        seen.append(len(pieces))
        runners.run_here(job, pieces[:1], progress)
        raise KeyboardInterrupt

    for changed in (False, False, True):
        if changed:
            os.utime(path, ns=(1, 1))
        with pytest.raises(KeyboardInterrupt):
            builder.build_tiles(source, tmp_path / "tiles", tile_size=64, stride=16, runner=interrupt)
    assert seen == [seen[0], seen[0] - 1, seen[0]]


HOLD = """
import fcntl, sys, time
with open(sys.argv[1], "a") as file:
    fcntl.lockf(file, fcntl.LOCK_EX)
    print("held", flush=True)
    time.sleep(600)
"""


def test_two_builds_of_one_dataset_do_not_mix(toy_maps, tmp_path):
    partial = tmp_path / "tiles.partial"
    partial.mkdir()
    process = subprocess.Popen([sys.executable, "-c", HOLD, partial / "lock"], stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline()
        with pytest.raises(InputError, match="tiles.partial is in use by another build"):
            builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS)
    finally:
        process.kill()
        process.communicate()
    _, made = builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS)
    assert made and [path.name for path in tmp_path.iterdir()] == ["tiles"]


def test_what_is_not_ours_under_the_name_of_the_unfinished_build_stays(toy_maps, tmp_path):
    thesis = tmp_path / "tiles.partial" / "thesis.txt"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(InputError, match="tiles.partial, .*has other contents .thesis.txt"):
        builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS)
    assert thesis.read_text() == "years of work"


def test_trans_tiles_lie_between_chromosomes_of_one_split(toy_maps, tmp_path):
    held_out = HeldOut(val_chromosomes=["leaf:B"])
    maps = {}
    for assay, chromosomes in {"leaf": "ABC", "root": "AB"}.items():
        matrices = {(name, name): scipy.sparse.csr_array(np.eye(64, dtype=int)) for name in chromosomes}
        for pair in itertools.combinations(chromosomes, 2):
            matrices[pair] = scipy.sparse.csr_array(np.full((64, 64), ord(pair[0])))
        maps[assay] = ContactMap({name: 64_000 for name in chromosomes}, 1000, matrices, name=assay)
    manifest, _ = builder.build_tiles(
        maps, tmp_path / "tiles", tile_size=64, stride=64, min_density=0.01, trans=True, held_out=held_out
    )
    assert manifest["trans_tiles"] == {
        "leaf": {
            "across_splits": {"pairs": 2, "kept": 0, "too_sparse": 0},
            "train": {"pairs": 1, "kept": 1, "too_sparse": 0},
        },
        "root": {"train": {"pairs": 1, "kept": 1, "too_sparse": 0}},
    }
    train = tfds.builder_from_directory(tmp_path / "tiles").as_data_source("train")
    found = [(tile["assay"], *tile["chromosomes"]) for tile in train]
    pairs = [("leaf", "AA"), ("leaf", "AC"), ("leaf", "CC"), ("root", "AA"), ("root", "AB"), ("root", "BB")]
    assert found == [(assay.encode(), pair[:1].encode(), pair[1:].encode()) for assay, pair in pairs]
    trans = train[1]
    assert trans["diag"] == NO_DIAGONAL and (trans["counts"] == ord("A")).all()


CHROMOSOMES = [f"c{index}" for index in range(4)]
PAIRS = list(itertools.combinations_with_replacement(CHROMOSOMES, 2))


def counting_map(**more) -> tuple[ContactMap, list]:
    """A map that loads each pair on demand, and the list of the pairs that it loaded."""
    loads = []

    def load(*pair):
        loads.append(pair)
        counts = np.full((80, 80), 3)
        return scipy.sparse.csr_array(np.triu(counts) if pair[0] == pair[1] else counts)

    return ContactMap(dict.fromkeys(CHROMOSOMES, 80_000), 1000, load, **more), loads


def test_each_chromosome_pair_is_loaded_twice(tmp_path, small_pieces):
    contact_map, loads = counting_map(total_count=lambda: 1e6)
    held_out = HeldOut(val_chromosomes=["c1"])
    builder.build_tiles(
        {"leaf": contact_map}, tmp_path / "t", tile_size=32, stride=16, trans=True, held_out=held_out
    )
    of_one_split = [pair for pair in PAIRS if "c1" not in pair]
    across = [pair for pair in PAIRS if "c1" in pair and pair != ("c1", "c1")]  # for the coverage of bins
    assert sorted(loads) == sorted([*of_one_split, ("c1", "c1")] * 2 + across)


@pytest.mark.parametrize("trans", [False, True])
def test_the_total_of_a_map_costs_no_further_reading(tmp_path, trans):
    """Formats without a stored total add up all pairs, cis and trans: those of the survey only once."""
    contact_map, loads = counting_map()
    source = {"leaf": contact_map}
    manifest, _ = builder.build_tiles(source, tmp_path / "t", tile_size=32, stride=16, trans=trans)
    assert manifest["sources"]["leaf"]["total_count"] == 3 * (4 * 80 * 81 / 2 + 6 * 80 * 80)
    cut = PAIRS if trans else [pair for pair in PAIRS if pair[0] == pair[1]]
    assert sorted(loads) == sorted([*PAIRS, *cut])
    del loads[:]
    contact_map, loads = counting_map()
    count_tiles({"leaf": contact_map}, tile_size=32, stride=16, trans=trans)
    assert sorted(loads) == sorted([*PAIRS, *cut])


@pytest.mark.parametrize("name", ["leaf.txt", "leaf.pairs", "leaf.cool"])
def test_a_file_is_opened_twice(tmp_path, monkeypatch, name):
    """Lists of contacts are read and binned anew whenever they are opened."""
    path = tmp_path / name
    if name == "leaf.txt":
        lines = [f"r{i} A {1000 * (i % 90)} A {1000 * (i * 7 % 90)}" for i in range(4000)]
        path.write_text("#chromsize: A 90000\n" + "\n".join(lines) + "\n")
    else:
        write_contacts(dense_to_map({"A": random_matrix(90, 0)}), path)
    opened, real = [], MapFile.open
    monkeypatch.setattr(MapFile, "open", lambda self: (opened.append(self.uri), real(self))[1])
    source = {"leaf": MapFile(str(path), 1000)}
    settings = dict(tile_size=32, stride=32, min_density=0.0)
    builder.build_tiles(source, tmp_path / "tiles", **settings)
    assert len(opened) == 2
    builder.build_tiles(source, tmp_path / "tiles", **settings)  # exists already
    assert len(opened) == 3
    count_tiles(source, **settings)
    assert len(opened) == 4


def test_the_mix_is_checked_and_kept(toy_maps, tmp_path):
    with pytest.raises(InputError, match="rice"):
        builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS, mix={"rice": 2.0, "*": 1.0})
    mix = {"leaf": 2.0, "r*": 1.0}
    manifest, _ = builder.build_tiles(toy_maps, tmp_path / "tiles", **ARGUMENTS, mix=mix)
    assert manifest["mix"] == mix


def test_a_dry_run_counts_what_the_build_writes(toy_dataset, toy_maps):
    folder, manifest = toy_dataset
    held_out = HeldOut(val_chromosomes=["B"])
    counted, size = count_tiles(toy_maps, tile_size=64, stride=16, min_density=0.3, held_out=held_out)
    assert counted == manifest
    info, written = tfds.builder_from_directory(folder).info, 0
    for split in info.splits.values():
        files = dataset.RecordFiles([str(path) for path in split.filepaths], split.shard_lengths)
        written += sum(len(record) for record in files.read(np.arange(len(files))))
    assert size == pytest.approx(written, rel=0.1)


@pytest.fixture
def copy(toy_dataset, tmp_path):
    return shutil.copytree(toy_dataset[0], tmp_path / "copy")


def test_tiles_of_another_format_are_refused(copy):
    manifest = json.loads((copy / dataset.MANIFEST).read_text())
    (copy / dataset.MANIFEST).write_text(json.dumps({"format_version": 1, "old": manifest}))
    with pytest.raises(InputError, match="format version 1, but this program reads 2"):
        open_source(copy)


@pytest.mark.parametrize("content", ["", "[]", "3", "{}", '{"format_version": 2}'])
def test_a_damaged_manifest_is_refused(copy, content):
    (copy / dataset.MANIFEST).write_text(content)
    with pytest.raises(InputError, match="manifest.json"):
        open_source(copy)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tile_size", 64),
        ("tile_size", [64, 0]),
        ("dtype", ["uint16"]),
        ("dtype", "object"),
        ("splits", ["train", "val"]),
        ("splits", {"train": 9}),
        ("splits", {"train": {"tiles": "9", "assays": {"leaf": 9}}}),
        ("splits", {"train": {"tiles": 9, "assays": {"leaf": 8}}}),
        ("splits", None),
        ("tiles", []),
    ],
)
def test_a_manifest_with_a_wrong_field_is_refused(copy, name, value):
    manifest = json.loads((copy / dataset.MANIFEST).read_text())
    (copy / dataset.MANIFEST).write_text(json.dumps(manifest | {name: value}))
    with pytest.raises(InputError, match=f"manifest.json is damaged .its {name} is"):
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
