"""`make benchmark` in sizes that say nothing: the page's tables are measured and written."""

import shutil
from unittest.mock import create_autospec

import numpy as np
import pytest

from benchmarks import growth, page, step, tiling
from hicfm_jax.errors import InputError
from tests.commands import ROOT
from tests.run_script import run_script

PAGE = ROOT / "docs/reference/performance.md"


@pytest.fixture
def in_few_processes(monkeypatch):
    """Measures the first amount of work in a process of its own, the others here.

    Left out: steps of PyTorch and of two windows (test_step_benchmark.py), builds in processes
    (test_tiling_benchmark.py).
    """
    in_process, measure_tiling, begun = growth._in_process, tiling.measure_tiling, []

    def first_in_process(name, amount, side):
        begun.append(name)
        if len(begun) == 1:
            return in_process(name, amount, side)
        if (name, amount) == ("step", 2):
            return 2.0, 1.0
        return growth.WORKS[name].run(amount, side), 1.0

    both = {"JAX": 1e9, "PyTorch": 1e9}
    steps = {"batch": 1, "input_size": [32, 32], "rounds": 1, "seconds": {"ours": [1.0] * 3}, "ratios": {}}
    steps |= {"matmul_tflops": both, "peak_memory_bytes": both}
    monkeypatch.setattr(growth, "_in_process", first_in_process)
    monkeypatch.setattr(step, "compare_steps", create_autospec(step.compare_steps, return_value=steps))
    monkeypatch.setattr(tiling, "measure_tiling", lambda maps, _, **more: measure_tiling(maps, (0,), **more))


@pytest.mark.slow  # compiles networks
@pytest.mark.needs("tensorflow", "matplotlib")
def test_every_table_is_written(tmp_path, in_few_processes):
    copy = shutil.copy(PAGE, tmp_path)
    for names in (["growth"], [name for name in page.SECTIONS if name != "growth"]):
        flags = [f"--page={copy}", f"--picture={tmp_path / 'growth.png'}", f"--sections={','.join(names)}"]
        done = run_script("benchmark_page.py", *flags, "--toy")
        assert done.returncode == 0, done.stderr
    text = (tmp_path / PAGE.name).read_text()
    assert "Not measured yet" not in text and (tmp_path / "growth.png").stat().st_size > 10_000
    for part in (
        "| tiling | 1,000 bins |",
        "| step | 2 windows a batch |",
        "times ours",
        "stream ",
        "peak MB",
    ):
        assert part in text
    # Measured again, a section takes the place of the old one.
    page.measure_page(copy, tmp_path / "growth.png", ["machine"], toy=True)
    again = (tmp_path / PAGE.name).read_text()
    assert again == text


def test_the_page_has_a_place_for_every_table(tmp_path):
    for name in page.SECTIONS:
        assert f"<!-- {name} -->" in PAGE.read_text()
    with pytest.raises(InputError, match="no section 'speed': take one of machine, growth"):
        page.measure_page(PAGE, tmp_path / "growth.png", ["speed"])
    (tmp_path / "other.md").write_text("# Nothing\n")
    with pytest.raises(InputError, match="has no <!-- machine --> with an <!-- end --> after it"):
        page.measure_page(tmp_path / "other.md", tmp_path / "growth.png")


def test_a_banded_map_grows_in_proportion():
    small, large = (growth.banded_map(bins, reach=20).matrix("1") for bins in (400, 1200))
    assert large.nnz == pytest.approx(3 * small.nnz, rel=0.1)
    row, col = large.nonzero()
    assert 0 <= (col - row).min() and (col - row).max() < 20


def test_time_for_the_same_work_is_relative_to_the_largest_amount():
    found = {"unit": "bins", "amounts": [10, 30], "seconds": [2.0, 3.0], "peak_mb": [1.0, 1.0]}
    text = growth.table({"tiling": found | {"exponent": np.log(1.5) / np.log(3)}})
    assert "| tiling | 10 bins | 2 | 2.00 | 1 MB |" in text and "| 30 bins | 3 | 1.00 |" in text
    assert "tiling 0.37" in text
