"""Both engines and our writer agree on every `.hic` file, and none of them trusts it blindly."""

import struct
import warnings

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.formats import reading_process
from hicfm_jax.contacts.formats.hic_engines import ENGINES
from hicfm_jax.errors import InputError, InputNote

pytestmark = pytest.mark.needs("hictkpy")


def test_reads_what_hictk_wrote(hic, engine):
    path, dense = hic
    contact_map = open_contacts(path, 1000, engine)
    assert contact_map.chromsizes == {"Chr1": 10_500, "Chr2": 4_000, "ChrM": 700}
    assert contact_map.total_count == dense.sum()
    np.testing.assert_array_equal(contact_map.matrix("Chr1").toarray(), dense[:11, :11])
    np.testing.assert_array_equal(contact_map.matrix("Chr1", "ChrM").toarray(), dense[:11, 15:])
    np.testing.assert_array_equal(contact_map.matrix("Chr2", "Chr1").toarray(), dense[:11, 11:15].T)


def test_hictk_is_the_default_engine(hic, monkeypatch):
    monkeypatch.delitem(ENGINES, "straw")
    assert open_contacts(hic[0], 1000).total_count == hic[1].sum()


def test_reading_in_bands_is_the_same(hic, engine, monkeypatch):
    path, dense = hic
    reader = ENGINES[engine](str(path))
    monkeypatch.setattr(reader, "pixels_at_once", 20)
    for chrom2, columns in (("Chr1", slice(11)), ("Chr2", slice(11, 15))):
        found = np.zeros_like(dense[:11, columns])
        parts = list(reader.pixels(1000, "Chr1", chrom2))
        for rows, cols, counts in parts:
            found[rows, cols] += counts.astype(int)
        assert len(parts) > 2
        np.testing.assert_array_equal(found, dense[:11, columns])


def test_resolutions_follow_the_rule_of_mcool(hic, cool, engine):
    path, _ = hic
    made, fine = open_contacts(path, 10_000, engine), open_contacts(cool[0], 10_000)
    for pair in fine.pairs():
        np.testing.assert_array_equal(made.matrix(*pair).toarray(), fine.matrix(*pair).toarray())
    with pytest.raises(InputError, match="several resolutions, 1000, 2000, 5000 bp"):
        open_contacts(path, engine=engine)
    with pytest.raises(InputError, match="cannot give 2500 bp: it holds 1000, 2000, 5000 bp"):
        open_contacts(path, 2500, engine)


@pytest.mark.slow  # reads a genome three times: straw returns each pixel as a Python object
@pytest.mark.parametrize(
    ("engine", "resolution"),
    [
        ("hictk", 100_000),
        ("hictk", 1_000_000),  # not in the file
        pytest.param("straw", 100_000, marks=pytest.mark.needs("hicstraw")),
    ],
)
def test_real_map_equals_its_mcool(data_dir, engine, resolution):
    contact_map = open_contacts(data_dir / "fly_dm6_100kb.hic", resolution, engine)
    same = open_contacts(data_dir / "fly_dm6_100kb.mcool", resolution)
    assert contact_map.chromsizes == same.chromsizes
    assert contact_map.pairs() == same.pairs()
    for pair in same.pairs():
        assert (contact_map.matrix(*pair) != same.matrix(*pair)).nnz == 0, pair
    assert same.total_count == 119_208_613
    if engine == "hictk":  # reads the whole file again
        assert contact_map.total_count == 119_208_613


def test_written_map_reads_back_with_true_lengths_and_levels(tmp_path, rng, engine):
    import hictkpy

    sizes = {"Chr:1": 300_300, "Chr2": 150_000, "ChrM": 700}
    cis = scipy.sparse.csr_array(np.triu(rng.poisson(2.0, (301, 301))))
    trans = scipy.sparse.random_array(
        (301, 150), density=0.1, rng=rng, data_sampler=lambda size: np.full(size, 0.5)
    )
    contact_map = ContactMap(sizes, 1000, {("Chr:1", "Chr:1"): cis, ("Chr:1", "Chr2"): trans})
    path = tmp_path / "out.hic"
    write_contacts(contact_map, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["out.hic"]
    assert hictkpy.MultiResFile(path).resolutions().tolist() == [1000, 2000]
    assert hictkpy.File(path, 1000).fetch(count_type="float64").sum() == contact_map.total_count
    again = open_contacts(path, 1000, engine)
    assert again.chromsizes == sizes
    assert again.total_count == contact_map.total_count
    for pair in contact_map.pairs():
        assert (again.matrix(*pair) != contact_map.matrix(*pair)).nnz == 0
    coarse = contact_map.coarsen(2).matrix("Chr:1")
    assert (open_contacts(path, 2000, engine).matrix("Chr:1") != coarse).nnz == 0


def test_map_without_contacts(tmp_path, engine):
    write_contacts(ContactMap({"Chr1": 5000}, 1000, {}), tmp_path / "none.hic")
    contact_map = open_contacts(tmp_path / "none.hic", engine=engine)
    assert contact_map.chromsizes == {"Chr1": 5000}
    assert contact_map.total_count == contact_map.matrix("Chr1").nnz == 0


@pytest.mark.parametrize("count", [0.1, 2**24 + 1])
def test_counts_that_the_format_would_change_are_refused(tmp_path, count):
    matrix = scipy.sparse.csr_array(np.array([[count]]))
    with pytest.raises(InputError, match=r"single precision, which would change .* of Chr1:"):
        write_contacts(ContactMap({"Chr1": 50}, 100, {("Chr1", "Chr1"): matrix}), tmp_path / "map.hic")
    assert not list(tmp_path.iterdir())


def test_full_disk_leaves_nothing(hic, monkeypatch):
    contact_map = open_contacts(hic[0], 1000)
    target = hic[0].with_name("new.hic")

    def fail(*_):
        raise RuntimeError("an error occurred while writing file: basic_ios::clear: iostream error")

    monkeypatch.setattr("hictkpy.hic.FileWriter.finalize", fail)
    with pytest.raises(OSError, match="No space left") as caught:
        write_contacts(contact_map, target)
    assert caught.value.filename == str(target)
    assert not [entry for entry in target.parent.iterdir() if "new" in entry.name]


def damage(path, at, replacement):
    data = bytearray(path.read_bytes())
    data[at : at + len(replacement)] = replacement
    path.write_bytes(data)


def test_lost_counts_are_noticed(hic, engine):
    """Straw takes a block that it cannot unpack for an empty one."""
    path, _ = hic
    damage(path, 141, bytes(200))  # blocks of the finest resolution, which follow the header
    with pytest.raises(InputError, match="small.hic"):
        _ = open_contacts(path, 1000, engine).total_count


def test_index_that_lists_nothing_is_damage(hic, engine):
    path, _ = hic
    (footer,) = struct.unpack_from("<q", path.read_bytes(), 8)
    damage(path, footer + 8, struct.pack("<i", 0))
    with pytest.raises(InputError, match="its index lists no matrix"):
        open_contacts(path, 1000, engine)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"chr1\t0\t5\n" * 50, "not a .hic file"),
        (b"HIC\0\x05\0\0\0" + bytes(100), "of version 5, expected 6 to 9"),
        (b"HIC\0\x09\0\0\0", "may be truncated, damaged"),
        (b"HIC\0\x09\0\0\0" + b"\xff" * 500, "corrupted"),
    ],
)
def test_bad_files_are_one_sentence(tmp_path, engine, content, sentence):
    path = tmp_path / "bad.hic"
    path.write_bytes(content)
    with pytest.raises(InputError, match=sentence) as caught:
        open_contacts(path, 1000, engine)
    assert str(path) in str(caught.value)


def test_bad_choices(hic):
    path, _ = hic
    with pytest.raises(InputError, match="engine='juicer' reads no .hic files: choose hictk or straw"):
        open_contacts(path, 1000, "juicer")
    with pytest.raises(InputError, match="no groups"):
        open_contacts(f"{path}::/resolutions/1000")
    with pytest.raises(InputError, match="does not exist"):
        open_contacts(path.with_name("absent.hic"), engine="straw")


def test_unknown_chromosome_lists_the_names(hic, engine):
    with pytest.raises(InputError, match="no chromosome 'Chr9'"):
        open_contacts(hic[0], 1000, engine).matrix("Chr9")


@pytest.mark.slow  # starts a process that imports the readers
@pytest.mark.parametrize(("engine", "extra"), [("hictk", "hic"), ("straw", "straw")])
def test_missing_library_names_its_extra(hic, tmp_path, monkeypatch, engine, extra):
    """A folder before all others, in which the library is not there."""
    name = {"hictk": "hictkpy", "straw": "hicstraw"}[engine]
    (tmp_path / f"{name}.py").write_text("raise ImportError('none')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(reading_process, "_warm", reading_process._WarmProcess())  # starts with this path
    with pytest.raises(InputError, match=rf"pip install 'hicfm_jax\[{extra}\]'"):
        open_contacts(hic[0], 1000, engine)


def test_fragments_only_is_said(tmp_path, engine):
    """A whole file without resolutions in bp."""
    header = b"HIC\0" + struct.pack("<iq", 8, 200) + b"test\0" + struct.pack("<ii", 0, 2)
    header += b"All\0" + struct.pack("<i", 10) + b"Chr1\0" + struct.pack("<i", 10_000)
    header += struct.pack("<iiiii", 0, 1, 1, 1, 5)  # no widths in bp; one in fragments, with one site
    (tmp_path / "map.hic").write_bytes(header.ljust(400, b"\0"))
    with pytest.raises(InputError, match="restriction fragments only, expected some in bp"):
        open_contacts(tmp_path / "map.hic", 1000, engine)


def test_contacts_beyond_an_end_are_said(hic):
    """Chr1 of 10,500 bp becomes one of 5,000 bp, as with the lengths of another assembly."""
    path, dense = hic
    at = path.read_bytes().index(b"Chr1\0" + struct.pack("<q", 10_500)) + 5
    damage(path, at, struct.pack("<q", 5_000))
    contact_map = open_contacts(path, 1000)
    with pytest.warns(InputNote, match="they may lie beyond an end"):
        assert contact_map.matrix("Chr1").sum() == dense[:5, :5].sum()


def test_sums_of_both_triangles_are_no_missing_contacts(data_dir, engine):
    """Juicer Tools 3 wrote this file: 28,650,556 stated, in single precision, for 19,968,156 contacts."""
    contact_map = open_contacts(data_dir / "fly_dm6_100kb.hic", engine=engine)
    with warnings.catch_warnings():
        warnings.simplefilter("error", InputNote)
        assert contact_map.matrix("chr2L").sum() == 19_968_156
        assert contact_map.matrix("chr2L", "chr4").sum() == 70_567


def test_many_chromosomes_are_refused_beforehand(tmp_path):
    sizes = {f"s{number}": 5_000 for number in range(501)}
    with pytest.raises(InputError, match="expected at most 500, found 501: write .mcool"):
        write_contacts(ContactMap(sizes, 5_000, {}), tmp_path / "many.hic")
