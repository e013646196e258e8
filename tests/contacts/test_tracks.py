"""Tracks: means over the bins of a map, files that disagree with it, round trips."""

import gzip

import numpy as np
import pytest

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.annotations.tracks import read_tracks, write_bigwig, write_table
from hicfm_jax.errors import InputError

MAP = ContactMap({"Chr1": 105, "Chr2": 95, "Chr10": 30}, 10, {}, "map.cool")


def write(path, text):
    path.write_text(text)
    return path


def test_finer_bins_are_averaged_by_overlap(tmp_path):
    path = write(
        tmp_path / "rna.bedGraph", "track type=bedGraph\nchr1\t0\t4\t1\nchr1\t4\t15\t3\nchr1\t15\t20\t5\n"
    )
    values = read_tracks(path, MAP)["rna"]["Chr1"]
    np.testing.assert_allclose(values[:3], [2.2, 4.0, np.nan])
    assert values.dtype == np.float32 and len(values) == MAP.n_bins("Chr1")
    assert np.isnan(read_tracks(path, MAP)["rna"]["Chr2"]).all()


def test_positions_without_a_value_are_missing_and_not_zero(tmp_path):
    path = write(tmp_path / "rna.bg", "Chr1\t3\t5\t7\nChr1\t20\t30\tnan\nChr2\t88\t95\t2\n")
    tracks = read_tracks(path, MAP, ["RNA"])["RNA"]
    np.testing.assert_array_equal(tracks["Chr1"][:4], [7, np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(tracks["Chr2"][8:], [2, 2])


@pytest.mark.needs("pybigtools")
def test_a_bigwig_has_true_lengths_and_the_values_it_was_given(tmp_path):
    import pybigtools

    rng = np.random.default_rng(0)
    track = {chrom: rng.normal(size=MAP.n_bins(chrom)).astype(np.float32) for chrom in MAP.chromsizes}
    track["Chr2"][3] = np.nan
    path = tmp_path / "H3K4me3.bigWig"
    write_bigwig(path, MAP, track)
    file = pybigtools.open(str(path))
    assert file.chroms() == MAP.chromsizes
    assert list(file.records("Chr1"))[-1][:2] == (100, 105)
    assert len(list(file.records("Chr2"))) == 9
    read = read_tracks(path, MAP)["H3K4me3"]
    for chrom in MAP.chromsizes:
        np.testing.assert_array_equal(read[chrom], track[chrom])


@pytest.mark.needs("pybigtools")
def test_a_bigwig_of_finer_bins_equals_the_bedgraph(tmp_path):
    rng = np.random.default_rng(1)
    fine = ContactMap(MAP.chromsizes, 3, {})
    track = {chrom: rng.normal(size=fine.n_bins(chrom)).astype(np.float32) for chrom in MAP.chromsizes}
    track["Chr1"][4:9] = np.nan
    write_bigwig(tmp_path / "a.bw", fine, track)
    lines = [
        f"{chrom}\t{3 * i}\t{min(3 * i + 3, MAP.chromsizes[chrom])}\t{value!r}\n"
        for chrom in track
        for i, value in enumerate(track[chrom].tolist())
        if np.isfinite(value)
    ]
    write(tmp_path / "b.bedGraph", "".join(lines))
    bigwig, bedgraph = (
        read_tracks(tmp_path / "a.bw", MAP)["a"],
        read_tracks(tmp_path / "b.bedGraph", MAP)["b"],
    )
    for chrom in MAP.chromsizes:
        np.testing.assert_allclose(bigwig[chrom], bedgraph[chrom], rtol=1e-5)


@pytest.mark.parametrize("name", ["tracks.tsv", "tracks.tsv.gz"])
def test_a_table_round_trips(tmp_path, name):
    rng = np.random.default_rng(2)
    tracks = {
        name: {chrom: rng.normal(size=MAP.n_bins(chrom)).astype(np.float32) for chrom in MAP.chromsizes}
        for name in ("CTCF", "ATAC-seq")
    }
    tracks["CTCF"]["Chr2"][0] = np.nan
    write_table(tmp_path / name, MAP, tracks)
    read = read_tracks(tmp_path / name, MAP)
    assert list(read) == ["CTCF", "ATAC-seq"]
    for track, values in tracks.items():
        for chrom in values:
            np.testing.assert_array_equal(read[track][chrom], values[chrom])
    assert list(read_tracks(tmp_path / name, MAP, ["ATAC-seq"])) == ["ATAC-seq"]


def test_three_bins_of_10_kb_make_one_of_30_kb(data_dir):
    contact_map = open_contacts(data_dir / "arabidopsis_col0_30kb.cool")
    path = data_dir / "arabidopsis_tair10_tracks_10kb.tsv.gz"
    tracks = read_tracks(path, contact_map, ["te_fraction", "crossovers"])
    with gzip.open(path, "rt") as file:
        header, *rows = [line.rstrip("\n").split("\t") for line in file]
    column = header.index("te_fraction")
    chr4 = [float(row[column]) for row in rows if row[0] == "Chr4"]
    np.testing.assert_allclose(tracks["te_fraction"]["Chr4"][5], np.mean(chr4[15:18]), rtol=1e-6)
    assert all(np.isfinite(values).all() for track in tracks.values() for values in track.values())


@pytest.mark.parametrize(
    "name, text, message",
    [
        ("a.bedGraph", "Chr7\t0\t10\t1\n", "the chromosomes Chr7, and map.cool has Chr1, Chr2, Chr10"),
        ("a.bedGraph", "Chr2\t0\t300\t1\n", "intervals end at 300 bp, and Chr2 of the map is 95 bp long"),
        (
            "a.tsv",
            "chrom\tstart\tend\tx\nChr1\t0\t5\t1\nChr1\t5\t50\t1\n",
            "end at 50 bp, and Chr1 of the map is 105 bp long",
        ),
        (
            "a.bedGraph",
            "Chr1\t0\t20\t1\nChr1\t20\t40\t1\nChr1\t80\t105\t1\n",
            "has bins of 20 bp, wider than the 10",
        ),
        ("a.bedGraph", "Chr1\t0\tten\t1\n", "cannot be read as a bedGraph"),
        ("a.bedGraph", "Chr1\t0\t10\n", "cannot be read as a bedGraph"),
        ("a.bedGraph", "", "has no intervals"),
        ("a.bedGraph", "track\nChr1\t0\t10\t1\t0\t10\t5\n", "a 2D bedGraph .* where a map is expected"),
        ("a.bedGraph", "Chr1\t10\t10\t1\n", "the interval Chr1:10-10"),
        ("a.tsv", "chrom\tstart\tend\nChr1\t0\t10\n", "expected a tab-separated table"),
        ("a.tsv", "Chr1\t0\t10\t0.5\n", "expected a tab-separated table"),
        ("a.tsv", "chrom\tstart\tend\tx\tx\nChr1\t0\t10\t1\t1\n", "two columns of the same name"),
        ("a.tsv", "chrom\tstart\tend\tx\nChr1\t0\t10\tmany\n", "cannot be read as a table"),
        ("a.tsv.gz", "chrom\tstart\tend\tx\nChr1\t0\t10\t1\n", "cannot be read as a table"),
        ("a.bed", "Chr1\t0\t10\n", "not a file of tracks by its name"),
    ],
)
def test_wrong_files_are_one_sentence(tmp_path, name, text, message):
    path = write(tmp_path / name, text)
    with pytest.raises(InputError, match=message) as raised:
        read_tracks(path, MAP)
    assert str(path) in str(raised.value) and "\n" not in str(raised.value)


def test_unknown_names_list_the_known_ones(tmp_path):
    path = write(tmp_path / "a.tsv", "chrom\tstart\tend\tx\ty\nChr1\t0\t10\t1\t2\n")
    with pytest.raises(InputError, match="no track 'z': choose from x, y"):
        read_tracks(path, MAP, ["z"])


@pytest.mark.needs("pybigtools")
def test_a_bigwig_of_another_assembly_or_of_wider_bins_is_refused(tmp_path):
    other = ContactMap({"Chr1": 1105, "Chr2": 95}, 10, {})
    write_bigwig(tmp_path / "a.bw", other, {"Chr1": np.ones(111), "Chr2": np.ones(10)})
    with pytest.raises(InputError, match="Chr1 is 1,105 bp long, and Chr1 of the map is 105 bp long"):
        read_tracks(tmp_path / "a.bw", MAP)
    wide = ContactMap(MAP.chromsizes, 20, {})
    write_bigwig(tmp_path / "b.bw", wide, {"Chr1": np.arange(6), "Chr2": np.arange(5)})
    with pytest.raises(InputError, match="has bins of 20 bp, wider than the 10 bp of map.cool"):
        read_tracks(tmp_path / "b.bw", MAP)


@pytest.mark.needs("pybigtools")
def test_damaged_bigwigs_are_one_sentence(tmp_path):
    """Among the cases are headers for which the library ends its process."""
    path = tmp_path / "a.bw"
    write_bigwig(path, MAP, {"Chr1": np.arange(11), "Chr2": np.arange(10)})
    whole = path.read_bytes()
    cases = [b"", b"not a bigWig", whole[:100], whole[:8] + b"\xff" * 8 + whole[16:]]
    rng = np.random.default_rng(0)
    for _ in range(20):
        damaged = bytearray(whole)
        damaged[rng.integers(64)] = rng.integers(256)
        cases.append(bytes(damaged))
    for case in cases:
        path.write_bytes(case)
        try:
            read_tracks(path, MAP)
        except InputError as error:
            assert str(path) in str(error) and "\n" not in str(error)
