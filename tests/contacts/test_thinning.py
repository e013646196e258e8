"""Thinning: each contact kept by itself, reproducibly."""

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, thin
from hicfm_jax.errors import InputError


@pytest.fixture
def deep(rng):
    dense = np.triu(rng.poisson(40.0, (150, 150)))
    return ContactMap(
        {"Chr1": 1500, "Chr2": 1500},
        10,
        {
            ("Chr1", "Chr1"): scipy.sparse.csr_array(dense),
            ("Chr2", "Chr2"): scipy.sparse.csr_array(dense),
            ("Chr1", "Chr2"): scipy.sparse.csr_array(dense),
        },
    )


@pytest.mark.parametrize("fraction", [1 / 16, 0.5])
def test_kept_contacts_are_binomial(deep, fraction):
    thinned = thin(deep, fraction, seed=3)
    before, after = deep.matrix("Chr1").toarray(), thinned.matrix("Chr1").toarray()
    assert (after <= before).all()
    triangle = np.triu_indices(150)
    standard = (after - fraction * before)[triangle] / np.sqrt(before * fraction * (1 - fraction))[triangle]
    n = len(triangle[0])
    # Mean 0 and variance 1 over 11,325 pixels; four standard errors.
    assert abs(standard.mean()) < 4 / np.sqrt(n)
    assert abs(standard.var() - 1) < 4 * np.sqrt(2 / n) * 1.1


def test_total_is_what_was_kept(deep):
    thinned = thin(deep, 0.25, seed=0)
    kept = sum(thinned.matrix(*pair).sum() for pair in thinned.pairs())
    assert thinned.total_count == kept
    assert abs(kept / deep.total_count - 0.25) < 4 * np.sqrt(0.25 * 0.75 / deep.total_count)


def test_order_of_asking_does_not_matter(deep):
    one, two = thin(deep, 0.3, seed=7), thin(deep, 0.3, seed=7)
    first = one.matrix("Chr1").toarray(), one.matrix("Chr2").toarray()
    _ = two.total_count
    second = two.matrix("Chr2").toarray(), two.matrix("Chr1").toarray()
    np.testing.assert_array_equal(first[0], second[1])
    np.testing.assert_array_equal(first[1], second[0])
    np.testing.assert_array_equal(
        one.matrix("Chr2", "Chr1").toarray(), two.matrix("Chr1", "Chr2").toarray().T
    )


def test_pairs_and_seeds_draw_differently(deep):
    thinned = thin(deep, 0.5, seed=1)
    # The three matrices hold the same counts, so equal draws would be a shared random stream.
    same = np.mean(thinned.matrix("Chr1").toarray() == thinned.matrix("Chr2").toarray())
    assert same < 0.7  # below the diagonal both are 0
    assert (thinned.matrix("Chr1") != thin(deep, 0.5, seed=2).matrix("Chr1")).nnz > 1000


def test_fraction_one_keeps_all(deep):
    assert (thin(deep, 1, seed=0).matrix("Chr1") != deep.matrix("Chr1")).nnz == 0


def test_deep_map_is_left_alone(deep):
    before = deep.matrix("Chr1").copy()
    thin(deep, 0.1, seed=0).matrix("Chr1")
    assert (deep.matrix("Chr1") != before).nnz == 0


@pytest.mark.parametrize("fraction", [0, -0.1, 1.01, float("nan")])
def test_bad_fraction(deep, fraction):
    with pytest.raises(InputError, match="above 0, at most 1"):
        thin(deep, fraction, seed=0)


def test_bad_seed(deep):
    with pytest.raises(InputError, match="seed=-1"):
        thin(deep, 0.5, seed=-1)


def test_fractions_of_contacts_are_refused():
    balanced = scipy.sparse.csr_array(np.triu(np.full((3, 3), 0.5)))
    contact_map = ContactMap({"Chr1": 30}, 10, {("Chr1", "Chr1"): balanced}, name="balanced.cool")
    with pytest.raises(InputError, match="balanced.cool, chromosome Chr1, has counts that are not whole"):
        thin(contact_map, 0.5, seed=0).matrix("Chr1")


def test_real_map_thinned_to_a_sixteenth(data_dir):
    deep = open_contacts(data_dir / "arabidopsis_col0_30kb.cool")
    thinned = thin(deep, 1 / 16, seed=0)
    assert abs(thinned.total_count / 104_097_582 - 1 / 16) < 4 * np.sqrt(1 / 16 / 104_097_582)
