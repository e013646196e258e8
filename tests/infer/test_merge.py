"""Overlapping predictions become one map, row by row."""

import numpy as np
import pytest

from hicfm_jax.infer.scan_plan import covering_positions, original_positions
from hicfm_jax.infer.stitching import MERGES, merge_windows, smooth_weights
from hicfm_jax.models.preprocess import target_scaling


def cut(dense, positions, window):
    """Windows of a symmetric map, zero beyond its end."""
    padded = np.pad(dense, (0, max(window)))
    return [padded[row : row + window[0], col : col + window[1]] for row, col in positions]


def put_together(rows, size):
    """Finished rows as the upper triangle, and where there was a prediction."""
    found, covered = np.zeros((2, size, size))
    for first, mean, seen, *_ in rows:
        width = min(mean.shape[1], size - first)
        found[first : first + len(mean), first : first + width] = mean[: size - first, :width]
        covered[first : first + len(mean), first : first + width] = seen[: size - first, :width]
    return np.triu(found), np.triu(covered).astype(bool)


@pytest.fixture
def symmetric():
    counts = np.random.default_rng(0).integers(0, 50_000, (117, 117))
    return np.triu(counts) + np.triu(counts, 1).T


@pytest.mark.parametrize("window", [(32, 32), (32, 48), (48, 32)])
@pytest.mark.parametrize("name", MERGES)
def test_windows_of_a_map_merge_to_that_map_exactly(symmetric, window, name):
    for size in (20, 117):
        dense = symmetric[:size, :size]
        positions = covering_positions(size, window, 11)
        rows = merge_windows(cut(dense, positions, window), positions, size, window, name)
        found, covered = put_together(rows, size)
        np.testing.assert_array_equal(found, np.triu(dense))
        assert covered[np.triu_indices(size)].all() or name == "original"


def at_once(predictions, positions, size, window, name):
    """Sums over the whole map, windows and their mirror images."""

    def weights(values):
        return smooth_weights(window) if name == "average" else (values != 0).astype(float)

    total, weight = np.zeros((2, size + max(window), size + max(window)))
    for (row, col), values in zip(positions, predictions, strict=True):
        place = slice(row, row + window[0]), slice(col, col + window[1])
        total[place] += values * weights(values)
        weight[place] += weights(values)
    total, weight = (sums + sums.T for sums in (total, weight))
    with np.errstate(invalid="ignore"):
        return np.triu(np.where(weight > 0, total / weight, 0)[:size, :size])


@pytest.mark.parametrize("window", [(32, 32), (32, 48), (48, 32)])
@pytest.mark.parametrize("name", MERGES)
@pytest.mark.parametrize("max_bins", [None, 25])
def test_row_by_row_is_the_same_as_all_at_once(window, name, max_bins):
    rng, size = np.random.default_rng(1), 117
    if name == "original":
        positions = original_positions(size, window, 13, max_bins or size)
    else:
        positions = covering_positions(size, window, 13, max_bins)
    predictions = rng.gamma(1, 1, (len(positions), *window)) * (rng.random((len(positions), *window)) > 0.2)
    found, _ = put_together(merge_windows(predictions, positions, size, window, name), size)
    expected = at_once(predictions, positions, size, window, name)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_prediction_counts_most_in_the_middle_of_its_window():
    weights = smooth_weights((32, 48))
    assert weights.min() > 0
    np.testing.assert_array_equal(weights, weights[::-1, ::-1])
    assert weights[16, 24] > 100 * weights[0, 24]
    # Neighbours at half a window share without a seam: their weights add up to nearly a constant.
    line = smooth_weights((32, 32))[16]
    both = line[:16] + line[16:]
    assert both.max() / both.min() < 1.01


@pytest.mark.default_compiler
def test_original_merge_gives_the_numbers_of_the_original(golden):
    arrays, manifest = golden("upstream_data")
    about = manifest["inference_cases"]["task3_64x64_s43_b50"]
    index = arrays["inference_index/task3_64x64_s43_b50"]
    outputs = np.asarray(target_scaling("log1000").unscale(arrays["merge/task3/model_out"]))
    window = tuple(about["window"])
    for number, chrom in enumerate(("chrA", "chrB")):
        size, here = len(arrays[f"inference_src/{chrom}"]), index[:, 0] == number
        positions = original_positions(size, window, about["stride"], about["bound"])
        # Ours are sorted; those that lie at one place each have an output of their own.
        numbers = {tuple(place): [] for place in positions.tolist()}
        for i, place in enumerate(index[here, 1:3].tolist()):
            numbers[tuple(place)].append(i)
        predictions = outputs[here][[numbers[tuple(place)].pop(0) for place in positions.tolist()]]
        found, _ = put_together(merge_windows(predictions, positions, size, window, "original"), size)
        found[found <= MERGES["original"]] = 0
        expected = arrays[f"merge/task3/{chrom}"][:size, :size]
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=1e-6)
        assert np.count_nonzero(found) == np.count_nonzero(expected)


def test_variances_are_merged_as_those_of_a_mixture(symmetric):
    """Windows that agree keep their variance; windows that disagree add the variance of their means."""
    size, window = 117, (32, 32)
    positions = covering_positions(size, window, 16)
    means = np.array([values.astype(float) for values in cut(symmetric / 500, positions, window)])
    off = np.where(np.arange(len(means)) % 2, 3.0, -3.0)[:, None, None]  # of every other window
    merged = []
    for shift in (0 * off, off):
        predictions = np.stack([means + 5 + shift, np.full_like(means, 4.0)], axis=1)
        merged.append(list(merge_windows(predictions, positions, size, window)))
    for same, different in zip(*merged, strict=True):
        inside = same.covered & (np.arange(same.mean.shape[1]) < size - same.first)
        np.testing.assert_allclose(same.sd[inside], 2.0, rtol=1e-6)
        # Weights w of one kind of window: means 3 (2 w - 1), variance of the means 36 w (1 - w).
        weight = ((different.mean - same.mean)[inside] / 3 + 1) / 2
        np.testing.assert_allclose(different.sd[inside] ** 2, 4 + 36 * weight * (1 - weight), rtol=1e-5)
        assert (different.sd[inside] >= 2 - 1e-6).all() and (different.sd[inside] > 3).any()
