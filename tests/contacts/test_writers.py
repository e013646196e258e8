"""Writing: cooler reads back the same numbers, and nothing half-written is left."""

import builtins
import errno
import os

import cooler
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.formats import cool as write_cool
from hicfm_jax.errors import InputError


def test_mcool_levels_sum_up_and_open_in_cooler(cool, tmp_path):
    contact_map = open_contacts(cool[0])
    path = tmp_path / "out.mcool"
    # The genome of 15 bins is far below one screen: one level.
    assert write_contacts(contact_map, path, metadata={"simulated": True}) == [1000]
    info = cooler.Cooler(f"{path}::/resolutions/1000").info
    assert info["metadata"] == {"name": str(cool[0]), "simulated": True}
    assert cooler.fileops.is_multires_file(str(path))


@pytest.mark.slow  # balances four zoom levels
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


@pytest.mark.parametrize("pixels", [1, 7, 50, 10**6])
def test_a_file_is_the_same_in_pieces_of_any_size(tmp_path, rng, monkeypatch, pixels):
    """Of chromosomes with trans contacts, with none, and with a pair that is missing."""
    monkeypatch.setattr(write_cool, "PIXELS_WRITTEN", pixels)
    sizes = {"A": 9, "B": 14, "C": 5}
    matrices = {
        (one, two): np.triu(rng.poisson(1, (sizes[one], sizes[two])), 0 if one == two else -99)
        for one, two in [("A", "A"), ("A", "B"), ("A", "C"), ("B", "B"), ("C", "C")]
    }
    sparse = {pair: scipy.sparse.csr_array(counts) for pair, counts in matrices.items()}
    write_contacts(
        ContactMap({name: 1000 * n for name, n in sizes.items()}, 1000, sparse), tmp_path / "m.cool"
    )
    held = open_contacts(tmp_path / "m.cool")
    for pair, counts in matrices.items():
        np.testing.assert_array_equal(held.matrix(*pair).toarray(), counts, err_msg=str(pair))
    assert held.matrix("B", "C").nnz == 0


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


FORMATS = ["map.cool", "map.mcool", "map.pairs", "map.pairs.gz", "map.npz"]


@pytest.mark.parametrize("name", FORMATS)
def test_full_disk_is_said_before_writing(cool, tmp_path, monkeypatch, name):
    contact_map = open_contacts(cool[0])
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("Usage", (), {"free": 1000})())
    with pytest.raises(OSError, match="are needed there") as caught:
        write_contacts(contact_map, tmp_path / name)
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename.endswith(name)
    assert [entry.name for entry in tmp_path.iterdir()] == [cool[0].name]


class DiskThatFills:
    """Lets some bytes through, then is full, as a disk that others write to as well."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return self.file.write(data)

    def __getattr__(self, name):
        return getattr(self.file, name)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.file.close()


@pytest.mark.parametrize("name", ["map.pairs", "map.pairs.gz", "map.npz"])
def test_disk_that_fills_while_writing_leaves_the_old_file(cool, tmp_path, monkeypatch, name):
    contact_map = open_contacts(cool[0])
    (tmp_path / name).write_bytes(b"old")
    plain_open = builtins.open

    def opened(file, mode="r", *args, **kwargs):
        result = plain_open(file, mode, *args, **kwargs)
        return DiskThatFills(result, 30) if "w" in mode else result

    monkeypatch.setattr("builtins.open", opened)
    monkeypatch.setattr("io.open", opened)
    with pytest.raises(OSError, match="No space left") as caught:
        write_contacts(contact_map, tmp_path / name)
    monkeypatch.undo()
    assert caught.value.filename.endswith(name)
    assert (tmp_path / name).read_bytes() == b"old"
    assert {entry.name for entry in tmp_path.iterdir()} == {name, cool[0].name}


def test_weights_are_coolers(cool, tmp_path, rng):
    n = 120
    distance = np.abs(np.subtract.outer(np.arange(n), np.arange(n)))
    dense = np.triu(rng.poisson(300 / (distance + 1) * np.outer(*[rng.uniform(0.5, 2, n)] * 2)))
    sizes = {"Chr1": 79_500, "Chr2": 40_000}
    matrices = {
        ("Chr1", "Chr1"): scipy.sparse.csr_array(dense[:80, :80]),
        ("Chr1", "Chr2"): scipy.sparse.csr_array(dense[:80, 80:]),
        ("Chr2", "Chr2"): scipy.sparse.csr_array(dense[80:, 80:]),
    }
    write_contacts(ContactMap(sizes, 1000, matrices), tmp_path / "ours.cool", balance=True)

    bin1, bin2 = np.nonzero(dense)
    pixels = pd.DataFrame({"bin1_id": bin1, "bin2_id": bin2, "count": dense[bin1, bin2]})
    theirs = str(tmp_path / "theirs.cool")
    cooler.create_cooler(theirs, cooler.binnify(pd.Series(sizes), 1000), pixels)
    weights, _ = cooler.balance_cooler(cooler.Cooler(theirs))
    ours = cooler.Cooler(str(tmp_path / "ours.cool")).bins()["weight"][:]
    assert np.isfinite(ours).sum() > 100
    np.testing.assert_allclose(ours, weights, rtol=1e-6)


@pytest.mark.parametrize("name", ["map.pairs", "map.pairs.gz", "map.npz", "map.hic"])
def test_weights_are_refused_where_they_have_no_place(cool, tmp_path, name):
    with pytest.raises(InputError, match="stores no weights"):
        write_contacts(open_contacts(cool[0]), tmp_path / name, balance=True)
    assert not (tmp_path / name).exists()


def test_bad_output_paths(cool, tmp_path):
    contact_map = open_contacts(cool[0])
    with pytest.raises(InputError, match="cannot write .txt, expected one of .cool, .mcool, .*.pairs"):
        write_contacts(contact_map, tmp_path / "map.txt")
    with pytest.raises(InputError, match="there is no folder"):
        write_contacts(contact_map, tmp_path / "absent" / "map.cool")
    (tmp_path / "folder.cool").mkdir()
    with pytest.raises(InputError, match="is a directory"):
        write_contacts(contact_map, tmp_path / "folder.cool")
