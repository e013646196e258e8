"""Writing: cooler reads back the same numbers, and nothing half-written is left."""

import cooler
import numpy as np
import pytest
import scipy.sparse
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.errors import InputError


@st.composite
def contact_maps(draw):
    lengths = draw(st.lists(st.integers(1, 700), min_size=1, max_size=3))
    sizes = {f"chr{i}": length for i, length in enumerate(lengths)}
    values = draw(st.sampled_from([st.integers(0, 2**31), st.floats(0, 1e12, allow_subnormal=False)]))
    matrices = {}
    for i, one in enumerate(sizes):
        for two in list(sizes)[i:]:
            if draw(st.booleans()):
                shape = -(-sizes[one] // 100), -(-sizes[two] // 100)
                dense = draw(hnp.arrays(np.float64, shape, elements=values.map(float)))
                matrices[one, two] = scipy.sparse.csr_array(np.triu(dense) if one == two else dense)
    return ContactMap(sizes, 100, matrices)


@settings(max_examples=15, deadline=None)
@given(contact_map=contact_maps())
def test_cool_round_trip(tmp_path_factory, contact_map):
    path = tmp_path_factory.mktemp("round") / "trip.cool"
    write_contacts(contact_map, path)
    again = open_contacts(path)
    assert again.chromsizes == contact_map.chromsizes
    assert again.total_count == pytest.approx(contact_map.total_count, rel=1e-12)
    for pair in contact_map.pairs():
        np.testing.assert_array_equal(again.matrix(*pair).toarray(), contact_map.matrix(*pair).toarray())
    integers = np.issubdtype(cooler.Cooler(str(path)).pixels()[:]["count"].dtype, np.integer)
    kinds = {contact_map.matrix(*pair).dtype.kind for pair in contact_map.pairs()}
    assert integers == ("f" not in kinds)


def test_mcool_levels_sum_up_and_open_in_cooler(cool, tmp_path):
    contact_map = open_contacts(cool[0])
    path = tmp_path / "out.mcool"
    # The genome of 15 bins is far below one screen: one level.
    assert write_contacts(contact_map, path, metadata={"simulated": True}) == [1000]
    info = cooler.Cooler(f"{path}::/resolutions/1000").info
    assert info["metadata"] == {"name": str(cool[0]), "simulated": True}
    assert cooler.fileops.is_multires_file(str(path))


def test_zoom_levels_and_balancing(tmp_path, rng):
    n = 900
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    dense = np.triu(rng.poisson(100 / (distance + 1)))
    contact_map = ContactMap({"Chr1": 900_000}, 1000, {("Chr1", "Chr1"): scipy.sparse.csr_array(dense)})
    path = tmp_path / "zoom.mcool"
    assert write_contacts(contact_map, path, balance=True, metadata={"seed": 3}) == [1000, 2000]
    for level in (1000, 2000):
        clr = cooler.Cooler(f"{path}::/resolutions/{level}")
        assert clr.info["sum"] == dense.sum()
        assert clr.info["metadata"]["seed"] == 3
        held = open_contacts(path, level).matrix("Chr1")
        assert (held != contact_map.coarsen(level // 1000).matrix("Chr1")).nnz == 0
        balanced = clr.matrix(balance=True)[:]
        off = np.abs(np.subtract.outer(np.arange(len(balanced)), np.arange(len(balanced)))) >= 2
        sums = np.nansum(np.where(off, balanced, 0), axis=0)
        assert sums[sums > 0].std() / sums[sums > 0].mean() < 0.01, "balanced marginals are flat"


def test_replaces_a_file_and_leaves_no_other(cool):
    path, dense = cool
    # Reads from the file that it replaces.
    write_contacts(open_contacts(path).coarsen(2), path)
    assert open_contacts(path).resolution == 2000
    assert open_contacts(path).total_count == dense.sum()
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_failure_leaves_the_old_file_alone(cool, tmp_path):
    path, _ = cool
    before = path.read_bytes()

    def load(chrom1, chrom2):
        if chrom1 == "Chr2":
            raise InputError("the source broke")
        return scipy.sparse.csr_array(np.triu(np.ones((4, 4), dtype=np.int64)))

    broken = ContactMap({"Chr1": 4, "Chr2": 4}, 1, load, pairs=lambda: [("Chr1", "Chr1"), ("Chr2", "Chr2")])
    with pytest.raises(InputError, match="the source broke"):
        write_contacts(broken, path)
    assert path.read_bytes() == before
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_full_disk_is_said_before_writing(cool, monkeypatch):
    contact_map = open_contacts(cool[0])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="No space left|are needed there") as caught:
        write_contacts(contact_map, cool[0].with_name("new.mcool"))
    assert caught.value.filename.endswith("new.mcool")
    assert not cool[0].with_name("new.mcool").exists()


def test_bad_output_paths(cool, tmp_path):
    contact_map = open_contacts(cool[0])
    with pytest.raises(InputError, match="expected .cool or .mcool"):
        write_contacts(contact_map, tmp_path / "map.txt")
    with pytest.raises(InputError, match="there is no folder"):
        write_contacts(contact_map, tmp_path / "absent" / "map.cool")
    (tmp_path / "folder.cool").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        write_contacts(contact_map, tmp_path / "folder.cool")
