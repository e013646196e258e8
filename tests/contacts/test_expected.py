"""Expected contacts: what the fit agrees with, and what it makes of little."""

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import open_contacts, simulate, thin
from hicfm_jax.contacts.expected import TransSums, find_expected


def planted(size=300, depth=400.0, seed=0):
    """Decay, bias, and a Poisson draw of their map, upper triangle."""
    rng = np.random.default_rng(seed)
    decay = depth / (1 + np.arange(size)) ** 0.8
    bias = rng.gamma(10, 0.1, size)
    bias[50:53] = 0
    distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    mean = decay[distance] * np.outer(bias, bias)
    return decay, bias, scipy.sparse.csr_array(np.triu(rng.poisson(mean)))


def both_triangles(matrix):
    dense = matrix.toarray().astype(float)
    return dense + np.triu(dense, 1).T


def test_sums_by_bin_and_in_all_agree_with_the_map():
    _, _, matrix = planted()
    fit, counts = find_expected(matrix), both_triangles(matrix)
    np.testing.assert_allclose(fit.coverage, counts.sum(1))
    seen = fit.coverage > 0
    np.testing.assert_allclose(fit.dense().sum(1)[seen], counts.sum(1)[seen], rtol=5e-3)
    assert fit.dense().sum() == pytest.approx(counts.sum(), rel=2e-3)
    for first, last in ((0, 1), (5, 20), (50, 100), (150, 300)):
        of_map, of_fit = (sum(np.trace(m, d) for d in range(first, last)) for m in (counts, fit.dense()))
        assert of_fit == pytest.approx(of_map, rel=0.05), (first, last)


def test_it_finds_what_was_planted():
    decay, bias, matrix = planted()
    fit = find_expected(matrix)
    assert (fit.bias[50:53] == 0).all()
    assert fit.bias[fit.bias > 0].mean() == pytest.approx(1)
    assert np.corrcoef(fit.bias, bias)[0, 1] > 0.99
    scale = bias[bias > 0].mean() ** 2
    near = slice(1, 150)
    np.testing.assert_allclose(fit.decay[near], decay[near] * scale, rtol=0.15)


def test_the_fit_of_a_shallow_map_is_that_of_the_deep_one_scaled():
    deep = simulate(contacts=20e6, resolution=100_000, seed=1)
    shallow = thin(deep, 1 / 64, seed=0)
    fit, other = (find_expected(each.matrix("Chr1")) for each in (deep, shallow))
    assert np.corrcoef(fit.bias, other.bias)[0, 1] > 0.95
    ratio = other.decay[1:200] / fit.decay[1:200] * 64
    assert np.abs(np.log(ratio)).max() < 0.25
    assert np.log(ratio).mean() == pytest.approx(0, abs=0.03)


def test_a_window_is_a_part_of_the_whole_and_zero_outside():
    _, _, matrix = planted(size=60)
    fit = find_expected(matrix)
    found = fit.window(-4, 50, (16, 32))
    assert {name: values.shape for name, values in found.items()} == {
        "row_bias": (16,),
        "column_bias": (32,),
        "row_coverage": (16,),
        "column_coverage": (32,),
        "decay": (47,),
    }
    assert all(values.dtype == np.float32 for values in found.values())
    assert (found["row_bias"][:4] == 0).all() and (found["column_coverage"][10:] == 0).all()
    np.testing.assert_allclose(found["row_bias"][4:], fit.bias[:12], rtol=1e-6)
    rows, columns = np.arange(4, 16), np.arange(10)
    offset = columns - rows[:, None] + 15
    pixels = found["decay"][offset] * np.outer(found["row_bias"][rows], found["column_bias"][columns])
    np.testing.assert_allclose(pixels, fit.dense()[:12, 50:], rtol=1e-5)


def test_an_empty_map_expects_nothing():
    fit = find_expected(scipy.sparse.csr_array((20, 20), dtype=np.int64))
    assert not fit.dense().any() and not fit.coverage.any()
    assert np.isfinite(find_expected(scipy.sparse.csr_array(np.diag([3, 0, 0, 0]))).dense()).all()


def test_trans_coverage_predicts_trans_contacts_better_than_the_cis_bias(data_dir):
    """The Poisson log likelihood of contacts that were set aside, on every pair of real chromosomes."""
    whole = open_contacts(data_dir / "plasmodium_rings_10kb.cool")
    shallow = thin(whole, 1 / 16, seed=1)
    pairs = [pair for pair in shallow.pairs() if pair[0] != pair[1]][::5]
    cis = {chrom: find_expected(shallow.matrix(chrom)).bias for chrom in shallow.chromsizes}
    gain = 0.0
    for pair, fit in TransSums(shallow).expected(pairs).items():
        seen = np.outer(*(cis[chrom] > 0 for chrom in pair)) & (fit.dense() > 0)
        held = (whole.matrix(*pair) - shallow.matrix(*pair)).toarray()[seen]
        logs = []
        for mean in (fit.dense(), np.outer(*(cis[chrom] for chrom in pair))):
            shares = mean[seen] / mean[seen].sum()
            logs.append((held * np.log(shares)).sum())
        gain += logs[0] - logs[1]
    assert gain > 1000
