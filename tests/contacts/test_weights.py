"""Balanced values equal those of cooler and hictk, and nobody guesses what kind a weight is."""

import cooler
import h5py
import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import open_contacts
from hicfm_jax.errors import InputError


def close(contact_map, pair, expected):
    """Compares with a matrix, dense or sparse, that has NaN where a bin has no weight."""
    expected = scipy.sparse.csr_array(expected)
    expected.data = np.nan_to_num(expected.data)
    expected = (scipy.sparse.triu(expected) if pair[0] == pair[1] else expected).tocsr()
    expected.eliminate_zeros()
    found = contact_map.matrix(*pair)
    np.testing.assert_array_equal(found.indptr, expected.indptr)
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.data, expected.data, rtol=1e-6)
    assert found.dtype == np.float64


def add_column(path, name, values, **attributes):
    with h5py.File(path, "r+") as file:
        column = file["bins"].create_dataset(name, data=values)
        column.attrs.update(attributes)


def test_small_map_both_kinds(cool):
    path, dense = cool
    weights = np.linspace(0.5, 2, 16)
    weights[3] = np.nan
    add_column(path, "weight", weights)
    add_column(path, "KR", 1 / weights, divisive_weights=True)
    whole = dense * np.outer(weights, weights)
    for name in ("weight", "KR"):
        contact_map = open_contacts(path, weight=name)
        close(contact_map, ("Chr1", "Chr1"), whole[:11, :11])
        close(contact_map, ("Chr1", "Chr2"), whole[:11, 11:15])
        assert contact_map.matrix("Chr1")[[3], :].nnz == 0, "a bin without weight has no pixels"
        assert contact_map.total_count == pytest.approx(np.nansum(whole))
    assert open_contacts(path).total_count == dense.sum()


def test_kind_is_asked_for_where_the_file_does_not_say(cool):
    path, dense = cool
    weights = np.linspace(1, 2, 16)
    add_column(path, "VC", weights)
    with pytest.raises(InputError, match="does not state whether its weights 'VC' are multiplicative"):
        open_contacts(path, weight="VC")
    for kind, factor in (("divisive", 1 / weights), ("multiplicative", weights)):
        contact_map = open_contacts(path, weight="VC", weight_kind=kind)
        close(contact_map, ("Chr1", "ChrM"), (dense * np.outer(factor, factor))[:11, 15:])
    with pytest.raises(InputError, match="weight_kind='both' is no kind"):
        open_contacts(path, weight="VC", weight_kind="both")
    with pytest.raises(InputError, match="needs a weight"):
        open_contacts(path, weight_kind="divisive")


def test_contradiction_is_an_error(cool):
    add_column(cool[0], "weight", np.ones(16))
    with pytest.raises(
        InputError, match="'weight' are multiplicative, which contradicts weight_kind='divisive'"
    ):
        open_contacts(cool[0], weight="weight", weight_kind="divisive")


def test_weights_belong_to_one_resolution(cool):
    path = cool[0].with_suffix(".mcool")
    cooler.zoomify_cooler(str(cool[0]), str(path), [1000, 2000], chunksize=1000)
    with h5py.File(path, "r+") as file:
        file["resolutions/1000/bins/weight"] = np.ones(16)
    with pytest.raises(InputError, match="has weights 'weight' at 1000 bp, not at 2000 bp"):
        open_contacts(path, 2000, weight="weight")
    with pytest.raises(InputError, match="at 1000 bp, not at 4000 bp"):
        open_contacts(path, 4000, weight="weight")
    with pytest.raises(InputError, match="has no weights 'KR', its columns of weights: weight"):
        open_contacts(path, 1000, weight="KR")
    assert open_contacts(path, 1000, weight="weight").total_count == cool[1].sum()


@pytest.mark.parametrize(
    ("uri", "pairs"),
    [
        ("arabidopsis_col0_30kb.cool", [("Chr1", "Chr1"), ("Chr4", "Chr4")]),
        ("yeast_w303_2kb.cool", [("chr1", "chr1"), ("chr1", "chr4")]),
        ("gm12878_chr21.mcool::/10000", [("21", "21")]),
        ("fly_dm6_100kb.mcool::/resolutions/100000", [("chr2L", "chr2L"), ("chr2L", "chrX")]),
    ],
)
def test_real_weights_equal_coolers(data_dir, uri, pairs):
    contact_map = open_contacts(data_dir / uri, weight="weight")
    clr = cooler.Cooler(str(data_dir / uri))
    names = clr.chromnames
    for pair in pairs:
        pair = tuple(name if name in names else names[index] for index, name in enumerate(pair))
        close(contact_map, pair, clr.matrix(balance=True, sparse=True).fetch(*pair))


def test_real_divisive_columns_equal_coolers(data_dir):
    """Juicer's columns in a cooler: it does not say what they are, so the user must."""
    path = data_dir / "fly_dm6_100kb.mcool"
    clr = cooler.Cooler(f"{path}::/resolutions/100000")
    for name in ("KR", "VC", "VC_SQRT", "SCALE"):
        with pytest.raises(InputError, match="give weight_kind"):
            open_contacts(path, 100_000, weight=name)
        contact_map = open_contacts(path, 100_000, weight=name, weight_kind="divisive")
        expected = clr.matrix(balance=name, divisive_weights=True).fetch("chr2L", "chr4")
        close(contact_map, ("chr2L", "chr4"), expected)


@pytest.mark.needs("hictkpy")
def test_hic_normalization_equals_hictk(data_dir, engine):
    import hictkpy

    path = data_dir / "fly_dm6_100kb.hic"
    contact_map = open_contacts(path, 100_000, engine, weight="ICE")
    file = hictkpy.File(path, 100_000)
    for pair in [("chr2L", "chr2L"), ("chr2L", "chrX"), ("chr4", "chrY")]:
        found = file.fetch(*pair, normalization="ICE", count_type="float64").to_numpy()
        close(contact_map, pair, found)
    with pytest.raises(InputError, match="no weights 'KR' at 100000 bp, the normalizations it has: ICE"):
        open_contacts(path, 100_000, engine, weight="KR")
    with pytest.raises(InputError, match="'ICE' are divisive"):
        open_contacts(path, 100_000, engine, weight="ICE", weight_kind="multiplicative")
    with pytest.raises(InputError, match="weights apply to one resolution only"):
        open_contacts(path, 200_000, engine, weight="ICE")
