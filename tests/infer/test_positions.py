"""Windows of whole chromosomes."""

import numpy as np
import pytest

from hicfm_jax.infer.scan_plan import covering_positions, original_positions


@pytest.mark.parametrize("window", [(32, 32), (32, 48), (48, 32)])
@pytest.mark.parametrize("size", [5, 32, 33, 100, 117])
@pytest.mark.parametrize("max_bins", [None, 1, 20])
def test_every_wanted_pixel_is_in_a_window(window, size, max_bins):
    for stride in (7, 16, 32):
        positions = covering_positions(size, window, stride, max_bins)
        covered = np.zeros((size, size), bool)
        for row, col in positions:
            covered[row : row + window[0], col : col + window[1]] = True
        distance = np.subtract.outer(-np.arange(size), -np.arange(size))
        wanted = (distance >= 0) & (distance <= (size if max_bins is None else max_bins))
        assert covered[wanted].all()
        assert len(np.unique(positions, axis=0)) == len(positions)


def test_windows_end_with_the_chromosome_and_lie_above_the_diagonal():
    positions = covering_positions(100, (32, 32), 16)
    assert positions.max() == 100 - 32
    assert (positions[:, 0] <= positions[:, 1]).all()
    assert len(covering_positions(100, (32, 32), 16, 10)) < len(positions)


def test_one_window_covers_a_short_chromosome():
    assert covering_positions(20, (32, 32), 16).tolist() == [[0, 0]]


CASES = ["task3_64x64_s20_b40", "task3_64x64_s43_b50", "task3_64x96_s20_b40"]


@pytest.mark.parametrize("case", CASES)
def test_original_positions_are_those_of_the_original(golden, case):
    arrays, manifest = golden("upstream_data")
    about, index = manifest["inference_cases"][case], arrays[f"inference_index/{case}"]
    for number, chrom in enumerate(("chrA", "chrB")):
        size = len(arrays[f"inference_src/{chrom}"])
        found = original_positions(size, tuple(about["window"]), about["stride"], about["bound"])
        expected = index[index[:, 0] == number][:, 1:3]
        assert sorted(found.tolist()) == sorted(expected.tolist())


def test_published_setting_lies_on_the_diagonal_with_its_duplicate():
    found = original_positions(300, (224, 224), 20, 0)
    # 0, 20, 40, 60 below 76; 76; and 56.
    assert found.tolist() == [[start, start] for start in (0, 20, 40, 56, 60, 76)]
    assert original_positions(224, (224, 224), 20, 0).tolist() == [[0, 0], [0, 0]]
