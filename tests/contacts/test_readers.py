"""Reading .cool and .mcool: the same numbers as cooler's, and one sentence for every bad file."""

import gzip

import cooler
import h5py
import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.formats.cool import CoolReader
from hicfm_jax.errors import InputError


def from_cooler(clr, chrom1, chrom2):
    """Counts as cooler returns them, of cis maps the upper triangle."""
    matrix = clr.matrix(balance=False, sparse=True).fetch(chrom1, chrom2)
    return scipy.sparse.triu(matrix) if chrom1 == chrom2 else matrix


def test_reads_what_was_written(cool):
    path, dense = cool
    contact_map = open_contacts(path)
    assert contact_map.chromsizes == {"Chr1": 10_500, "Chr2": 4_000, "ChrM": 700}
    assert contact_map.resolution == 1000
    assert contact_map.total_count == dense.sum()
    np.testing.assert_array_equal(contact_map.matrix("Chr1").toarray(), dense[:11, :11])
    np.testing.assert_array_equal(contact_map.matrix("Chr1", "ChrM").toarray(), dense[:11, 15:])
    np.testing.assert_array_equal(contact_map.matrix("Chr2", "Chr1").toarray(), dense[:11, 11:15].T)


def test_reading_in_small_pieces_is_the_same(cool, monkeypatch):
    path, dense = cool
    monkeypatch.setattr("hicfm_jax.contacts.formats.cool.PIXELS_READ", 7)
    reader = CoolReader(str(path))
    found = np.zeros((11, 4))
    pieces = list(reader.pixels("/", "count", ("Chr1", "Chr1"), ("Chr2", "Chr2")))
    for rows, cols, counts in pieces:
        found[rows, cols] += counts
    assert len(pieces) > 5
    np.testing.assert_array_equal(found, dense[:11, 11:15])
    assert sum(contacts for contacts, _ in reader.summary("/")) == dense.sum()


def test_map_without_contacts(tmp_path, write_cool):
    write_cool(tmp_path / "none.cool", np.zeros((16, 16)))
    contact_map = open_contacts(tmp_path / "none.cool")
    assert contact_map.total_count == 0
    assert contact_map.matrix("Chr1").nnz == 0


def test_float_counts_are_kept(tmp_path, write_cool):
    half = np.triu(np.full((16, 16), 0.5))
    write_cool(tmp_path / "half.cool", half, dtype="float64")
    contact_map = open_contacts(tmp_path / "half.cool")
    assert contact_map.total_count == half.sum()
    assert contact_map.matrix("Chr2").dtype == np.float64


@pytest.fixture
def mcool(cool):
    path = cool[0].with_suffix(".mcool")
    cooler.zoomify_cooler(str(cool[0]), str(path), [1000, 3000], chunksize=1000)
    return path


def test_missing_resolution_is_summed_from_the_largest_divisor(mcool, cool):
    made = open_contacts(mcool, 6000)
    fine = open_contacts(cool[0], 6000)
    held = open_contacts(mcool, 3000)
    assert held.name.endswith("::/resolutions/3000")
    assert made.name.endswith("::/resolutions/3000"), "6 kb should come from 3 kb, not from 1 kb"
    for pair in fine.pairs():
        np.testing.assert_array_equal(made.matrix(*pair).toarray(), fine.matrix(*pair).toarray())
    assert made.total_count == fine.total_count == held.total_count


@pytest.mark.parametrize("group", ["::/resolutions/3000", "::resolutions/3000", "::/resolutions/3000/"])
def test_group_in_the_uri(mcool, group):
    assert open_contacts(f"{mcool}{group}").resolution == 3000
    assert open_contacts(f"{mcool}{group}", 9000).resolution == 9000
    with pytest.raises(InputError, match="cannot give 1000 bp: it holds 3000 bp"):
        open_contacts(f"{mcool}{group}", 1000)


def test_several_resolutions_need_a_choice(mcool):
    with pytest.raises(InputError, match="several resolutions, 1000, 3000 bp"):
        open_contacts(mcool)
    with pytest.raises(InputError, match="cannot give 2500 bp: it holds 1000, 3000 bp"):
        open_contacts(mcool, 2500)
    with pytest.raises(InputError, match="no cooler at ::/resolutions/5, expected one of /resolutions/1000"):
        open_contacts(f"{mcool}::/resolutions/5")


def test_two_maps_of_one_resolution_need_a_choice(tmp_path, write_cool):
    for cell in "ab":
        write_cool(f"{tmp_path}/cells.cool::/{cell}", mode="a")
    with pytest.raises(InputError, match="holds 2 maps at 1000 bp: choose one of .*::/a"):
        open_contacts(tmp_path / "cells.cool")
    assert open_contacts(f"{tmp_path}/cells.cool::/b").total_count > 0


@pytest.mark.parametrize("bad", [np.nan, np.inf, -2.0])
def test_bad_counts_name_file_and_chromosome(tmp_path, write_cool, bad):
    counts = np.triu(np.ones((16, 16)))
    counts[12, 13] = bad
    write_cool(tmp_path / "bad.cool", counts, dtype="float64")
    contact_map = open_contacts(tmp_path / "bad.cool")
    assert contact_map.matrix("Chr1").sum() == 66
    for ask in (lambda: contact_map.matrix("Chr2"), lambda: contact_map.total_count):
        with pytest.raises(InputError, match=f"bad.cool, chromosome Chr2 holds the count {bad}"):
            ask()


def test_unknown_chromosome_lists_names(cool):
    with pytest.raises(InputError, match="no chromosome 'Chr9': choose from Chr1, Chr2, ChrM"):
        open_contacts(cool[0]).matrix("Chr9")


def test_variable_bins_and_square_storage_are_refused(tmp_path, write_cool, cool):
    bins = cooler.Cooler(str(cool[0])).bins()[:][["chrom", "start", "end"]]
    bins.loc[2, "end"], bins.loc[3, "start"] = 2500, 2500
    pixels = cooler.Cooler(str(cool[0])).pixels()[:]
    cooler.create_cooler(str(tmp_path / "variable.cool"), bins, pixels)
    with pytest.raises(InputError, match="bins of varying width"):
        open_contacts(tmp_path / "variable.cool")
    with h5py.File(tmp_path / "variable.cool", "r+") as file:
        file.attrs["bin-size"], file.attrs["bin-type"] = 1000, "fixed"
    with pytest.raises(InputError, match="states bins of 1000 bp but its bin table has others"):
        open_contacts(tmp_path / "variable.cool")

    write_cool(tmp_path / "square.cool", symmetric_upper=False, triucheck=False)
    with pytest.raises(InputError, match="storage mode 'square'"):
        open_contacts(tmp_path / "square.cool")


def make_bad_file(kind, folder, good):
    path = folder / f"{kind}.cool"
    if kind == "directory":
        path.mkdir()
    elif kind == "empty":
        path.touch()
    elif kind == "text":
        path.write_text("chr1\t0\t1000\t5\n" * 100)
    elif kind == "truncated":
        path.write_bytes(good[: len(good) // 2])
    elif kind == "packed":
        path.write_bytes(gzip.compress(good))
    elif kind == "hic":
        path.write_bytes(b"HIC\0" + good)
    elif kind == "shuffled":
        path.write_bytes(good[:600] + good[:599:-1])
    elif kind == "other_hdf5":
        with h5py.File(path, "w") as file:
            file["x"] = 1
    return path


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "does not exist"),
        ("directory", "not a file but a directory"),
        ("empty", "is empty"),
        ("text", "not an HDF5 file"),
        ("packed", "unpack it with gunzip"),
        ("hic", "it is a .hic file"),
        ("truncated", "may be truncated"),
        ("shuffled", "cannot be read as a .cool file"),
        ("other_hdf5", "without a cooler in it"),
    ],
)
def test_bad_files_are_one_sentence_with_their_name(tmp_path, cool, kind, sentence):
    path = make_bad_file(kind, tmp_path, cool[0].read_bytes())
    with pytest.raises(InputError, match=sentence) as caught:
        open_contacts(path).matrix("Chr1")
    assert str(path) in str(caught.value)


def test_lost_index_or_counts_are_no_empty_map(cool):
    with h5py.File(cool[0], "r+") as file:
        index = file["indexes/bin1_offset"][:]
        file["indexes/bin1_offset"][:] = 0
    with pytest.raises(InputError, match="the number of pixels differs from that in its index"):
        open_contacts(cool[0])
    with h5py.File(cool[0], "r+") as file:
        file["indexes/bin1_offset"][:] = index
        file["pixels/count"][:] = 0
    with pytest.raises(InputError, match="all its pixels are 0"):
        _ = open_contacts(cool[0]).total_count
    with h5py.File(cool[0], "r+") as file:
        shape = file["pixels/count"].shape
        del file["pixels/count"]
        file["pixels"].create_dataset("count", shape, "int32", chunks=(50,))  # no chunk is written
    with pytest.raises(InputError, match="parts of /pixels/count are missing"):
        open_contacts(cool[0])


def test_damaged_pixels_are_refused(cool):
    with h5py.File(cool[0], "r+") as file:
        first = file["pixels/bin1_id"][0]
        file["pixels/bin1_id"][0] = 15
    with pytest.raises(InputError, match="small.cool cannot be read"):
        open_contacts(cool[0]).matrix("Chr1")
    with h5py.File(cool[0], "r+") as file:
        file["pixels/bin1_id"][0] = first
        del file["pixels/count"]
    with pytest.raises(InputError, match="small.cool cannot be read"):
        _ = open_contacts(cool[0]).total_count


@pytest.mark.parametrize("name", ["map.tsv", "map", "map.cool.gz", "map.h5"])
def test_other_suffixes_are_refused_with_the_list(tmp_path, name):
    with pytest.raises(InputError, match="expected one of .cool, .mcool, .*.pairs"):
        open_contacts(tmp_path / name)


@pytest.mark.parametrize("resolution", [0, -1000, 1500.5])
def test_bad_resolution(cool, resolution):
    with pytest.raises(InputError, match="not a bin width"):
        open_contacts(cool[0], resolution)


@pytest.mark.parametrize(
    ("name", "option"),
    [
        ("map.cool", {"engine": "straw"}),
        ("map.cool", {"chromsizes": {"Chr1": 5}}),
        ("map.hic", {"chromsizes": {"Chr1": 5}}),
        ("map.pairs.gz", {"weight": "KR"}),
        ("map.txt", {"weight": "weight"}),
        ("map.npy", {"weight_kind": "divisive"}),
        ("map.pkl", {"engine": "hictk"}),
    ],
)
def test_option_that_a_format_does_not_take(tmp_path, name, option):
    (word,) = option
    with pytest.raises(InputError, match=f"{word}=.* is no option of .* files: leave {word} out"):
        open_contacts(tmp_path / name, **option)


@pytest.mark.parametrize(
    ("name", "resolution", "group", "total"),
    [
        ("arabidopsis_col0_30kb.cool", 30_000, "/", 104_097_582),
        ("yeast_w303_2kb.cool", 2_000, "/", 5_862_820),
        ("gm12878_chr21.mcool", 10_000, "/10000", 2_433_581),
        ("fly_dm6_100kb.mcool", 1_000_000, "/resolutions/1000000", 119_208_613),
    ],
)
def test_real_maps_equal_cooler(data_dir, name, resolution, group, total):
    contact_map = open_contacts(data_dir / name, resolution)
    clr = cooler.Cooler(f"{data_dir / name}::{group}")
    assert contact_map.chromsizes == clr.chromsizes.to_dict()
    assert contact_map.total_count == total
    names = clr.chromnames
    for pair in [(names[0], names[0]), (names[-1], names[-1]), (names[0], names[-1])]:
        assert (contact_map.matrix(*pair) != from_cooler(clr, *pair)).nnz == 0


@pytest.mark.slow  # reads a real map
def test_real_trans_map_adds_up(data_dir):
    contact_map = open_contacts(data_dir / "yeast_w303_2kb.cool", 20_000)
    sums = {(one, two): contact_map.matrix(one, two).sum() for one, two in contact_map.pairs()}
    cis, everything = sum(sums[chrom, chrom] for chrom in contact_map.chromsizes), sum(sums.values())
    assert everything == contact_map.total_count == 5_862_820
    assert 0.3 < cis / everything < 1


def test_real_mcool_resolutions_agree(data_dir):
    path = data_dir / "fly_dm6_100kb.mcool"
    stored = open_contacts(path, 1_000_000)
    summed = open_contacts(f"{path}::/resolutions/100000", 1_000_000)
    for pair in stored.pairs():
        np.testing.assert_array_equal(stored.matrix(*pair).toarray(), summed.matrix(*pair).toarray())


def test_coolers_of_old_writers_have_no_format(cool):
    path, dense = cool
    with h5py.File(path, "r+") as file:
        for name in ("format", "storage-mode", "bin-type"):
            del file.attrs[name]
    assert open_contacts(path).total_count == dense.sum()


@pytest.mark.parametrize("sizes", [{"long": 3_000_000_000}, {"Chr1": 5_000_000, "染色体": 1_000_000}])
@pytest.mark.parametrize("name", ["map.cool", "map.mcool"])
def test_chromosomes_that_coolers_cannot_hold_are_refused(tmp_path, sizes, name):
    with pytest.raises(InputError, match="coolers store .* write .*.npz"):
        write_contacts(ContactMap(sizes, 1_000_000, {}), tmp_path / name)
    assert not list(tmp_path.iterdir())
    write_contacts(ContactMap(sizes, 1_000_000, {}), tmp_path / "map.npz")
    assert open_contacts(tmp_path / "map.npz").chromsizes == sizes


@pytest.mark.parametrize("names", [["c1", "scaf,3"], ["c*"], ["chrC1", "scaf", "3"]])
def test_names_with_commas_and_patterns(names):
    contact_map = ContactMap({"c1": 5, "scaf,3": 5, "b": 5}, 1, {})
    expected = ["c1"] if names == ["c*"] else ["c1", "scaf,3"]
    assert contact_map.find_chromosomes(",".join(names).split(",")) == expected
