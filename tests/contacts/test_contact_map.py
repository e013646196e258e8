"""ContactMap: which contacts it holds, how they are summed, and what it refuses."""

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError

SIZES = {"Chr1": 1050, "Chr2": 400}  # 11 and 4 bins of 100 bp


def make_map(rng, dtype=np.int64):
    cis1 = np.triu(rng.poisson(2.0, (11, 11))).astype(dtype)
    cis2 = np.triu(rng.poisson(2.0, (4, 4))).astype(dtype)
    trans = rng.poisson(1.0, (11, 4)).astype(dtype)
    dense = {("Chr1", "Chr1"): cis1, ("Chr2", "Chr2"): cis2, ("Chr1", "Chr2"): trans}
    return ContactMap(SIZES, 100, {k: scipy.sparse.csr_array(v) for k, v in dense.items()}), dense


def test_holds_each_pair_once_and_transposes(rng):
    contact_map, dense = make_map(rng)
    assert contact_map.n_bins("Chr1") == 11
    assert contact_map.total_count == sum(m.sum() for m in dense.values())
    np.testing.assert_array_equal(contact_map.matrix("Chr1").toarray(), dense["Chr1", "Chr1"])
    np.testing.assert_array_equal(contact_map.matrix("Chr2", "Chr1").toarray(), dense["Chr1", "Chr2"].T)


def test_given_in_the_other_order_is_the_same_map(rng):
    contact_map, dense = make_map(rng)
    swapped = ContactMap(SIZES, 100, {("Chr2", "Chr1"): scipy.sparse.csr_array(dense["Chr1", "Chr2"].T)})
    assert swapped.pairs() == [("Chr1", "Chr2")]
    np.testing.assert_array_equal(swapped.matrix("Chr1", "Chr2").toarray(), dense["Chr1", "Chr2"])


def test_absent_pair_is_all_zero():
    contact_map = ContactMap(SIZES, 100, {})
    assert contact_map.matrix("Chr2", "Chr1").shape == (4, 11)
    assert contact_map.matrix("Chr1").nnz == 0
    assert contact_map.total_count == 0


def test_coarsening_sums_bins(rng):
    contact_map, dense = make_map(rng)
    coarse = contact_map.coarsen(3)
    padded = np.zeros((12, 6))
    padded[:11, :4] = dense["Chr1", "Chr2"]
    np.testing.assert_array_equal(
        coarse.matrix("Chr1", "Chr2").toarray(), padded.reshape(4, 3, 2, 3).sum(axis=(1, 3))
    )
    assert coarse.resolution == 300
    assert coarse.chromsizes == SIZES
    assert coarse.total_count == contact_map.total_count
    assert coarse.matrix("Chr1").sum() == dense["Chr1", "Chr1"].sum()
    assert scipy.sparse.tril(coarse.matrix("Chr1"), -1).nnz == 0


def test_coarsening_does_not_wrap_around_in_32_bits():
    big = scipy.sparse.csr_array(np.triu(np.full((4, 4), 2_000_000_000, dtype=np.int32)))
    contact_map = ContactMap({"Chr2": 400}, 100, {("Chr2", "Chr2"): big})
    assert contact_map.coarsen(4).matrix("Chr2")[0, 0] == 10 * 2_000_000_000
    assert contact_map.total_count == 10 * 2_000_000_000


def test_loads_lazily_and_keeps_the_last_matrix_only():
    asked = []

    def load(chrom1, chrom2):
        asked.append((chrom1, chrom2))
        return scipy.sparse.csr_array(
            (contact_map.n_bins(chrom1), contact_map.n_bins(chrom2)), dtype=np.int64
        )

    contact_map = ContactMap(SIZES, 100, load)
    assert asked == []
    contact_map.matrix("Chr2", "Chr1")
    contact_map.matrix("Chr1", "Chr2")
    assert asked == [("Chr1", "Chr2")]
    contact_map.matrix("Chr1")
    contact_map.matrix("Chr1", "Chr2")
    assert asked == [("Chr1", "Chr2"), ("Chr1", "Chr1"), ("Chr1", "Chr2")]


def test_knows_whole_counts_from_fractions(rng):
    whole, dense = make_map(rng, dtype=np.float64)
    assert np.issubdtype(whole.matrix("Chr1").dtype, np.integer)
    broken = dense["Chr2", "Chr2"].copy()
    broken[0, 1] = 0.5
    fractions = ContactMap(SIZES, 100, {("Chr2", "Chr2"): scipy.sparse.csr_array(broken)})
    assert fractions.matrix("Chr2").dtype == np.float64
    assert fractions.total_count == broken.sum()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_refuses_counts_that_are_no_counts(bad):
    matrix = scipy.sparse.csr_array(([1.0, bad], ([0, 1], [1, 2])), (4, 4))
    with pytest.raises(InputError, match="mymap, chromosome Chr2 holds the count"):
        ContactMap(SIZES, 100, {("Chr2", "Chr2"): matrix}, name="mymap")


def test_refuses_both_triangles_and_wrong_shapes():
    both = scipy.sparse.csr_array(np.ones((4, 4)))
    with pytest.raises(InputError, match="below the diagonal"):
        ContactMap(SIZES, 100, {("Chr2", "Chr2"): both})
    with pytest.raises(InputError, match=r"shape \(4, 4\), expected \(11, 11\)"):
        ContactMap(SIZES, 100, {("Chr1", "Chr1"): both})


@pytest.mark.parametrize(
    ("asked", "found"), [("Chr1", "Chr1"), ("1", "Chr1"), ("chr1", "Chr1"), ("x", "chrX")]
)
def test_finds_a_chromosome_by_what_users_call_it(asked, found):
    assert ContactMap({"Chr1": 100, "chrX": 100}, 10, {}).find_chromosome(asked) == found


def test_unknown_or_ambiguous_chromosome_lists_the_names():
    contact_map = ContactMap({"1": 100, "chr1": 100, "2": 50}, 10, {})
    for call in (contact_map.find_chromosome, contact_map.matrix, contact_map.n_bins):
        with pytest.raises(InputError, match="choose from 1, chr1, 2"):
            call("Chr1")
