"""A task of inference is one `InferenceTask` and one line of the table: two toy ones, through the script."""

import numpy as np
import pytest

from hicfm_jax.contacts import write_contacts
from hicfm_jax.infer import tasks
from hicfm_jax.infer.scan import cut_windows
from hicfm_jax.infer.scan_plan import InferenceTask, Option, map_positions
from hicfm_jax.infer.stitching import merge_windows
from tests.infer.toy_networks import CHROMSIZES, echo, toy_map
from tests.run_script import run_script


def _write_coverage(path, suffix, found, contact_map, network, plan, progress):
    coverage = {chrom: np.zeros(contact_map.n_bins(chrom)) for chrom in plan.chromosomes}
    for chrom, rows in found:
        bins = coverage[chrom]
        for row, values in enumerate(rows.mean, start=rows.first):
            values = values[row - rows.first : len(bins) - rows.first]  # from the diagonal to the end
            bins[row] += values.sum()
            bins[row + 1 :][: len(values) - 1] += values[1:]
    np.savez(path, **coverage)
    return f"Wrote {path}, times {plan.options.get('times')}."


def _write_sums(path, suffix, found, contact_map, network, plan, progress):
    np.savez(path, **{f"{chrom}:{window.row}": window.values for chrom, window in found})
    return f"Wrote {path}."


COVERAGE = InferenceTask(
    name="coverage",
    text="contacts of each bin",
    head=("resolution",),
    default_window=(32, 32),
    default_stride=20,
    prepare=cut_windows,
    postprocess=lambda output, scaling: scaling.unscale(output.map),
    merge=merge_windows,
    outputs=(".cov.npz",),
    write=_write_coverage,
    positions=map_positions,
    options=(Option("times", int, "A number."),),
)

SUMS = InferenceTask(
    name="sums",
    text="contacts of each window on the diagonal",
    head=("resolution",),
    default_window=(32, 32),
    default_stride=8,
    prepare=cut_windows,
    postprocess=lambda output, scaling: scaling.unscale(output.map).sum(axis=(1, 2)),
    merge=None,
    outputs=(".npz",),
    write=_write_sums,
    positions=lambda size, plan: np.repeat(np.arange(0, size, plan.stride)[:, None], 2, axis=1),
)


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Returns `run(task, output, *flags)` of the script, with a network that gives back its input."""
    for task in (COVERAGE, SUMS):
        monkeypatch.setitem(tasks.INFERENCE_TASKS, task.name, task)
    monkeypatch.setattr(tasks, "load_network", lambda *_: echo())
    write_contacts(toy_map(), tmp_path / "map.cool")
    flags = (f"--input={tmp_path / 'map.cool'}", "--checkpoint=toy")
    return lambda task, output, *more: run_script(
        "infer.py", f"--task={task}", *flags, f"--output={tmp_path / output}", *more
    )


def _symmetric(chrom):
    upper = toy_map().matrix(chrom).toarray()
    return upper + np.triu(upper, 1).T


def test_a_task_that_merges_to_rows(run, tmp_path):
    done = run("coverage", "a.cov.npz", "--times=3")
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"Wrote {tmp_path / 'a.cov.npz'}, times 3.\n"
    with np.load(tmp_path / "a.cov.npz") as found:
        for chrom in CHROMSIZES:
            np.testing.assert_allclose(found[chrom], _symmetric(chrom).sum(axis=0), rtol=1e-5)


def test_a_task_that_keeps_the_windows(run, tmp_path):
    assert run("sums", "a.npz").returncode == 0
    with np.load(tmp_path / "a.npz") as found:
        assert sorted(found) == sorted(
            f"{chrom}:{row}"
            for chrom, size in CHROMSIZES.items()
            for row in range(0, -(-size // 1000), SUMS.default_stride)
        )
        for row in (0, 16, 96):
            part = _symmetric("Chr1")[row : row + 32, row : row + 32]
            assert found[f"Chr1:{row}"] == pytest.approx(part.sum(), rel=1e-5)


def test_suffixes_and_options_are_those_of_the_table(run):
    assert "task sums cannot write .txt, expected one of .npz" in run("sums", "a.txt").stderr
    assert "Task sums has no option times" in run("sums", "a.npz", "--times=3").stderr
    assert "Task coverage has no option balance" in run("coverage", "a.cov.npz", "--balance").stderr


def test_help_texts_are_those_of_the_table(run):
    text = " ".join(run("sums", "a.npz", "--help").stdout.split())
    for words in ("coverage: contacts of each bin", "sums: .npz", "--times=VALUE A number. Task coverage."):
        assert words in text
