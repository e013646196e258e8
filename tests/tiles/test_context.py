"""Covariates of windows: cut, flipped, stored and downsampled with them."""

import itertools
import json
import shutil

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, simulate, thin
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import builder
from hicfm_jax.tiles.build.splits import HeldOut
from hicfm_jax.tiles.stream import context
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.shallow_windows import Thinning, thin_context
from hicfm_jax.tiles.stream.source import MemoryTiles, open_source
from hicfm_jax.types import NO_DIAGONAL
from tests.tiles.toy_maps import random_matrix

WINDOW = (32, 32)
SETTINGS = dict(tile_size=64, stride=16, min_density=0.3, held_out=HeldOut(val_chromosomes=["B"]))


def expected_of(of_window):
    """Expected contacts `[H, W]` that a context (without the batch's axis) stands for."""
    rows, columns = of_window["row_bias"], of_window["column_bias"]
    offset = np.arange(len(columns)) - np.arange(len(rows))[:, None] + len(rows) - 1
    return of_window["decay"][offset] * np.outer(rows, columns)


def nth(batch, i):
    return {name: values[i] for name, values in batch.context.items()}


@pytest.mark.parametrize(("reverse", "transpose"), list(itertools.product((False, True), repeat=2)))
@pytest.mark.parametrize("start", [(0, 0), (10, 60), (70, 20), (90, 80)])
def test_flips_turn_the_context_as_they_turn_the_window(reverse, transpose, start):
    matrix = random_matrix(100, 3)
    fit = find_expected(scipy.sparse.csr_array(np.triu(matrix)))
    out = context.no_context(1, WINDOW)
    context.place_context(out, 0, fit, start, WINDOW, np.array([reverse, transpose]))
    whole = np.zeros((150, 150))
    whole[:100, :100] = fit.dense()
    true = whole[start[0] : start[0] + 32, start[1] : start[1] + 32]
    true = np.flip(true) if reverse else true
    true = true.T if transpose else true
    np.testing.assert_allclose(expected_of({k: v[0] for k, v in out.items()}), true, rtol=1e-5, atol=1e-6)


def test_batches_from_disk_and_memory_carry_the_same_context(toy_maps, toy_dataset, tmp_path):
    folder, manifest = toy_dataset
    assert manifest["context"] is True
    memory = {
        split: ArrayTiles.from_contact_maps(toy_maps, 64, 16, min_density=0.3, chromosomes=[chromosome])
        for split, chromosome in (("train", "A"), ("val", "B"))
    }
    stored = tmp_path / "tiles.npz"
    MemoryTiles(memory).save(stored)
    draw = dict(batch_size=6, window=WINDOW, seed=1, flips=True)
    streams = [open_source(place).train_stream("train", **draw) for place in (folder, memory, stored)]
    for _ in range(3):
        one, *others = (next(stream) for stream in streams)
        assert set(one.context) == set(context.no_context(1, WINDOW))
        for other in others:
            for name, values in one.context.items():
                np.testing.assert_array_equal(values, other.context[name])


def test_sources_say_which_chromosomes_and_how_many_contacts(toy_maps, toy_dataset):
    source = open_source(toy_dataset[0])
    assert source.chromosomes("train") == {"leaf": ["A"], "root": ["A"]}
    assert source.chromosomes("val") == {"leaf": ["B"], "root": ["B"]}
    assert source.chromosomes("test") == {}
    for assay, total in source.total_counts("train").items():
        assert total == pytest.approx(toy_maps[assay].total_count)


TRANS = dict(tile_size=64, stride=16, min_density=0.0, trans=True)


@pytest.fixture(scope="module")
def trans(tmp_path_factory):
    """A map of three chromosomes, their biases, and a dataset of its pairs."""
    rng, sizes = np.random.default_rng(4), {"A": 80, "B": 64, "C": 10}
    bias = {name: rng.gamma(8, 1 / 8, size) for name, size in sizes.items()}
    bias["A"][20:23] = 0
    matrices = {(name, name): scipy.sparse.csr_array(np.eye(size, dtype=int)) for name, size in sizes.items()}
    for one, two in itertools.combinations(sizes, 2):
        matrices[one, two] = scipy.sparse.csr_array(rng.poisson(9 * np.outer(bias[one], bias[two])))
    contact_map = ContactMap({name: 1000 * size for name, size in sizes.items()}, 1000, matrices, "leaf")
    folder = tmp_path_factory.mktemp("trans") / "t"
    builder.build_tiles({"leaf": contact_map}, folder, **TRANS)
    return contact_map, bias, folder


def test_pairs_of_chromosomes_have_the_product_of_their_biases(trans):
    contact_map, bias, folder = trans
    fit = open_source(folder).tiles("train")
    fit.open()
    (pair,) = {
        id(tile.expected): tile.expected for tile in fit.read(np.arange(len(fit))) if tile.diag == NO_DIAGONAL
    }.values()
    counts = contact_map.matrix("A", "B").toarray()
    assert pair.dense().sum() == pytest.approx(counts.sum())
    for found, true in ((pair.row_bias, bias["A"]), (pair.column_bias, bias["B"])):
        assert (found[true == 0] == 0).all() and found[found > 0].mean() == pytest.approx(1)
        assert np.corrcoef(found, true)[0, 1] > 0.97
    # The coverage is by all chromosomes, also by those that are too short for a tile.
    np.testing.assert_array_equal(pair.row_coverage, counts.sum(1) + contact_map.matrix("A", "C").sum(1))


def test_windows_of_pairs_carry_a_context_from_disk_and_memory(trans, tmp_path):
    contact_map, _, folder = trans
    memory = MemoryTiles(
        {"train": ArrayTiles.from_contact_maps({"leaf": contact_map}, 64, 16, 0.0, trans=True)}
    )
    memory.save(tmp_path / "tiles.npz")
    draw = dict(batch_size=8, window=WINDOW, seed=0, flips=True)
    source = open_source(folder)
    assert source.chromosomes("train") == {"leaf": ["A", "B"]} and source.maps()["leaf"]["trans"]
    stored = open_source(tmp_path / "tiles.npz")
    batches = [next(each.train_stream(**draw)) for each in (source, memory, stored)]
    pairs = np.flatnonzero(batches[0].diag == NO_DIAGONAL)
    assert len(pairs) > 1
    for other in batches[1:]:
        for name, values in batches[0].context.items():
            np.testing.assert_array_equal(values, other.context[name])
    for i in pairs:
        expected, counts = expected_of(nth(batches[0], i)), batches[0].counts[i]
        assert expected.sum() == pytest.approx(counts.sum(), rel=0.15)
        assert np.corrcoef(expected.sum(1), counts.sum(1))[0, 1] > 0.9


def test_splits_of_the_reads_of_pairs_have_the_context_of_a_shallower_map(trans):
    stream = open_source(trans[2]).train_stream(batch_size=8, window=WINDOW, seed=0)
    whole = next(stream)
    stream = open_source(trans[2]).train_stream(batch_size=8, window=WINDOW, seed=0)
    kept = next(Thinning(0.25, 0.25, 7, split=True).train(stream))
    np.testing.assert_array_equal(kept.counts + kept.targets["deep"], whole.counts)
    for i in np.flatnonzero(whole.diag == NO_DIAGONAL):
        deep, shallow = nth(whole, i), nth(kept, i)
        np.testing.assert_allclose(shallow["decay"], deep["decay"] * 0.25)
        seen = shallow["row_coverage"] >= kept.counts[i].sum(1)
        assert seen.all()
        assert expected_of(shallow).sum() == pytest.approx(kept.counts[i].sum(), rel=0.2)


def test_trans_tiles_made_before_they_had_a_context_still_open(trans, tmp_path):
    contact_map, _, folder = trans
    old = tmp_path / "old"
    shutil.copytree(folder, old)
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["trans_context"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    source = open_source(old)
    assert not source.tiles("train").has_context
    assert next(source.train_stream("train", batch_size=2, window=WINDOW, seed=0)).context == {}
    with pytest.raises(InputError, match="made with another trans_context: remove it"):
        builder.build_tiles({"leaf": contact_map}, old, **TRANS)


def test_tiles_made_before_there_was_a_context_still_open(toy_maps, toy_dataset, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(toy_dataset[0], old)
    (old / context.FILE).unlink()
    with pytest.raises(InputError, match="context.npz.*make it again"):
        next(open_source(old).train_stream("train", batch_size=2, window=WINDOW, seed=0))
    manifest = json.loads((old / "manifest.json").read_text())
    del manifest["context"]
    (old / "manifest.json").write_text(json.dumps(manifest))
    assert next(open_source(old).train_stream("train", batch_size=2, window=WINDOW, seed=0)).context == {}
    # "Make it again" has to work: the same command does not find them made already.
    with pytest.raises(InputError, match="earlier version.* remove it"):
        builder.build_tiles(toy_maps, old, **SETTINGS)


@pytest.mark.parametrize("damage", [b"", b"PK nothing", None])
def test_a_damaged_file_is_one_sentence(toy_dataset, tmp_path, damage):
    whole = (toy_dataset[0] / context.FILE).read_bytes()
    (tmp_path / context.FILE).write_bytes(whole[: len(whole) // 2] if damage is None else damage)
    with pytest.raises(InputError, match="is damaged"):
        context.read_context(tmp_path, [("leaf", "A")])
    (tmp_path / context.FILE).write_bytes(whole)
    with pytest.raises(InputError, match="no leaf Z"):
        context.read_context(tmp_path, [("leaf", "Z")])


@pytest.fixture(scope="module")
def chromosome():
    """A deep map, and tiles of a chromosome of it."""
    deep = simulate(contacts=20e6, resolution=100_000, seed=2)
    tiles = ArrayTiles.from_contact_maps({"deep": deep}, 128, 32, chromosomes=["Chr1"])
    return deep, tiles


def thinned_batch(tiles, share, size=16):
    stream = open_source(tiles).train_stream("train", batch_size=size, window=(64, 64), seed=5)
    return next(Thinning(share, share, 7).train(stream))


def test_a_thinned_context_is_like_that_of_the_thinned_map(chromosome):
    """Bias and decay as fitted to a really thinned map of the same depth, but for its own noise.

    Which is somewhat less: in the fit, a contact too many between two bins is shared by both.
    """
    deep, tiles = chromosome
    share = 1 / 64
    really = find_expected(thin(deep, share, seed=3).matrix("Chr1"))
    batch = thinned_batch(tiles, share)
    ours, theirs, noise = [], [], []
    fit = find_expected(deep.matrix("Chr1"))
    seen = fit.bias > 0
    spread = np.std(really.bias[seen] / fit.bias[seen])
    bin_of = {float(np.float32(value)): i for i, value in enumerate(fit.coverage)}
    before = next(open_source(tiles).train_stream("train", batch_size=16, window=(64, 64), seed=5))
    rows = (each.context[name].ravel() for each, name in ((before, "row_coverage"), (batch, "row_bias")))
    for coverage, bias in zip(*rows, strict=True):
        place = bin_of.get(float(coverage))
        if place is not None and seen[place]:
            ours.append(bias)
            theirs.append(really.bias[place])
            noise.append(bias / fit.bias[place])
    assert np.corrcoef(ours, theirs)[0, 1] > 0.9
    assert np.mean(ours) == pytest.approx(np.mean(theirs), rel=0.03)
    assert spread < np.std(noise) < 1.5 * spread
    np.testing.assert_allclose(batch.context["decay"], before.context["decay"] * share, rtol=1e-5)


@pytest.mark.parametrize("diag", range(-6, 7))
@pytest.mark.parametrize("shape", [(64, 64), (32, 64), (64, 48)])
def test_nothing_changes_where_all_contacts_are_kept(diag, shape):
    """Wherever the diagonal enters, and over the ends of the chromosome."""
    matrix = random_matrix(100, 3)
    fit = find_expected(scipy.sparse.csr_array(np.triu(matrix)))
    padded = np.zeros((400, 400), np.int64)
    padded[150:250, 150:250] = matrix
    for row in (-20, 0, 30, 70):
        start = row, row - 16 * diag
        window = padded[150 + start[0] :, 150 + start[1] :][: shape[0], : shape[1]]
        known = fit.window(*start, shape)
        words = np.random.Philox(1)
        found = thin_context(known, window, window, diag, 1.0, words)
        for name, values in known.items():
            np.testing.assert_allclose(found[name], values, rtol=1e-6, err_msg=f"{name} at {start}")


def test_a_bin_in_rows_and_columns_has_one_visibility(chromosome):
    batch = thinned_batch(chromosome[1], 1 / 16)
    on_diagonal = np.flatnonzero(batch.diag == 0)
    assert len(on_diagonal)
    for i in on_diagonal:
        np.testing.assert_array_equal(batch.context["row_bias"][i], batch.context["column_bias"][i])


def test_thinned_contexts_repeat_and_differ_from_step_to_step(chromosome):
    def stream(start):
        batches = open_source(chromosome[1]).train_stream(
            "train", batch_size=4, window=(64, 64), seed=5, start_step=start
        )
        return Thinning(1 / 64, 1 / 8, 7).train(batches, start)

    first = list(itertools.islice(stream(0), 3))
    again = next(stream(2))
    for name, values in again.context.items():
        np.testing.assert_array_equal(values, first[2].context[name])
        assert not np.array_equal(values, first[1].context[name])


@pytest.mark.slow  # builds real tiles twice
def test_an_interrupted_build_ends_with_the_same_context(toy_maps, toy_dataset, tmp_path):
    class Stopped(Exception):
        pass

    def stop(job, pieces, progress):
        raise Stopped

    with pytest.raises(Stopped):
        builder.build_tiles(toy_maps, tmp_path / "t", runner=stop, **SETTINGS)
    builder.build_tiles(toy_maps, tmp_path / "t", **SETTINGS)
    assert (tmp_path / "t" / context.FILE).read_bytes() == (toy_dataset[0] / context.FILE).read_bytes()
