"""Downsampled windows: kept fraction, mirror symmetry, repeatability."""

import itertools
import pickle

import numpy as np
import pytest

from hicfm_jax.batch import Batch
from hicfm_jax.config import base_config
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build import builder
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.shallow_windows import Thinning, binomial, log_uniform, thin_window
from hicfm_jax.tiles.stream.source import open_source
from hicfm_jax.tiles.upstream_folder import import_folder
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.types import NO_DIAGONAL
from tests.tiles.toy_maps import dense_to_map, random_matrix

SHARE = 1 / 16


def _window(rng, diag, shape=(64, 96), mean=40):
    """A window of a symmetric map whose diagonal enters at (0, 16 * diag)."""
    size = 400
    upper = np.triu(rng.poisson(mean, (size, size)))
    whole = (upper + np.triu(upper, 1).T).astype(np.uint16)
    row, column = 150, 150 - 16 * diag
    return whole[row : row + shape[0], column : column + shape[1]]


def made_up_batches(count, size=4, dtype=np.uint16, diag=0):
    rng = np.random.default_rng(0)
    for _ in range(count):
        counts = np.stack([_window(rng, diag) for _ in range(size)]).astype(dtype)
        yield Batch(
            counts=counts,
            total_count=np.full(size, 1e6, np.float32),
            diag=np.full(size, diag, np.int32),
            matrix_count=counts.sum((1, 2)).astype(np.float32),
            mask=np.ones(size, np.float32),
        )


def _words(seed=0):
    return np.random.SFC64(seed)


@pytest.mark.parametrize("diag", [-3, -1, 0, 1, 4])
def test_both_triangles_show_the_same_contacts(diag):
    counts = _window(np.random.default_rng(1), diag)
    kept = thin_window(counts, diag, SHARE, _words())
    offset, pairs = 16 * diag, 0
    for row, column in itertools.product(range(64), range(96)):
        mirror = column - offset, row + offset
        if 0 <= mirror[0] < 64 and 0 <= mirror[1] < 96:
            assert kept[row, column] == kept[mirror]
            pairs += 1
    assert pairs >= 256


def _symmetric(counts: np.ndarray, diag: int) -> bool:
    """Whether all pairs of mirrored pixels that the window contains are equal."""
    rows, columns = np.indices(counts.shape)
    mirror_rows, mirror_columns = columns - 16 * diag, rows + 16 * diag
    inside = (0 <= mirror_rows) & (mirror_rows < len(counts))
    inside &= (0 <= mirror_columns) & (mirror_columns < counts.shape[1])
    return (counts[inside] == counts[mirror_rows[inside], mirror_columns[inside]]).all()


@pytest.mark.parametrize("tile_size", [72, (72, 80), (64, 80)])
def test_windows_little_smaller_than_tiles_off_the_patch_grid_stay_symmetric(tile_size):
    maps = {"leaf": dense_to_map({"A": random_matrix(220, 0, mean=400)})}
    source = open_source(ArrayTiles.from_contact_maps(maps, tile_size, 40, 0.0))
    draw = dict(batch_size=16, window=(64, 64), seed=0, keep_diagonal=True)
    crossing = 0
    for stream in (source.train_stream(**draw, flips=True), source.evaluation_stream("train", **draw)):
        for batch in itertools.islice(Thinning(SHARE, 1 / 4, seed=1).train(stream), 4):
            for deep, kept, diag in zip(batch.targets["deep"], batch.counts, batch.diag, strict=True):
                assert _symmetric(deep, diag) and _symmetric(kept, diag)
                crossing += abs(diag) < 4
    assert crossing > 30


def test_tiles_that_leave_no_room_for_the_diagonal_are_refused(tmp_path):
    maps = {"leaf": dense_to_map({"A": random_matrix(220, 0)})}
    builder.build_tiles(maps, tmp_path / "tiles", tile_size=64, stride=40, min_density=0.0)
    draw = dict(batch_size=4, window=(64, 64), seed=0)
    message = r"tiles, cut with stride 40: .* 64 x 64 .*data.thin.* model.input_size to 48,48 or less"
    for stream in (
        open_source(tmp_path / "tiles").train_stream,
        open_source(tmp_path / "tiles").evaluation_stream,
    ):
        with pytest.raises(InputError, match=message):
            stream("train", **draw, keep_diagonal=True)
        next(stream("train", **draw))  # pretraining takes them, without their diagonal


def test_training_with_thinned_windows_asks_for_the_diagonal():
    """`data.thin` sets `keep_diagonal`; the same tiles train without it."""
    tiles = ArrayTiles.from_contact_maps({"leaf": dense_to_map({"A": random_matrix(220, 0)})}, 64, 40, 0.0)
    config = base_config()
    config.model.input_size, config.train.global_batch_size, config.train.accum_steps = (64, 64), 4, 1
    source = open_source({"train": tiles, "val": tiles})
    next(Inputs(config, source).train(0))
    config.data.thin = (0.1, 0.5)
    inputs = Inputs(config, source)
    for stream in (lambda: inputs.train(0), inputs.validation):
        with pytest.raises(InputError, match="thin the two triangles separately"):
            next(stream())


def test_an_imported_tile_that_leaves_no_room_is_refused(tmp_path):
    content = {"input": random_matrix(64, 0).astype(float), "diag": 5}
    (tmp_path / "folder" / "leaf").mkdir(parents=True)
    (tmp_path / "folder" / "train.txt").write_text("leaf")
    (tmp_path / "folder" / "leaf" / "1.pkl").write_bytes(pickle.dumps(content))
    import_folder(tmp_path / "folder", tmp_path / "tiles")
    stream = open_source(tmp_path / "tiles").train_stream
    with pytest.raises(InputError, match="Imported tiles: .* 64 x 64 .*model.input_size to 48,48"):
        next(stream(batch_size=1, window=(64, 64), seed=0, keep_diagonal=True))
    assert next(stream(batch_size=1, window=(48, 48), seed=0, keep_diagonal=True)).diag != NO_DIAGONAL


def test_pixels_of_a_trans_window_are_drawn_by_themselves():
    counts = np.full((64, 64), 30, np.uint16)
    kept = thin_window(counts, NO_DIAGONAL, SHARE, _words())
    assert np.mean(kept == kept.T) < 0.4


@pytest.mark.parametrize("share", [1 / 16, 0.25, 0.1, 3 / 8])
@pytest.mark.parametrize("reads", [1, 7, 64, 200, 300, 40_000])
def test_each_read_is_kept_by_itself(share, reads):
    """Mean and variance of a binomial, on both sides of every change of method."""
    pixels = 20_000
    share = round(share * 2**16) / 2**16
    kept = binomial(np.full(pixels, reads), share, _words(reads))
    variance = reads * share * (1 - share)
    assert kept.min() >= 0 and kept.max() <= reads
    assert kept.mean() == pytest.approx(reads * share, abs=5 * (variance / pixels) ** 0.5)
    assert kept.var() == pytest.approx(variance, rel=0.06)


def test_nothing_is_lost_at_one_and_nothing_comes_from_nothing():
    counts = _window(np.random.default_rng(2), 0)
    np.testing.assert_array_equal(thin_window(counts, 0, 1.0, _words()), counts)
    assert not thin_window(np.zeros((32, 32), np.uint16), 0, SHARE, _words()).any()


def test_a_batch_carries_input_target_and_share():
    deep = next(made_up_batches(1))
    batch = next(Thinning(SHARE, SHARE, seed=3).train(made_up_batches(1)))
    np.testing.assert_array_equal(batch.targets["deep"], deep.counts)
    np.testing.assert_array_equal(batch.targets["kept"], np.float32(SHARE))
    np.testing.assert_allclose(batch.total_count, 1e6 * SHARE)
    assert batch.counts.dtype == deep.counts.dtype and (batch.counts <= deep.counts).all()
    assert batch.counts.sum() == pytest.approx(deep.counts.sum() * SHARE, rel=0.01)


@pytest.mark.parametrize("diag", [-1, 0, 2])
def test_a_split_window_is_two_independent_experiments(diag):
    """Together they are the window, both symmetric, and noise of one says nothing about the other's."""
    whole = next(made_up_batches(1, diag=diag))
    batch = next(Thinning(0.2, 0.8, seed=3, split=True).train(made_up_batches(1, diag=diag)))
    rest, odds = batch.targets["deep"], batch.targets["kept"]
    np.testing.assert_array_equal(batch.counts + rest, whole.counts)
    assert rest.dtype == whole.counts.dtype
    fraction = batch.counts.sum((1, 2)) / whole.counts.sum((1, 2))
    np.testing.assert_allclose(odds, fraction / (1 - fraction), rtol=0.05)
    np.testing.assert_allclose(batch.total_count, 1e6 * odds / (1 + odds), rtol=1e-5)
    assert all(_symmetric(part, diag) for counts in (batch.counts, rest) for part in counts)
    # Poisson counts of mean 40: given the mean, the parts do not correlate; those of one window do.
    share = (odds / (1 + odds))[:, None, None]
    kept, left = batch.counts - 40 * share, rest - 40 * (1 - share)
    assert abs(np.corrcoef(kept.ravel(), left.ravel())[0, 1]) < 0.03
    assert np.corrcoef(kept.ravel(), (kept + left).ravel())[0, 1] > 0.3


def test_a_split_step_draws_the_same_wherever_the_run_started():
    thinning = Thinning(0.2, 0.8, seed=3, split=True)
    straight = list(thinning.train(made_up_batches(3)))[2]
    resumed = next(thinning.train(itertools.islice(made_up_batches(3), 2, None), start_step=2))
    for name in ("deep", "kept"):
        np.testing.assert_array_equal(resumed.targets[name], straight.targets[name])
    np.testing.assert_array_equal(resumed.counts, straight.counts)


def test_a_step_draws_the_same_wherever_the_run_started_and_anew_each_time():
    thinning = Thinning(1 / 64, 1 / 4, seed=3)
    straight = list(thinning.train(made_up_batches(5)))
    resumed = list(thinning.train(itertools.islice(made_up_batches(5), 3, None), start_step=3))
    for a, b in zip(straight[3:], resumed, strict=True):
        np.testing.assert_array_equal(a.counts, b.counts)
        np.testing.assert_array_equal(a.targets["kept"], b.targets["kept"])
    again = next(thinning.train(made_up_batches(1), start_step=1))
    assert (again.counts != straight[0].counts).any()
    other = next(Thinning(1 / 64, 1 / 4, seed=4).train(made_up_batches(1)))
    assert (other.counts != straight[0].counts).any()


def test_hosts_together_draw_the_global_batch():
    thinning = Thinning(SHARE, 0.5, seed=1)
    whole = next(thinning.train(made_up_batches(1)))

    def part(host):
        share = slice(2 * host, 2 * host + 2)
        for batch in made_up_batches(1):
            fields = ("counts", "total_count", "diag", "matrix_count", "mask")
            yield batch.replace(**{name: getattr(batch, name)[share] for name in fields})

    for host in range(2):
        mine = next(thinning.train(part(host), first=2 * host))
        np.testing.assert_array_equal(mine.counts, whole.counts[2 * host : 2 * host + 2])


def test_a_tile_of_the_evaluation_is_drawn_alike_in_every_batch_size():
    thinning = Thinning(SHARE, 0.5, seed=1)
    large = next(thinning.evaluation(made_up_batches(1, size=4), batch_size=4)).counts
    rng = np.random.default_rng(0)
    windows = [_window(rng, 0) for _ in range(4)]
    ones = (
        Batch(w[None], np.ones(1, np.float32), np.zeros(1, np.int32), np.ones(1), np.ones(1)) for w in windows
    )
    small = [batch.counts[0] for batch in thinning.evaluation(ones, batch_size=1)]
    np.testing.assert_array_equal(np.stack(small), large)


def test_replicates_have_one_share_and_their_own_reads():
    batch = next(Thinning(0.25, 0.5, seed=1, replicate=True).train(made_up_batches(1)))
    a, b = batch.counts.astype(float), batch.targets["replicate"].astype(float)
    assert (a != b).any()
    np.testing.assert_allclose(a.sum((1, 2)), b.sum((1, 2)), rtol=0.02)
    # Given the map, draws are independent: what deviates in one says nothing about the other.
    expected = batch.targets["deep"] * batch.targets["kept"][:, None, None]
    assert abs(np.corrcoef((a - expected).ravel(), (b - expected).ravel())[0, 1]) < 0.03


def test_shares_are_spread_evenly_over_the_logarithm():
    words = _words(5).random_raw(4000)
    shares = np.array([log_uniform(1 / 64, 1 / 4, int(word)) for word in words])
    assert shares.min() >= 1 / 64 and shares.max() <= 1 / 4
    assert np.log2(shares).mean() == pytest.approx(-4, abs=0.06)
    assert np.log2(shares).std() == pytest.approx(4 / 12**0.5, abs=0.06)
    np.testing.assert_array_equal(shares * 2**16, np.round(shares * 2**16))


def test_counts_that_are_not_whole_are_refused():
    balanced = (batch.replace(counts=batch.counts * 0.3) for batch in made_up_batches(1))
    with pytest.raises(InputError, match="data.thin"):
        next(Thinning(SHARE, SHARE, seed=0).train(balanced))


def test_whole_counts_too_large_for_uint16_are_thinned_alike():
    drawn = [
        next(Thinning(SHARE, SHARE, seed=0).train(made_up_batches(1, dtype=dtype))).counts
        for dtype in (np.uint16, np.float32)
    ]
    assert drawn[1].dtype == np.float32
    np.testing.assert_array_equal(*drawn)
