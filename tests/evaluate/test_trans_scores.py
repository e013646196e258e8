"""Scores of contacts between chromosomes."""

import csv
import itertools
import math

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, thin
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import compare, write_report
from hicfm_jax.evaluate.comparison import POOLED, TRANS
from hicfm_jax.evaluate.report.tables import summary
from hicfm_jax.evaluate.scores import CRITERIA, SCORES, scored_pair
from tests.commands import ROOT

SIZES = {"A": 60, "B": 40, "C": 50, "D": 45}


@pytest.fixture(scope="module")
def deep():
    """Four chromosomes whose middles (centromeres) contact each other."""
    rng, matrices = np.random.default_rng(0), {}
    bias = {name: rng.gamma(20, 1 / 20, size) for name, size in SIZES.items()}
    for one, two in itertools.combinations_with_replacement(SIZES, 2):
        rows, columns = (np.abs(np.arange(SIZES[name]) - SIZES[name] / 2) for name in (one, two))
        mean = 20 + 200 * np.exp(-np.add.outer(rows**2, columns**2) / 50)
        counts = rng.poisson(mean * np.outer(bias[one], bias[two]))
        matrices[one, two] = scipy.sparse.csr_array(np.triu(counts) if one == two else counts)
    return ContactMap({name: 1000 * size for name, size in SIZES.items()}, 1000, matrices, "deep")


@pytest.fixture(scope="module")
def comparison(deep):
    turned = {(two, one): deep.matrix(two, one) for one, two in deep.pairs()}
    order = {name: deep.chromsizes[name] for name in "DCBA"}
    cis = ContactMap(deep.chromsizes, 1000, {(name, name): deep.matrix(name) for name in SIZES}, "cis")
    maps = {"same": ContactMap(order, 1000, turned), "input": thin(deep, 1 / 16, seed=0), "cis": cis}
    return compare(maps, deep, ["A", "B"], baselines_of="input", max_diagonal=20, trans=True)


def test_the_reference_scores_best_whatever_the_order_of_its_chromosomes(comparison):
    assert [record.map for record in comparison.of(TRANS)] == [
        "same",
        "input",
        "rescaled input",
        "coverage-aware Gaussian",
    ]
    for name, score in SCORES.items():
        best = (0 if score.better == "lower" else 1) if score.trans else math.nan
        assert comparison.score("same", name, TRANS) == pytest.approx(best, abs=1e-9, nan_ok=True)
    with pytest.raises(KeyError):
        comparison.score("cis", "r", TRANS)


def test_the_page_names_the_scores_between_chromosomes_and_those_to_tune_by():
    """Widths are also tuned between chromosomes, so these scores are defined there."""
    page = " ".join((ROOT / "docs/reference/scores.md").read_text().split())
    trans = [f"`{name}`" for name, score in SCORES.items() if score.trans]
    assert f"have {', '.join(trans[:-1])} and {trans[-1]} over all pixels" in page
    assert set(CRITERIA) <= {name for name, score in SCORES.items() if score.trans}
    others = [f"`{name}`" for name in CRITERIA[1:]]
    assert f"best `{CRITERIA[0]}` on" in page
    assert f"`--tune_by` chooses another score: {' or '.join(others)}." in page


def test_values_are_those_of_the_pixels_between_the_chromosomes(deep, comparison):
    one, two = (each.matrix("A", "B").toarray().ravel() for each in (thin(deep, 1 / 16, seed=0), deep))
    assert comparison.score("input", "r", TRANS) == pytest.approx(np.corrcoef(one, two)[0, 1])
    error = ((np.log10(1 + one) - np.log10(1 + two)) ** 2).mean()
    assert comparison.score("input", "mse", TRANS) == pytest.approx(error)
    scores = [comparison.score(name, "r", TRANS) for name in ("rescaled input", "coverage-aware Gaussian")]
    assert scores[0] == pytest.approx(comparison.score("input", "r", TRANS))
    assert scores[1] > scores[0] + 0.1


def test_files_and_the_terminal_have_them(comparison, undrawn, tmp_path):
    write_report(comparison, tmp_path)
    rows = list(csv.DictReader((tmp_path / "metrics.csv").open()))
    trans = [row for row in rows if row["chromosome"] == TRANS]
    assert len(trans) == 4 and float(trans[0]["r"]) == 1 and not trans[0]["scc"]
    assert [row["chromosome"] for row in rows].count(POOLED) == 3 + 5
    assert "Between chromosomes" in (tmp_path / "report.html").read_text()
    assert "coverage-aware Gaussian, trans" in summary(comparison)


def test_what_has_no_pairs_is_one_sentence(deep, monkeypatch):
    with pytest.raises(InputError, match="deep has no contacts between A: leave trans out"):
        compare({"same": deep}, deep, ["A"], trans=True)
    monkeypatch.setattr(scored_pair, "WHOLE_BINS", 50)
    with pytest.raises(InputError, match="A has 60 bins, and trans needs at most 50"):
        compare({"same": deep}, deep, ["A", "B"], trans=True)
