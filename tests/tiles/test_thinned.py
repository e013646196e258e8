"""Thinning windows in the stream: what is kept, mirrored and repeatable."""

import itertools

import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.shallow_windows import Thinning, binomial, log_uniform, thin_window
from hicfm_jax.types import NO_DIAGONAL, Batch

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
