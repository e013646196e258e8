"""Text files of other programs: recognized by their columns and read, or refused."""

import gzip
import warnings

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts
from hicfm_jax.errors import InputError, InputNote

SIZES = {"1": 400_000, "2": 300_000, "Pt": 150_000}
LAYOUTS = {
    "long": "{s} {a} {p} 7 {t} {b} {q} 9 60 50M ACGT 60 50M ACGT r/1 r/2",
    "medium": "read{n} {s} {a} {p} 7 {t} {b} {q} 9 60 11",
    "short": "{s} {a} {p} 0 {t} {b} {q} 1",
    "allValidPairs": "read{n}\t{a}\t{p}\t+\t{b}\t{q}\t-\t300\tH1\tH2\t42\t42",
    "strands": "{a}\t{p}\t{s}\t{b}\t{q}\t{t}",
    "bare": "{a} {p} {b} {q}",
    "pairs": "{n} {a} {p} {b} {q} + -",
}


@pytest.fixture
def contacts(rng):
    """200 contacts: names and positions from 1."""
    names = rng.choice(list(SIZES), (200, 2))
    positions = [[int(rng.integers(1, SIZES[name])) for name in pair] for pair in names]
    return [(*pair, *position) for pair, position in zip(names.tolist(), positions, strict=True)]


def text_of(pattern, contacts):
    return "".join(
        pattern.format(n=n, a=a, b=b, p=p, q=q, s=16 * (n % 2), t=16 * (n % 3 == 0)) + "\n"
        for n, (a, b, p, q) in enumerate(contacts)
    )


def counted(contacts, first, resolution=10_000):
    """Contacts of the three chromosomes with one another, dense."""
    bins = [-(-size // resolution) for size in SIZES.values()]
    start = dict(zip(SIZES, np.cumsum([0, *bins]), strict=False))
    counts = np.zeros((sum(bins), sum(bins)))
    for a, b, p, q in contacts:
        places = sorted((start[a] + (p - first) // resolution, start[b] + (q - first) // resolution))
        counts[tuple(places)] += 1
    return counts


def dense(contact_map):
    bins = np.cumsum([0, *(contact_map.n_bins(chrom) for chrom in SIZES)])
    where = {chrom: slice(*bins[number : number + 2]) for number, chrom in enumerate(SIZES)}
    counts = np.zeros((bins[-1], bins[-1]))
    for one, two in contact_map.pairs():
        counts[where[one], where[two]] = contact_map.matrix(one, two).toarray()
    return counts


@pytest.mark.parametrize("name", LAYOUTS)
def test_layouts_are_told_by_their_columns(tmp_path, contacts, name):
    """Although all names are numbers or short: nothing but the columns tells them apart."""
    path = tmp_path / "reads.txt"
    path.write_text(text_of(LAYOUTS[name], contacts))
    first = 1 if name in ("long", "medium", "short", "allValidPairs") else 0
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", InputNote)
        contact_map = open_contacts(path, 10_000, chromsizes=SIZES)
    assert [note.category for note in said if note.category is InputNote] == [InputNote] * (name != "pairs")
    np.testing.assert_array_equal(dense(contact_map), counted(contacts, first))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", InputNote)
        unknown = open_contacts(path, 10_000)
    assert set(unknown.chromsizes) == set(SIZES) and unknown.total_count == len(contacts)


def pixels(contacts, resolution=5_000):
    """`cooler dump --join` of the contacts."""
    found = {}
    for a, b, p, q in contacts:
        (a, p), (b, q) = sorted([(a, (p - 1) // resolution), (b, (q - 1) // resolution)])
        found[a, p, b, q] = found.get((a, p, b, q), 0) + 1
    ends = {name: size for name, size in SIZES.items()}
    return "".join(
        "\t".join(
            map(str, (a, p * resolution, min((p + 1) * resolution, ends[a]), b, q * resolution,
                      min((q + 1) * resolution, ends[b]), count))
        ) + "\n"
        for (a, p, b, q), count in found.items()
    )  # fmt: skip


@pytest.mark.filterwarnings("ignore::hicfm_jax.errors.InputNote")
@pytest.mark.parametrize("header", ["", "chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tcount\n", "\ufeff"])
def test_pixels_keep_their_counts_and_width(tmp_path, contacts, header):
    path = tmp_path / "pixels.bg2.gz"
    path.write_bytes(gzip.compress((header + pixels(contacts)).replace("\n", "\r\n").encode()))
    assert open_contacts(path, chromsizes=SIZES).resolution == 5_000
    contact_map = open_contacts(path, 10_000, chromsizes=SIZES)
    np.testing.assert_array_equal(dense(contact_map), counted(contacts, first=1))
    assert contact_map.matrix("1").dtype == np.int64
    with pytest.raises(InputError, match="cannot give 2000 bp: it holds 5000 bp"):
        open_contacts(path, 2_000)


@pytest.mark.filterwarnings("ignore::hicfm_jax.errors.InputNote")
@pytest.mark.parametrize("name", ["map.bedgraph", "map.bedGraph", "map.bedGraph.gz", "map.BG2"])
def test_a_bedgraph_of_contacts_by_hand(tmp_path, name):
    """Counts of bins of 100 bp; lines for genome browsers at the top have no part."""
    lines = [
        "browser position 1:1-300", "# by hand", 'track type=bedGraph name="leaf, 100 bp"',
        "1\t0\t100\t1\t0\t100\t4", "1\t0\t100\t1\t200\t250\t2", "1\t100\t200\t2\t0\t100\t3",
        "2\t0\t100\t2\t0\t100\t1",
    ]  # fmt: skip
    text = "".join(f"{line}\n" for line in lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(text) if name.endswith(".gz") else text)
    contact_map = open_contacts(tmp_path / name, chromsizes={"1": 250, "2": 100})
    assert contact_map.resolution == 100 and contact_map.total_count == 10
    np.testing.assert_array_equal(contact_map.matrix("1").toarray(), [[4, 0, 2], [0, 0, 0], [0, 0, 0]])
    np.testing.assert_array_equal(contact_map.matrix("1", "2").toarray(), [[0], [3], [0]])
    assert open_contacts(tmp_path / name, 200, chromsizes={"1": 250, "2": 100}).matrix("1")[0, 0] == 4


@pytest.mark.parametrize("value", ["1", "0.5", "nan", "1e-3"])
@pytest.mark.parametrize("name", ["rna.bedGraph", "rna.txt"])
def test_a_track_is_no_contact_map(tmp_path, name, value):
    """Also where its values could be positions, and its ends names of chromosomes."""
    lines = [f"Chr{n % 3}\t{n * 10}\t{n * 10 + 10}\t{value}\n" for n in range(5)]
    (tmp_path / name).write_text("track type=bedGraph\n" + "".join(lines))
    with pytest.raises(InputError, match=f"{name} is a track, a 1D bedGraph .* where a track is expected"):
        open_contacts(tmp_path / name, 10)


@pytest.mark.filterwarnings("ignore::hicfm_jax.errors.InputNote")
def test_pixels_on_both_sides_are_refused(tmp_path, contacts):
    lines = pixels(contacts).splitlines()
    mirrored = [
        "\t".join([*line.split("\t")[3:6], *line.split("\t")[:3], line.split("\t")[6]]) for line in lines
    ]
    (tmp_path / "both.txt").write_text("\n".join(dict.fromkeys(lines + mirrored)) + "\n")
    with pytest.raises(InputError, match="both sides of the diagonal"):
        open_contacts(tmp_path / "both.txt", 10_000)


def test_hicpro_matrix_with_its_bins(tmp_path, contacts):
    path = tmp_path / "map_5000.matrix"
    width, number, lines, bed = 5_000, {}, [], []
    for name, size in SIZES.items():
        for start in range(0, size, width):
            number[name, start] = len(number) + 1
            bed.append(f"{name}\t{start}\t{min(start + width, size)}\t{len(number)}\n")
    for line in pixels(contacts, width).splitlines():
        a, p, _, b, q, _, count = line.split("\t")
        lines.append(f"{number[a, int(p)]}\t{number[b, int(q)]}\t{count}\n")
    path.write_text("".join(lines))
    with pytest.raises(InputError, match="has bin numbers only, and map_5000_abs.bed is not beside it"):
        open_contacts(path)
    (tmp_path / "map_5000_abs.bed").write_text("".join(bed))
    (tmp_path / "bins.bed").write_text("".join(bed))
    for uri in (path, f"{path}::{tmp_path / 'bins.bed'}"):
        contact_map = open_contacts(uri, 10_000)
        assert contact_map.chromsizes == SIZES
        np.testing.assert_array_equal(dense(contact_map), counted(contacts, first=1))
    path.write_text("".join(lines) + f"1 {len(bed) + 1} 5\n")
    with pytest.raises(
        InputError, match=f"line {len(lines) + 1}, is .* expected two bins from 1 to {len(bed)}"
    ):
        open_contacts(path)
    (tmp_path / "map_5000_abs.bed").write_text("".join(bed[:5] + bed[6:]))
    with pytest.raises(InputError, match="line 6: expected the bin that follows"):
        open_contacts(path)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("\t".join("0123456789" * 3) + "\n", "is a matrix of 30 columns without chromosomes"),
        ("1 2 5\n2 2 7\n", "is a sparse matrix without chromosomes .* rename it to .matrix"),
        ("".join(f"r{n} {n * 7} {n} {n * 3 + 1} {n}\n" for n in range(30)), "its columns are others"),
        ("".join(f"r chr{n % 3} {n} {n % 4} {n} x\n" for n in range(30)), "would have 7 chromosomes"),
    ],
)  # fmt: skip
def test_other_columns_are_refused(tmp_path, content, sentence):
    (tmp_path / "map.txt").write_text(content)
    with pytest.raises(InputError, match=sentence):
        open_contacts(tmp_path / "map.txt", 1000)


def test_text_in_utf16_is_named(tmp_path):
    (tmp_path / "map.txt").write_text(". chr1 5 chr1 7\n", encoding="utf-16")
    with pytest.raises(InputError, match="is text in UTF-16: convert it with iconv"):
        open_contacts(tmp_path / "map.txt", 10)


def test_unmapped_sides_need_no_position_and_the_bad_line_is_named(tmp_path):
    lines = ["#chromsize: chr1 100", "r0 ! . chr1 5", "r1 chr1 5 chr1 7", "r2 . . ! *", "r3 chr1 8 chr1 9"]
    (tmp_path / "a.pairs").write_text("\n".join(lines))
    assert open_contacts(tmp_path / "a.pairs", 10).total_count == 2
    (tmp_path / "a.pairs").write_text("\n".join([*lines, "r4 chr1 x chr1 9"]))
    with pytest.raises(InputError, match="line 6, has the position 'x'"):
        _ = open_contacts(tmp_path / "a.pairs", 10).total_count


def test_lengths_of_a_list_without_a_header(tmp_path, contacts):
    path = tmp_path / "a.pairs"
    path.write_text(text_of("r{n}\t{a}\t{p}\t{b}\t{q}\t+\t-", contacts))
    with pytest.raises(InputError, match="has no chromosome lengths: give a file of names and lengths"):
        open_contacts(path, 10_000)
    contact_map = open_contacts(path, 10_000, chromsizes=SIZES)
    np.testing.assert_array_equal(dense(contact_map), counted(contacts, first=1))
