"""What a file says of its map, from the writer to the reader."""

import h5py
import pytest

from hicfm_jax.contacts import open_contacts, simulate, thin, write_contacts


@pytest.mark.slow  # writes all formats
def test_metadata_comes_back(tmp_path):
    contact_map = simulate(contacts=1e4, resolution=500_000, chromosomes=["Chr4"])
    assert contact_map.metadata == {}
    noted = {"enhancement": {"trained_on": {"leaf": ["Chr1"]}}}
    for name in ("map.cool", "map.mcool"):
        write_contacts(contact_map, tmp_path / name, metadata=noted)
        back = open_contacts(tmp_path / name, 500_000)
        for held in (back, back.coarsen(2), thin(back, 0.5, 0), open_contacts(tmp_path / name, 1_000_000)):
            assert held.metadata["enhancement"] == noted["enhancement"]


def test_metadata_that_is_none_is_left_out(tmp_path):
    contact_map = simulate(contacts=1e4, resolution=500_000, chromosomes=["Chr4"])
    path = tmp_path / "map.cool"
    write_contacts(contact_map, path)
    for text in ("{", "[1]", "null"):
        with h5py.File(path, "r+") as file:
            file.attrs["metadata"] = text
        assert open_contacts(path).metadata == {}
