"""Files of a report: complete, self-contained, and absent if writing fails."""

import csv
import dataclasses
import io

import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import write_report
from hicfm_jax.evaluate.comparison import Record, ScoredValue, make_thumbnail
from hicfm_jax.evaluate.report import figures, html, tables
from hicfm_jax.evaluate.scores import SCORES


def test_warnings_come_first_on_the_page(comparison, undrawn):
    page = html.render(dataclasses.replace(comparison, warnings=["Too good & wrong."]))
    assert page.index("Too good &amp; wrong.") < page.index("<table")


def test_the_table_has_every_score_of_every_map(comparison, tmp_path):
    tables.write_csv(comparison, tmp_path / "metrics.csv")
    rows = list(csv.DictReader(io.StringIO((tmp_path / "metrics.csv").read_text())))
    assert [(row["map"], row["chromosome"]) for row in rows] == [
        (record.map, record.chromosome) for record in comparison
    ]
    for row, record in zip(rows, comparison, strict=True):
        assert float(row["r"]) == pytest.approx(record.scores["r"].value, abs=1e-5)
        assert set(SCORES) < set(row)
    assert {row["data_range"] for row in rows if row["chromosome"] == "Chr4"} == {
        f"{comparison.chromosomes[0].data_range:.4f}"
    }


def test_the_best_value_of_a_column():
    def record(name, **scores):
        unknown = {key: ScoredValue(float("nan"), 0) for key in SCORES}
        return Record(name, "1", unknown | {key: ScoredValue(value, 1) for key, value in scores.items()})

    best = tables.best_values([record("a", r=0.91234, mse=0.02), record("b", r=0.5, mse=0.01)])
    assert best == {"r": 0.912, "mse": 0.01}


def test_thumbnails_preserve_counts_and_empty_pixels_are_white(deep):
    matrix = deep.matrix("Chr4")
    thumbnail = make_thumbnail(matrix, [], 60_000, np.empty(0), 2.0)
    np.testing.assert_allclose(np.triu(thumbnail.image), 2 * matrix.toarray(), rtol=1e-6)
    assert tuple(figures.fall()(0.0)) == (1, 1, 1, 1) and tuple(figures.fall()(1.0)) == (0, 0, 0, 1)


def test_curves_start_at_the_first_diagonal_and_end_at_the_last_one(comparison):
    view = comparison.chromosomes[0]
    decay, spearman = figures.draw_curves(view, comparison.resolution).axes
    line = {each.get_label(): each for each in decay.get_lines()}["reference"]
    expected = view.thumbnails["reference"].decay
    assert line.get_xdata()[0] == comparison.resolution
    assert line.get_ydata()[0] == pytest.approx(expected[1])
    # A map against itself agrees at every distance.
    line = spearman.get_lines()[1]  # of the second map, `same`
    np.testing.assert_allclose(line.get_ydata(), 1)
    assert line.get_xdata()[-1] > 0.9 * 199 * comparison.resolution


def test_a_file_in_the_way_is_refused(comparison, tmp_path):
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(InputError, match="is a file"):
            write_report(comparison, folder)


def test_a_report_that_fails_leaves_nothing(comparison, tmp_path, monkeypatch, undrawn):
    def fail(*_):
        raise RuntimeError("no ink")

    monkeypatch.setattr("hicfm_jax.evaluate.report.figures.draw_for_talk", fail)
    with pytest.raises(RuntimeError, match="no ink"):
        write_report(comparison, tmp_path)
    assert list(tmp_path.iterdir()) == []
