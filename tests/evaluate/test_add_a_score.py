"""A toy score through one line of the table."""

import csv
import re

import pytest

from hicfm_jax.evaluate import compare
from hicfm_jax.evaluate.report import html, tables
from hicfm_jax.evaluate.scores import SCORES, Score


def _missing_contacts(pair):
    """Contacts that the map lacks; bins of the chromosome."""
    test, reference = (counts.sum() for counts in pair.counts)
    return float(reference - test), pair.reference.counts.shape[0]


def test_a_new_score_is_one_line_of_the_table(deep, shallow, tmp_path, monkeypatch, undrawn):
    toy = Score(
        "missing", "missing contacts", "contacts that it lacks", _missing_contacts, "bins", "Mio", "lower", 0
    )
    monkeypatch.setitem(SCORES, toy.name, toy)
    deep, shallow = deep.coarsen(2), shallow.coarsen(2)
    found = compare({"input": shallow, "same": deep}, deep, ["Chr3", "Chr4"])
    lacks = {chrom: deep.matrix(chrom).sum() - shallow.matrix(chrom).sum() for chrom in ("Chr3", "Chr4")}
    assert {chrom: found.score("input", "missing", chrom) for chrom in lacks} == lacks
    bins = {chrom: deep.n_bins(chrom) for chrom in lacks}
    pooled = sum(lacks[chrom] * bins[chrom] for chrom in lacks) / sum(bins.values())
    assert found.score("input", "missing") == pytest.approx(pooled)
    tables.write_csv(found, tmp_path / "metrics.csv")
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    assert [float(row["missing"]) for row in rows if row["map"] == "same"] == [0, 0, 0]
    page = html.render(found)
    text = "contacts that it lacks, Mio; pooled by bins; lower is better"
    values = rf"<td><span class=\"map\">{lacks['Chr4']:.0f}</span></td><td><b>0</b></td>"
    assert f"missing contacts<br><small>{text}</small>" in page
    assert re.search(rf"missing contacts</td>{values}", page)
