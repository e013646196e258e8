"""Mean shift: the original's numbers on its own maps, and its defects mended."""

import time

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.evaluate.neighborhoods import Neighborhoods
from hicfm_jax.infer.mean_shift import (
    ShiftedPoints,
    find_peaks,
    merge_as_original,
    merge_by_density,
    shift,
)


def places(peaks):
    return list(zip(peaks.rows.tolist(), peaks.cols.tolist(), strict=True))


def score_map(pixels, size=40):
    values = np.array([*pixels.values()], float)
    return scipy.sparse.coo_array((values, np.array([*pixels]).T), shape=(size, size)).tocsr()


def blob(scores, row, col, height):
    """Adds a Gaussian loop to a dense map; its center need not be a whole bin."""
    rows, cols = np.indices(scores.shape)
    scores += height * np.exp(-((rows - row) ** 2 + (cols - col) ** 2) / 4)


def test_the_original_on_all_its_maps(golden):
    """41 cases: end positions, densities, both merges, and peaks where they do not hang on the last bit."""
    arrays, manifest = golden("upstream_inference")
    cases = manifest["mean_shift"]["cases"]
    assert len(cases) == 41
    for case, about in cases.items():
        name, cutoff = case.split(" ")
        scores = scipy.sparse.csr_array(arrays[f"mean_shift/{name}/map"])
        points, peaks = shift(scores, float(cutoff)), find_peaks(scores, float(cutoff), "original")
        assert len(points.start) == about["start_points"]
        if not about["start_points"]:
            assert len(peaks) == 0
            continue
        stored = {
            stage: arrays[f"mean_shift/{name}/cutoff_{cutoff}/{stage}"]
            for stage in ("start", "shifted", "truncated", "density", "stock", "member", "peaks")
        }
        np.testing.assert_array_equal(points.start, stored["start"], case)
        np.testing.assert_allclose(points.position, stored["shifted"], rtol=0, atol=1e-9, err_msg=case)
        np.testing.assert_allclose(points.density / len(points.start), stored["density"], rtol=1e-9)
        # From its own positions and densities, whose last bits may decide.
        alive, member = merge_as_original(stored["truncated"].astype(np.int64), stored["density"])
        np.testing.assert_array_equal(alive, stored["stock"] == 1, case)
        np.testing.assert_array_equal(member, stored["member"], case)
        np.testing.assert_array_equal(stored["truncated"][alive], stored["peaks"], case)
        if about["same_peaks_when_the_map_is_moved_by_1e-12"]:
            np.testing.assert_array_equal(places(peaks), stored["peaks"], case)


def test_the_weaker_of_two_lone_loops_is_kept():
    """Defect of the original: the least dense point goes, unless it is the last one."""
    scores = score_map({(5, 20): 0.7, (10, 30): 0.9})
    assert places(find_peaks(scores, 0.5, "original")) == [(10, 30)]
    found = find_peaks(scores, 0.5)
    assert places(found) == [(5, 20), (10, 30)]
    assert found.score.tolist() == [0.7, 0.9] and found.density.tolist() == pytest.approx([0.7, 0.9])


def test_peaks_are_rounded_and_not_truncated():
    """Defect of the original: peaks lie up to one bin low."""
    scores = np.zeros((40, 40))
    blob(scores, 9.8, 24.9, 1.0)
    scores = scipy.sparse.csr_array(scores)
    assert places(find_peaks(scores, 0.5)) == [(10, 25)]
    assert places(find_peaks(scores, 0.5, "original")) == [(9, 24)]


def test_a_loop_across_bin_10_000_is_found():
    """Defect of the original: it cuts maps into diagonal blocks of 10,000 bins."""
    places_in = {(9_990, 10_020): 0.9, (9_500, 9_530): 0.8, (59_000, 59_900): 0.7}
    assert places(find_peaks(score_map(places_in, 60_000), 0.5)) == sorted(places_in)


def test_distances_are_taken_before_rounding():
    """Defect of the original: loops 2.7 bins apart are one after truncation."""
    position, density = np.array([[5.0, 20.0], [6.9, 21.9]]), np.array([0.8, 0.7])
    points = ShiftedPoints(np.rint(position).astype(int), density, position, density)
    assert places(merge_by_density(points, 0.5)) == [(5, 20), (7, 22)]
    alive, _ = merge_as_original(np.trunc(position).astype(np.int64), density)
    assert alive.sum() == 1


def test_many_weak_points_beside_a_strong_loop_stay_one_loop_each():
    scores = np.zeros((60, 60))
    for row, col, height in [(10, 30, 1.0), (20, 50, 0.6), (40, 52, 0.7)]:
        blob(scores, row, col, height)
    found = find_peaks(scipy.sparse.csr_array(scores), 0.4)
    assert places(found) == [(10, 30), (20, 50), (40, 52)]
    assert found.score == pytest.approx([1.0, 0.6, 0.7], abs=0.01)


def test_neighborhoods_are_those_of_the_dense_map():
    rng = np.random.default_rng(0)
    matrix = rng.random((30, 20)) * (rng.random((30, 20)) < 0.3)
    rows, cols = rng.integers(-7, 30, 200), rng.integers(-7, 20, 200)
    found = Neighborhoods(scipy.sparse.csr_array(matrix), 7).cut(rows, cols)
    padded = np.pad(matrix, 10)
    for square, row, col in zip(found, rows, cols, strict=True):
        np.testing.assert_array_equal(square, padded[row + 10 : row + 17, col + 10 : col + 17])


@pytest.mark.slow  # a map of the size of a human chromosome at 25 kb
def test_ten_thousand_bins_take_seconds():
    rng, size = np.random.default_rng(0), 10_000
    rows = rng.integers(10, size - 400, 4500)
    cols = rows + rng.integers(15, 380, 4500)
    around = np.indices((11, 11)).reshape(2, -1).T - 5
    pixels = (np.stack([rows, cols], axis=1)[:, None] + around).reshape(-1, 2)
    heights = rng.uniform(0.5, 1, 4500)[:, None] * np.exp(-(around**2).sum(axis=1) / 4.5)
    scores = scipy.sparse.coo_array((heights.ravel(), pixels.T), shape=(size, size)).tocsr()
    scores.data = np.minimum(scores.data, 1)
    start = time.process_time()
    found = find_peaks(scores, 0.4)
    assert time.process_time() - start < 5
    assert 3500 < len(found) < 4500
