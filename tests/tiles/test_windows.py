import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.errors import InputError
from hicfm_jax.tiles import windows
from tests.tiles.toy_maps import dense_to_map, random_matrix


@pytest.mark.parametrize(
    ("n_bins", "starts"),
    [
        (64, [0, 16]),  # the second hangs over by 16 bins
        (65, [0, 16, 32]),
        (32, []),  # half a tile: skipped, as by the original
        (33, [0]),
    ],
)
def test_starts_follow_the_original(n_bins, starts):
    assert list(windows.grid_starts(n_bins, 64, 16)) == starts


@pytest.mark.parametrize(("n_bins", "stride"), [(200, 64), (200, 40), (130, 64)])
def test_tiles_reassemble_into_the_map(n_bins, stride):
    matrix = random_matrix(n_bins, seed=3)
    whole = np.zeros((n_bins + 64, n_bins + 64), matrix.dtype)
    seen = np.zeros(whole.shape, bool)
    upper = scipy.sparse.csr_array(np.triu(matrix))
    for window in windows.cut_windows(upper, windows.grid_positions(n_bins, 64, stride), 64):
        assert window.row_start <= window.col_start
        place = (
            slice(window.row_start, window.row_start + 64),
            slice(window.col_start, window.col_start + 64),
        )
        whole[place], seen[place] = window.counts, True
    assert not whole[n_bins:].any() and not whole[:, n_bins:].any()  # padding is zero
    covered = seen[:n_bins, :n_bins]
    expected = np.where(covered, matrix, 0)
    np.testing.assert_array_equal(whole[:n_bins, :n_bins], expected)
    end = windows.grid_starts(n_bins, 64, stride)[-1] + 64
    assert covered[np.triu_indices(min(end, n_bins))].all()


def test_diag_says_where_the_main_diagonal_enters():
    upper = scipy.sparse.csr_array(np.eye(200, dtype=int))
    crossing = 0
    for window in windows.cut_windows(upper, windows.grid_positions(200, 64, 24), 64):
        rows, cols = np.nonzero(window.counts)
        assert (cols - rows == window.diag).all()
        crossing += rows.size > 0
    assert crossing > 10


def test_density_counts_the_padding():
    counts = np.ones((64, 64))
    counts[32:] = 0
    assert windows.dense_enough(counts, 0.5)
    assert not windows.dense_enough(counts, 0.51)
    assert not windows.dense_enough(np.zeros((64, 64)), 0.0)  # nothing to learn from, whatever is asked


@pytest.mark.parametrize(
    ("value", "dtype"), [(65535, np.uint16), (65536, np.float32), (0.5, np.float32), (0, np.uint16)]
)
def test_dtype_is_chosen_by_the_data(value, dtype):
    deep = random_matrix(80, seed=0).astype(float)
    deep[3, 5] = value
    maps = {"plain": dense_to_map({"A": random_matrix(80, seed=1)}), "deep": dense_to_map({"A": deep})}
    assert windows.count_dtype(maps) == dtype


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((8, 8, 0.1), "tile_size"),
        ((64, 65, 0.1), "stride"),
        ((64, 0, 0.1), "stride"),
        ((64, 16, 1.5), "min_density"),
    ],
)
def test_impossible_tilings_are_refused(arguments, named):
    with pytest.raises(InputError, match=named):
        windows.check_tiling(*arguments)
