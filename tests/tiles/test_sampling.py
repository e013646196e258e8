"""Order, crops and flips, compared with the original's draws."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream import sampling
from hicfm_jax.tiles.stream.sampling import Draw
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, NO_DIAGONAL


@pytest.mark.parametrize(("num_tiles", "batch_size"), [(24, 8), (25, 8), (8, 8)])
def test_an_epoch_visits_tiles_once(num_tiles, batch_size):
    steps = sampling.steps_per_epoch(num_tiles, batch_size)
    epochs = [
        np.concatenate(
            [sampling.batch_indices(5, e * steps + s, num_tiles, batch_size) for s in range(steps)]
        )
        for e in range(3)
    ]
    for visited in epochs:
        assert len(set(visited)) == len(visited) == num_tiles // batch_size * batch_size
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()


def test_fewer_tiles_than_a_batch_are_repeated_evenly():
    batches = [sampling.batch_indices(0, step, 3, 8) for step in range(20)]
    for batch in batches:
        counts = np.bincount(batch, minlength=3)
        assert counts.sum() == 8 and counts.max() - counts.min() <= 1
    assert len({tuple(batch) for batch in batches}) > 15  # a fresh order each time


def test_order_and_crops_differ_by_seed_and_step():
    assert (sampling.epoch_order(0, 0, 50) != sampling.epoch_order(1, 0, 50)).any()
    crops = [
        sampling.train_crops(Draw((32, 32), s, max_redraws=2, flips=True), k, 16, np.zeros(16), (96, 96))
        for s in (0, 1)
        for k in (0, 1)
    ]
    for i in range(4):
        for j in range(i):
            assert (crops[i].starts != crops[j].starts).any()


def test_words_stay_the_same_for_ever():
    # Runs resume by (seed, step) alone: another sequence would silently change a resumed run.
    np.testing.assert_array_equal(sampling.epoch_order(888, 2, 8), [3, 2, 4, 5, 0, 1, 6, 7])
    draw = Draw((32, 48), 888, max_redraws=1, flips=True)
    crops = sampling.train_crops(draw, 3, 2, np.array([0, -48]), (96, 96))
    np.testing.assert_array_equal(crops.starts, [[[45, 45], [22, 6]], [[52, 4], [14, 14]]])


@settings(max_examples=200, deadline=None)
@given(
    diag=st.integers(-300, 300),
    tile=st.tuples(st.integers(96, 112), st.one_of(st.integers(96, 112), st.integers(96, 250))),
    window=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    draws=st.tuples(st.integers(0, 2**31 - 1), st.integers(0, 2**31 - 1)),
)
def test_windows_lie_inside_and_their_diagonal_on_a_patch_boundary(diag, tile, window, draws):
    window = (window[0] * 16, window[1] * 16)
    row, col, offset = sampling.window_starts(*draws, diag, tile, window)
    assert 0 <= row <= tile[0] - window[0] and 0 <= col <= tile[1] - window[1]
    if abs(diag) >= max(tile):  # the window cannot be crossed, and its offset says how far away it is
        assert offset == (diag + row - col) // 16
        assert offset >= window[1] // 16 or -offset >= window[0] // 16
    elif offset == NO_DIAGONAL:  # no pair of starts would do
        starts = itertools.product(range(tile[0] - window[0] + 1), range(tile[1] - window[1] + 1))
        assert not any((diag + r - c) % 16 == 0 for r, c in starts)
    else:
        # The pixel (r, c) of the tile is on the diagonal if c - r = diag; in the window it moves.
        assert 16 * offset == diag + row - col


@pytest.mark.parametrize("tile", [(72, 72), (80, 64), (64, 80), (79, 64)])
def test_a_window_little_smaller_than_its_tile_keeps_the_diagonal(tile):
    draws = np.random.default_rng(0).integers(0, 2**31, (2, 500))
    for diag in range(-63, 64):
        rows, cols, offset = sampling.window_starts(*draws, diag, tile, (64, 64))
        np.testing.assert_array_equal(16 * offset, diag + rows - cols)


def test_where_no_window_can_keep_the_diagonal():
    def fits(offsets, tile, window=(64, 64)):
        try:
            sampling.check_diagonal("tiles", offsets, tile, window)
        except InputError as error:
            assert "tiles: in tiles of" in str(error) and f"{tile[0]} x {tile[1]}" in str(error)
            return False
        return True

    for tile in itertools.product(range(64, 82, 3), range(64, 82, 5)):
        for offset in range(16):
            starts = itertools.product(range(tile[0] - 63), range(tile[1] - 63))
            assert fits({0, offset}, tile) == any((offset + r - c) % 16 == 0 for r, c in starts)
    with pytest.raises(InputError, match="set model.input_size to 48,48 or less, or .* multiple of 16"):
        sampling.check_diagonal("tiles", {0, 8}, (64, 64), (64, 64))


def test_every_start_can_be_drawn():
    draws = np.arange(65 * 65)
    rows, cols, _ = sampling.window_starts(draws, draws // 65, NO_DIAGONAL, (96, 96), (32, 32))
    assert set(rows) == set(cols) == set(range(65))  # the original never draws 64


def test_flips_move_the_diagonal_where_they_say():
    window, d = (32, 64), 1
    image = np.zeros(window)
    for r in range(32):
        image[r, r + 16 * d] = 1
    new = sampling.flip_diag(d, True, False, window)
    rows, cols = np.nonzero(image[::-1, ::-1])
    assert (cols - rows == 16 * new).all() and new == 1
    square = np.eye(48, k=-16)
    rows, cols = np.nonzero(square.T)
    assert (cols - rows == 16 * sampling.flip_diag(-1, False, True, (48, 48))).all()
    assert sampling.flip_diag(NO_DIAGONAL, True, True, (48, 48)) == NO_DIAGONAL


def test_flips_come_half_of_the_time_and_only_squares_are_transposed():
    def flips(window, wanted):
        draw = Draw(window, 0, max_redraws=0, flips=wanted)
        return sampling.train_crops(draw, 0, 2000, np.zeros(2000), (96, 96)).flips

    square, wide = flips((32, 32), True), flips((32, 48), True)
    assert (abs(square.mean(axis=0) - 0.5) < 0.05).all()
    assert abs((square[:, 0] & square[:, 1]).mean() - 0.25) < 0.05
    assert wide[:, 0].any() and not wide[:, 1].any()
    assert not flips((32, 32), False).any()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ((5, (30, 32), 4), "multiple of 16"),
        ((5, (112, 32), 4), "112 x 32 bins but the tiles have 96 x 192: .*model.input_size"),
        ((5, (32, 208), 4), "model.input_size"),
        ((0, (32, 32), 4), "no tiles"),
        ((5, (32, 32), 0), "batch size"),
    ],
)
def test_streams_that_cannot_be_are_refused(arguments, named):
    num_tiles, window, batch_size = arguments
    with pytest.raises(InputError, match=named):
        sampling.check_stream((96, 192), num_tiles, Draw(window, 0), batch_size)


def test_hosts_must_share_a_batch_evenly():
    with pytest.raises(InputError, match="multiple of the number of hosts"):
        sampling.host_slice(10, 0, 4)


# --- the original's draws -------------------------------------------------------------------


def _cases(golden):
    arrays, manifest = golden("upstream_data")
    for case in manifest["pretrain_cases"]["cases"]:
        # Of two files the last one is dense enough to be used.
        file = case["files"][-1]
        tile = np.nan_to_num(arrays[f"pretrain_src/{file['src']}"])
        for draw in case["draws"]:
            yield case, file, tile, draw, arrays


def test_starts_offered_are_those_of_the_original(golden):
    checked = 0
    for case, file, tile, draw, _ in _cases(golden):
        choices = [call for call in draw["calls"] if call[0] == "choice"]
        starts = [
            call for call in draw["calls"] if call[0] == "randint" and call[2] != len(case["files"]) - 1
        ]
        if not choices or not starts:
            continue  # no diagonal, or a tile of the window's own size
        offered, free = choices[0][1], starts[-1][3]
        row_limit = tile.shape[0] - case["window"][0]
        free_is_row = (starts[-1][2] + 1, free) == (row_limit, draw["row_start"]) and draw[
            "col_start"
        ] in offered
        axis, shift = (1, file["diag"]) if free_is_row else (0, -file["diag"])
        limit = tile.shape[axis] - case["window"][axis]  # the original leaves out the last start
        first, count = sampling.aligned_starts(free, shift, limit)
        assert [first + 16 * i for i in range(count)] == offered, case["case"]
        assert (file["diag"] + draw["row_start"] - draw["col_start"]) / 16 == draw["diag_patches"]
        checked += 1
    assert checked >= 88


def test_square_tiles_are_cut_where_the_original_cuts_them(golden):
    checked = 0
    for case, file, tile, draw, arrays in _cases(golden):
        window = tuple(case["window"])
        diag = file.get("diag")
        diag = NO_DIAGONAL if diag is None else diag
        unusable = abs(diag) >= max(tile.shape)
        if (tile.shape[0] != tile.shape[1] and not unusable) or case["case"] == "exact_size_diag40_160x160":
            continue  # there the original draws the other axis first, or pads: see window_starts
        ints = [call[3] for call in draw["calls"] if call[0] == "randint"][len(case["files"]) - 1 :]
        if case["case"].startswith("resample"):
            ints = ints[-1:]
        choices = [(call[1], call[2]) for call in draw["calls"] if call[0] == "choice"]
        draw_a = ints[0] if ints else 0
        draw_b = choices[0][0].index(choices[0][1]) if choices else ints[1]
        row, col, offset = sampling.window_starts(draw_a, draw_b, diag, tile.shape, window)
        assert (row, col) == (draw["row_start"], draw["col_start"]), case["case"]
        patches = max(window) // 16
        if unusable:
            assert draw["diag_patches"] == patches  # how the original says "none"
            assert offset >= window[1] // 16 or -offset >= window[0] // 16
        else:
            assert offset == draw["diag_patches"]
        crop = tile[row : row + window[0], col : col + window[1]]
        assert np.count_nonzero(crop) == draw["mask_sum"]
        assert tile.sum() == draw["matrix_count"]
        assert (file.get("input_count") or DEFAULT_TOTAL_COUNT) == draw["hic_count"]
        key = f"pretrain_out/{case['case']}/seed{draw['seed']}"
        if f"{key}/img" in arrays:
            scaled = 1 - np.log10(crop + 1) / np.log10(crop.max() + 1)
            image = np.stack([np.ones_like(scaled), scaled, scaled])
            mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
            image = (image - mean[:, None, None]) / std[:, None, None]
            np.testing.assert_allclose(arrays[f"{key}/img"], image, rtol=1e-5, atol=1e-6)
            np.testing.assert_array_equal(arrays[f"{key}/mask"][0, 0], crop != 0)
        checked += 1
    assert checked > 80


def test_a_tile_without_room_for_its_diagonal_has_none():
    row, col, offset = sampling.window_starts(7, 9, 40, (160, 160), (160, 160))
    assert (row, col, offset) == (0, 0, NO_DIAGONAL)  # the original shifts by 8 and pads
