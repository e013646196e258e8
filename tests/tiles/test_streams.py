"""Streams from memory and from disk: the same bits, exact resume, alignment."""

import dataclasses
import itertools
import os
import subprocess
import sys
import textwrap
import zlib

import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import builder
from hicfm_jax.tiles.stream import disk as disk_module
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.source import open_source
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, NO_DIAGONAL
from tests.tiles.stored_tiles import store, with_targets
from tests.tiles.toy_maps import dense_to_map, random_matrix

FIELDS = ("counts", "total_count", "diag", "matrix_count", "mask")
TRAIN = {"batch_size": 8, "window": (32, 32), "seed": 3, "min_density": 0.3, "max_redraws": 4, "flips": True}


def assert_same(left, right):
    assert left.targets.keys() == right.targets.keys()
    fields = {name: (getattr(left, name), getattr(right, name)) for name in FIELDS}
    fields |= {name: (left.targets[name], right.targets[name]) for name in left.targets}
    for name, (a, b) in fields.items():
        assert a.dtype == b.dtype, name
        np.testing.assert_array_equal(a, b, err_msg=name)


def take(stream, count):
    return list(itertools.islice(stream, count))


@pytest.fixture(scope="module")
def memory(toy_maps):
    tiles = {
        "train": ArrayTiles.from_contact_maps(toy_maps, 64, 16, 0.3, chromosomes=["A", "tiny"]),
        "val": ArrayTiles.from_contact_maps(toy_maps, 64, 16, 0.3, chromosomes=["B"]),
    }
    return open_source(tiles)


@pytest.fixture(scope="module")
def disk(toy_dataset):
    return open_source(toy_dataset[0])


@pytest.fixture(params=["memory", "disk"])
def source(request):
    return request.getfixturevalue(request.param)


def test_memory_and_disk_hold_the_same_tiles(memory, disk):
    assert memory.tile_shape == disk.tile_shape == (64, 64)
    assert memory.splits == disk.splits == ["train", "val"]
    for split in ("train", "val", "test"):
        assert memory.num_tiles(split) == disk.num_tiles(split)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"window": (32, 48), "flips": False},
        {"window": (64, 64)},
        {"batch_size": 500, "start_step": 9},
        {"mix": {"leaf": 3, "r*t": 1}},
    ],
)
def test_memory_and_disk_train_on_the_same_bits(memory, disk, changes):
    arguments = TRAIN | changes
    for left, right in zip(
        take(memory.train_stream(**arguments), 6), take(disk.train_stream(**arguments), 6), strict=True
    ):
        assert_same(left, right)
        assert left.counts.dtype == np.uint16


def test_memory_and_disk_evaluate_on_the_same_bits(memory, disk):
    arguments = {"batch_size": 7, "window": (32, 48), "seed": 1}
    left, right = list(memory.evaluation_stream(**arguments)), list(disk.evaluation_stream(**arguments))
    for a, b in zip(left, right, strict=True):
        assert_same(a, b)


def test_resuming_at_a_step_continues_the_stream(source):
    per_epoch = source.num_tiles() // TRAIN["batch_size"]
    whole = take(source.train_stream(**TRAIN), per_epoch + 4)
    for step in (1, per_epoch - 1, per_epoch + 1):
        for left, right in zip(
            whole[step : step + 3], take(source.train_stream(**TRAIN, start_step=step), 3), strict=True
        ):
            assert_same(left, right)


def test_hosts_together_load_the_global_batch(source):
    whole = take(source.train_stream(**TRAIN), 3)
    parts = [take(source.train_stream(**TRAIN, host_index=i, host_count=4), 3) for i in range(4)]
    for step, batch in enumerate(whole):
        for name in FIELDS:
            joined = np.concatenate([getattr(part[step], name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(batch, name), err_msg=name)


def test_evaluation_shows_every_tile_once(source, toy_maps):
    tiles = ArrayTiles.from_contact_maps(toy_maps, 64, 16, 0.3, chromosomes=["B"])
    batches = list(source.evaluation_stream(batch_size=7, window=(64, 64), seed=0))
    assert all(batch.counts.shape == (7, 64, 64) for batch in batches)
    real = np.concatenate([batch.counts[batch.mask == 1] for batch in batches])
    np.testing.assert_array_equal(real, tiles.counts)
    padding = sum((batch.mask == 0).sum() for batch in batches)
    assert padding == -len(tiles) % 7 > 0
    assert batches[-1].counts.any(axis=(1, 2)).all()  # padding is no empty image, whose log-scale is 0/0


def test_evaluation_crops_do_not_depend_on_the_batch_size(source):
    small = list(source.evaluation_stream(batch_size=5, window=(32, 32), seed=0))
    large = list(source.evaluation_stream(batch_size=9, window=(32, 32), seed=0))
    for name in ("counts", "diag"):
        joined = [
            np.concatenate([getattr(batch, name)[batch.mask == 1] for batch in batches])
            for batches in (small, large)
        ]
        np.testing.assert_array_equal(*joined)


def test_diagonals_fall_on_patch_boundaries_and_flips_keep_them():
    tiles = ArrayTiles.from_contact_maps({"eye": dense_to_map({"A": np.eye(200, dtype=int)})}, 96, 8, 0.001)
    assert (tiles.diag % 16 != 0).any()
    crossing = 0
    for window in ((32, 32), (32, 48)):
        stream = open_source(tiles).train_stream(
            batch_size=64, window=window, seed=0, flips=True, min_density=0.01, max_redraws=2
        )
        for batch in take(stream, 4):
            for counts, diag in zip(batch.counts, batch.diag, strict=True):
                rows, cols = np.nonzero(counts)
                assert set(cols - rows) <= {16 * diag}
                crossing += rows.size > 0
                assert (rows.size > 0) == (-window[0] < 16 * diag < window[1])
    assert crossing > 100


def test_crops_are_dense_where_the_tile_allows():
    counts = np.zeros((128, 128), int)
    counts[:64, :64] = 5  # a crop of 32 x 32 is mostly empty or mostly full
    tiles = ArrayTiles.from_contact_maps({"corner": dense_to_map({"A": counts})}, 128, 128, 0.05)
    arguments = {"batch_size": 64, "window": (32, 32), "seed": 0, "min_density": 0.5}

    def filled(max_redraws):
        (batch,) = take(open_source(tiles).train_stream(**arguments, max_redraws=max_redraws), 1)
        return (batch.counts != 0).mean(axis=(1, 2))

    assert (filled(0) < 0.5).mean() > 0.5
    assert (filled(30) >= 0.5).mean() > 0.95


def test_a_hopeless_tile_gives_its_densest_candidate():
    counts = np.zeros((128, 128), int)
    np.fill_diagonal(counts, 1)
    tiles = ArrayTiles.from_contact_maps({"thin": dense_to_map({"A": counts})}, 128, 128, 0.005)
    arguments = {"batch_size": 64, "window": (32, 32), "seed": 0, "min_density": 0.9, "max_redraws": 20}
    (batch,) = take(open_source(tiles).train_stream(**arguments), 1)  # the original would never return
    assert ((batch.counts != 0).sum(axis=(1, 2)) == 32).mean() > 0.9  # the diagonal from corner to corner


def test_counts_and_totals_come_from_the_map(toy_maps, source):
    (batch,) = take(source.train_stream(**(TRAIN | {"window": (64, 64), "flips": False})), 1)
    totals = {np.float32(contact_map.total_count) for contact_map in toy_maps.values()}
    assert set(batch.total_count) <= totals and len(totals) == 2
    np.testing.assert_array_equal(batch.matrix_count, batch.counts.sum(axis=(1, 2)))


def test_a_map_of_unknown_depth_counts_as_the_original_counts_it():
    empty = dense_to_map({"A": random_matrix(80, seed=0)}, total_count=lambda: 0.0)
    tiles = ArrayTiles.from_contact_maps({"empty": empty}, 64, 16)
    assert set(tiles.total_count) == {np.float32(DEFAULT_TOTAL_COUNT)}


@pytest.mark.parametrize("value", [0.25, 70000.0])
def test_counts_beyond_uint16_arrive_unclipped(tmp_path, value):
    matrix = random_matrix(80, seed=0).astype(float)
    matrix[10, 12] = matrix[12, 10] = value
    maps = {"odd": dense_to_map({"A": matrix})}
    builder.build_tiles(maps, tmp_path / "tiles", tile_size=64, stride=64)
    source = open_source(tmp_path / "tiles")
    (batch,) = take(source.train_stream(batch_size=1, window=(64, 64), seed=0), 1)
    assert batch.counts.dtype == np.float32
    np.testing.assert_array_equal(batch.counts[0], matrix[:64, :64].astype(np.float32))


def test_tiles_far_from_the_diagonal_say_so(memory):
    batches = take(memory.train_stream(**(TRAIN | {"window": (32, 32)})), 20)
    diag = np.concatenate([batch.diag for batch in batches])
    assert ((np.abs(diag) >= 2) & (diag != NO_DIAGONAL)).any() and (np.abs(diag) < 2).any()


def test_asking_for_what_is_not_there(source):
    with pytest.raises(InputError, match="no split 'test': choose from train, val"):
        source.evaluation_stream("test", batch_size=2, window=(32, 32), seed=0)
    with pytest.raises(InputError, match="80 x 80 bins but the tiles have 64 x 64"):
        source.train_stream(**(TRAIN | {"window": (80, 80)}))


def test_tiles_too_empty_are_refused():
    maps = {"void": dense_to_map({"A": np.eye(200, dtype=int)})}
    with pytest.raises(InputError, match="No tile of 64 bins"):
        ArrayTiles.from_contact_maps(maps, 64, 32, min_density=0.5)


def test_validating_again_and_again_opens_no_more_files(toy_dataset):
    source = open_source(toy_dataset[0])
    opened = []
    for _ in range(5):
        for split in ("train", "val"):
            assert len(list(source.evaluation_stream(split, batch_size=20, window=(64, 64), seed=0))) > 1
        opened.append(len(os.listdir("/dev/fd")))
    assert len(set(opened)) == 1, opened


@pytest.mark.parametrize("library", ["tensorflow", "tensorflow_datasets", "array_record"])
def test_a_missing_library_is_named_at_once(toy_dataset, toy_maps, tmp_path, monkeypatch, library):
    monkeypatch.setitem(sys.modules, library, None)  # importing it now fails
    monkeypatch.setitem(sys.modules, library + ".python", None)
    source = open_source(toy_dataset[0])
    for stream in (source.train_stream, source.evaluation_stream):
        with pytest.raises(InputError, match=rf"needs {library}.* pip install 'hicfm_jax\[data\]'"):
            stream("train", batch_size=2, window=(32, 32), seed=0)
    if library != "tensorflow":  # only streams need it
        with pytest.raises(InputError, match=f"needs {library}"):
            builder.build_tiles(toy_maps, tmp_path / "tiles", tile_size=64, stride=32)
        assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "changes", [{"split": "test"}, {"window": (20, 20)}, {"batch_size": 0}, {"host_count": 3}]
)
def test_streams_check_when_they_are_made(source, changes):
    for stream in (source.train_stream, source.evaluation_stream):
        with pytest.raises(InputError):
            stream(**({"split": "train", "batch_size": 8, "window": (32, 32), "seed": 0} | changes))


@pytest.mark.slow  # a program that imports TensorFlow
def test_memory_needs_no_tensorflow_and_disk_leaves_cleanly(toy_dataset):
    program = textwrap.dedent(f"""
        import sys
        from hicfm_jax.tiles.stream import memory, source
        assert "tensorflow" not in sys.modules
        tiles = source.open_source({str(toy_dataset[0])!r})
        stream = tiles.train_stream(batch_size=8, window=(32, 32), seed=0)
        next(stream)  # its threads are still at work when the program ends
    """)
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
    assert "terminate" not in done.stderr and "Traceback" not in done.stderr


@pytest.fixture(scope="module")
def wide_tiles(toy_maps):
    """Tiles of 64 x 96 bins with a map and a track each, mixed 3 to 1."""
    tiles = ArrayTiles.from_contact_maps(toy_maps, (64, 96), 16, 0.2, chromosomes=["A"])
    return with_targets(tiles, "map", "track")


@pytest.fixture(scope="module")
def wide_dataset(wide_tiles, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiles") / "wide"
    return store(folder, {"train": wide_tiles}, mix={"leaf": 3, "root": 1})


@pytest.mark.parametrize("window", [(32, 48), (64, 96), (64, 32)])
def test_rectangles_and_targets_from_memory_and_disk_are_the_same_bits(wide_tiles, wide_dataset, window):
    disk, memory = open_source(wide_dataset), open_source(wide_tiles)
    arguments = TRAIN | {"window": window}
    left = take(disk.train_stream(**arguments), 12)
    right = take(memory.train_stream(**arguments, mix={"leaf": 3, "root": 1}), 12)
    for a, b in zip(left, right, strict=True):
        assert a.counts.shape == a.targets["map"].shape == (8, *window)
        assert a.targets["track"].shape == (8, window[0])
        assert_same(a, b)


@pytest.mark.parametrize("window", [(32, 48), (48, 48)])
def test_targets_are_cut_and_turned_with_the_counts(window):
    # Every target says where it is from, so that it can be found again after the crop.
    tiles = ArrayTiles.from_contact_maps({"x": dense_to_map({"A": random_matrix(200, seed=0)})}, 96, 32, 0.0)
    rows = np.broadcast_to(np.arange(96, dtype=np.float32), (len(tiles), 96))
    where = 1 + tiles.counts + 1000 * rows[:, :, None]
    tiles = dataclasses.replace(tiles, targets={"map": where.astype(np.float32), "track": rows})
    arguments = TRAIN | {"window": window, "min_density": 0.9}
    reversed_ones = 0  # a square with a track is not transposed
    for batch in take(open_source(tiles).train_stream(**arguments), 8):
        from_rows, counts = np.divmod(batch.targets["map"] - 1, 1000)
        np.testing.assert_array_equal(counts, batch.counts)
        np.testing.assert_array_equal(from_rows, np.repeat(batch.targets["track"][:, :, None], 48, axis=2))
        steps = np.diff(batch.targets["track"], axis=1)
        assert (abs(steps) == 1).all()
        reversed_ones += (steps[:, 0] < 0).sum()
    assert 16 < reversed_ones < 48


def test_an_embedding_is_of_the_whole_tile(toy_maps):
    tiles = ArrayTiles.from_contact_maps(toy_maps, 64, 16, 0.3, chromosomes=["A"])
    source = open_source(with_targets(tiles, "embedding"))
    arguments = TRAIN | {"window": (64, 64)}
    (batch,) = take(source.train_stream(**arguments), 1)
    known = dict(zip(tiles.matrix_count.tolist(), source.tiles("train").targets["embedding"], strict=True))
    for count, embedding in zip(batch.matrix_count.tolist(), batch.targets["embedding"], strict=True):
        np.testing.assert_array_equal(embedding, known[count])
    for stream in (source.train_stream, source.evaluation_stream):
        with pytest.raises(InputError, match="embeddings of whole tiles, 64 x 64 .* 32 x 32: set model"):
            stream(**(TRAIN | {"split": "train"}))


def test_the_mix_of_a_dataset_holds_unless_another_is_given(wide_dataset):
    source = open_source(wide_dataset)
    totals = source.tiles("train").assay_numbers()  # 0 is leaf, in the order of the dataset
    arguments = TRAIN | {"batch_size": 20, "window": (64, 96)}
    steps = 3 * (len(totals) // 20)

    def leaf_share(**mix):
        shown = [batch.total_count for batch in take(source.train_stream(**arguments, **mix), steps)]
        leaf = next(source.evaluation_stream("train", batch_size=1, window=(64, 96), seed=0)).total_count[0]
        return (np.concatenate(shown) == leaf).mean()

    assert leaf_share() == pytest.approx(0.75, abs=0.02)
    assert leaf_share(mix={"leaf": 1, "root": 4}) == pytest.approx(0.2, abs=0.02)
    assert leaf_share(mix={}) == pytest.approx((totals == 0).mean(), abs=0.05)
    with pytest.raises(InputError, match="'root' matches no key"):
        source.train_stream(**arguments, mix={"leaf": 1})


def test_a_mixture_resumes_at_any_step(wide_dataset):
    source = open_source(wide_dataset)
    arguments = TRAIN | {"window": (64, 96)}
    whole = take(source.train_stream(**arguments), 30)
    for step in (1, 11, 27):
        for left, right in zip(
            whole[step:], take(source.train_stream(**arguments, start_step=step), 3), strict=False
        ):
            assert_same(left, right)


def test_a_tile_that_cannot_be_decoded_is_reported(wide_tiles, tmp_path, monkeypatch):
    real = zlib.compress
    monkeypatch.setattr(zlib, "compress", lambda content, *_: real(content)[:-20])
    folder = store(tmp_path / "cut", {"train": wide_tiles}, mix={})
    monkeypatch.undo()
    with pytest.raises(InputError, match="A tile of split 'train' of .*cut is damaged"):
        next(open_source(folder).train_stream(**(TRAIN | {"window": (32, 48)})))


def test_inflating_with_and_without_the_faster_library_is_the_same(wide_dataset, monkeypatch):
    arguments = TRAIN | {"window": (32, 48)}
    fast = take(open_source(wide_dataset).train_stream(**arguments), 2)
    monkeypatch.setattr(disk_module, "zlib", zlib)
    for left, right in zip(fast, take(open_source(wide_dataset).train_stream(**arguments), 2), strict=True):
        assert_same(left, right)
