"""Standard deviations of counts, in memory and in files."""

import cooler
import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts

SIZES = {"Chr1": 700_000, "Chr2": 21_500}


@pytest.fixture
def sure(rng):
    """A map with standard deviations, one pixel of which is empty in both."""
    maps = []
    for low in (0.5, 1.0):
        matrices = {}
        for chrom, length in SIZES.items():
            values = np.triu(np.rint(1024 * rng.uniform(low, low + 2, [-(-length // 1000)] * 2)) / 1024)
            values[0, 3] = 0
            matrices[chrom, chrom] = scipy.sparse.csr_array(values)
        maps.append(ContactMap(SIZES, 1000, matrices, "sure", sd=maps[0] if maps else None))
    return maps[1]


def test_files_hold_them_and_zoom_levels_add_up_variances(sure, tmp_path):
    for name in ("deep.cool", "deep.mcool"):
        write_contacts(sure, tmp_path / name)
        same = open_contacts(tmp_path / name, 1000)
        for chrom in SIZES:
            np.testing.assert_array_equal(same.matrix(chrom).toarray(), sure.matrix(chrom).toarray())
            np.testing.assert_allclose(same.sd.matrix(chrom).toarray(), sure.sd.matrix(chrom).toarray())
    zoomed = open_contacts(tmp_path / "deep.mcool", 2000)
    found, expected = zoomed.sd.matrix("Chr1").toarray(), sure.coarsen(2).sd.matrix("Chr1").toarray()
    fine = sure.sd.matrix("Chr1").toarray()[:2, 2:4]
    assert found[0, 1] == pytest.approx(np.sqrt((fine**2).sum()))
    np.testing.assert_allclose(found, expected)
    assert list(cooler.Cooler(f"{tmp_path}/deep.mcool::/resolutions/2000").pixels().columns)[2:] == [
        "count",
        "sd",
    ]
    write_contacts(sure, tmp_path / "deep.npz")
    with np.load(tmp_path / "deep.npz") as file:
        np.testing.assert_array_equal(file["sd_0_0"], sure.sd.matrix("Chr1").data)


def test_a_map_without_them_has_none(tmp_path, rng):
    plain = ContactMap(SIZES, 1000, {("Chr1", "Chr1"): scipy.sparse.csr_array(np.eye(700, dtype=int))})
    write_contacts(plain, tmp_path / "plain.cool")
    assert open_contacts(tmp_path / "plain.cool").sd is None and plain.coarsen(2).sd is None
