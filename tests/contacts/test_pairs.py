"""Lists of contacts: `.pairs` by the 4DN specification, `.txt` as the original reads it."""

import gzip

import cooler
import numpy as np
import pytest
import scipy.sparse
from click.testing import CliRunner
from cooler.cli import cli as cooler_cli

from hicfm_jax.contacts import ContactMap, open_contacts, thin, write_contacts
from hicfm_jax.errors import InputError
from tests.contacts.fuzzing import COMMON, survives
from tests.contacts.text_damage import other_word

HEADER = """## pairs format v1.0
#shape: upper triangle
#genome_assembly: TAIR10
#chromsize: Chr1 10500
#chromsize: Chr2 4000
"""


def write(path, lines, header=HEADER):
    path.write_text(header + "".join("\t".join(line.split(" ")) + "\n" for line in lines))
    return path


def test_first_base_lies_in_the_first_bin(tmp_path):
    lines = [
        ". Chr1 1 Chr1 1000 + -",  # bins 0, 0: positions count from 1
        ". Chr1 1001 Chr1 10500 + -",  # 1, 10
        ". Chr1 10500 Chr1 1001 + -",  # the same, other way round
        ". Chr2 4000 Chr1 1 - -",  # chromosomes other way round
        ". Chr1 1 Chr2 4000 - -",
    ]
    contact_map = open_contacts(write(tmp_path / "a.pairs", lines), 1000)
    assert contact_map.chromsizes == {"Chr1": 10_500, "Chr2": 4_000}
    assert contact_map.total_count == 5
    cis = np.zeros((11, 11))
    cis[0, 0], cis[1, 10] = 1, 2
    np.testing.assert_array_equal(contact_map.matrix("Chr1").toarray(), cis)
    trans = contact_map.matrix("Chr1", "Chr2").toarray()
    assert trans[0, 3] == trans.sum() == 2
    assert contact_map.matrix("Chr2").nnz == 0
    assert contact_map.pairs() == [("Chr1", "Chr1"), ("Chr1", "Chr2")]


def test_columns_are_found_by_name_and_unmapped_sides_left_out(tmp_path):
    header = HEADER + "#columns: readID pair_type chrom2 pos2 chrom1 pos1 strand1\n"
    lines = ["r1 UU Chr2 500 Chr1 2500 +", "r2 NU ! 0 Chr1 2500 +", "r3 UM Chr1 7 . 0 -", "r4 NN ! 0 ! 0 -"]
    contact_map = open_contacts(write(tmp_path / "a.pairs", lines, header), 1000)
    assert contact_map.total_count == 1
    assert contact_map.matrix("Chr1", "Chr2")[2, 0] == 1


@pytest.mark.parametrize("name", ["1", "01", "NA", "scaffold_1|x"])
def test_names_stay_as_they_are(tmp_path, name):
    header = f"## pairs format v1.0\n#chromsize: {name} 5000\n#chromsize: 2 5000\n"
    contact_map = open_contacts(write(tmp_path / "a.pairs", [f". {name} 1 2 4500"], header), 1000)
    assert contact_map.pairs() == [(name, "2")]


def test_gzip_carriage_returns_spaces_and_blank_lines_change_nothing(tmp_path):
    text = HEADER + ". Chr1 1 Chr1 1000 + -\n\n. Chr1 10500 Chr2 4000 + -\n"
    (tmp_path / "a.pairs").write_text(text.replace("\n", "\r\n"))
    (tmp_path / "b.pairs.gz").write_bytes(
        gzip.compress(text[:150].encode()) + gzip.compress(text[150:].encode())
    )
    (tmp_path / "c.pairs").write_bytes(gzip.compress(text.encode()))
    (tmp_path / "d.pairs").write_text(text.rstrip("\n"))
    for path in tmp_path.iterdir():
        contact_map = open_contacts(path, 1000)
        assert contact_map.total_count == 2, path
        assert contact_map.matrix("Chr1", "Chr2")[10, 3] == 1, path


@pytest.fixture
def many_reads(tmp_path, rng):
    """20,000 contacts in random order, as a file and as numbers: chromosomes, positions from 1."""
    sizes = np.array([10_500, 4_000])
    chroms = rng.integers(0, 2, (20_000, 2))
    positions = rng.integers(1, sizes[chroms] + 1)
    lines = [f". Chr{a + 1} {p} Chr{b + 1} {q} + -" for (a, b), (p, q) in zip(chroms, positions, strict=True)]
    return write(tmp_path / "many.pairs", lines)


def test_equals_cooler_cload_in_small_pieces(tmp_path, many_reads, monkeypatch):
    (tmp_path / "sizes").write_text("Chr1\t10500\nChr2\t4000\n")
    arguments = ["cload", "pairs", "-c1", "2", "-p1", "3", "-c2", "4", "-p2", "5"]
    made = tmp_path / "theirs.cool"
    result = CliRunner().invoke(
        cooler_cli, [*arguments, f"{tmp_path / 'sizes'}:1000", str(many_reads), str(made)]
    )
    assert result.exit_code == 0, result.output
    monkeypatch.setattr("hicfm_jax.contacts.formats.text.contact_list.BYTES_AT_ONCE", 10_000)
    monkeypatch.setattr("hicfm_jax.contacts.formats.binned_contacts.CONTACTS_AT_ONCE", 3_000)
    ours, theirs = open_contacts(many_reads, 1000), open_contacts(made)
    assert ours.total_count == theirs.total_count == 20_000
    for pair in theirs.pairs():
        np.testing.assert_array_equal(ours.matrix(*pair).toarray(), theirs.matrix(*pair).toarray())


def test_cooler_loads_what_we_write(cool, tmp_path):
    contact_map = open_contacts(cool[0])
    write_contacts(contact_map, tmp_path / "ours.pairs.gz")
    (tmp_path / "sizes").write_text("".join(f"{c}\t{n}\n" for c, n in contact_map.chromsizes.items()))
    arguments = ["cload", "pairs", "-c1", "2", "-p1", "3", "-c2", "4", "-p2", "5"]
    made = tmp_path / "theirs.cool"
    source = f"{tmp_path / 'sizes'}:1000", str(tmp_path / "ours.pairs.gz"), str(made)
    result = CliRunner().invoke(cooler_cli, [*arguments, *source])
    assert result.exit_code == 0, result.output
    assert (cooler.Cooler(str(made)).pixels()[:] == cooler.Cooler(str(cool[0])).pixels()[:]).all(axis=None)


def test_written_lines_are_sorted_and_one_a_contact(tmp_path):
    counts = scipy.sparse.csr_array(np.array([[0, 3, 0], [0, 0, 1], [0, 0, 2]]))
    contact_map = ContactMap({"Chr1": 25}, 10, {("Chr1", "Chr1"): counts})
    write_contacts(contact_map, tmp_path / "a.pairs")
    lines = (tmp_path / "a.pairs").read_text().splitlines()
    assert lines[:5] == [
        "## pairs format v1.0",
        "#sorted: chr1-chr2-pos1-pos2",
        "#shape: upper triangle",
        "#chromsize: Chr1 25",
        "#columns: readID chr1 pos1 chr2 pos2 strand1 strand2",
    ]
    ends = [(int(line.split("\t")[2]), int(line.split("\t")[4])) for line in lines[5:]]
    assert ends == [(5, 15)] * 3 + [(15, 23)] + [(23, 23)] * 2


def test_pixels_are_written_in_parts(tmp_path, monkeypatch):
    monkeypatch.setattr("hicfm_jax.contacts.formats.pairs.PIXELS_AT_ONCE", 4)
    counts = scipy.sparse.csr_array(np.triu(np.full((3, 3), 10)))
    write_contacts(ContactMap({"Chr1": 25}, 10, {("Chr1", "Chr1"): counts}), tmp_path / "a.pairs")
    again = open_contacts(tmp_path / "a.pairs", 10).matrix("Chr1")
    np.testing.assert_array_equal(again.toarray(), counts.toarray())


def test_counts_that_are_not_whole_have_no_lines(tmp_path):
    half = ContactMap({"Chr1": 25}, 10, {("Chr1", "Chr1"): scipy.sparse.csr_array(np.eye(3) / 2)})
    with pytest.raises(InputError, match="counts that are not whole"):
        write_contacts(half, tmp_path / "a.pairs")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (". Chr1 0 Chr1 5", "line 7, has position 0 on Chr1, expected 1 to 10500"),
        (". Chr1 1 Chr1 10501", "line 7, has position 10501 on Chr1, expected 1 to 10500"),
        (
            ". Chr1 1 Chr9 5",
            "line 7, names chromosome 'Chr9', which has no length: expected one of Chr1, Chr2",
        ),
        (". Chr1 1 Chr1", "line 7, has 4 columns, expected at least 5"),
        (". Chr1 one Chr1 5", "line 7, has the position 'one', expected whole bp"),
        (". Chr1 1.5 Chr1 5", "line 7, has the position '1.5', expected whole bp"),
        (". Chr1 -1 Chr1 5", "line 7, has the position '-1', expected whole bp"),
        (". Chr1 99999999999999999999 Chr1 5", "line 7, has the position"),
        ("#chromsize: Chr3 500", "line 7, has 3 columns|line 7, has 2 columns"),
        (". Chr\0 1 Chr1 5", "line 7, names chromosome"),
    ],
)
def test_a_bad_line_is_named(tmp_path, line, sentence):
    path = write(tmp_path / "a.pairs", [". Chr1 1 Chr1 5", line, ". Chr1 1 Chr1 6"])
    contact_map = open_contacts(path, 1000)
    with pytest.raises(InputError, match=sentence):
        _ = contact_map.total_count


@pytest.mark.parametrize(
    ("header", "sentence"),
    [
        (
            "## pairs format v1.0\n",
            "has no chromosome lengths: give a file of names",
        ),
        (HEADER + "#chromsize: Chr3\n", "line 6, should read '#chromsize: NAME LENGTH'"),
        (HEADER + "#chromsize: Chr3 long\n", "line 6: 'long' is no length"),
        (HEADER + "#chromsize: Chr2 5\n", "line 6: chromosome 'Chr2' comes twice"),
        (HEADER + "#chromsize: Chr3 99999999999999\n", "expected at most 20000000: mend its length"),
        (
            HEADER + "#columns: readID chr1 pos1 strand1\n",
            "line 6, should name each of the columns chr1, pos1, chr2 and pos2 once",
        ),
    ],
)
def test_a_bad_header_is_one_sentence(tmp_path, header, sentence):
    with pytest.raises(InputError, match=sentence):
        open_contacts(write(tmp_path / "a.pairs", [". Chr1 1 Chr1 5"], header), 1000)


def test_bin_width_has_to_be_chosen(tmp_path):
    with pytest.raises(InputError, match="does not say how wide its bins are: .* resolution=BP"):
        open_contacts(write(tmp_path / "a.pairs", []))


def test_full_disk_of_temporary_files_is_named(tmp_path, many_reads, monkeypatch):
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **_: open("/dev/full", "wb", buffering=0))
    with pytest.raises(OSError, match="No space left") as caught:
        _ = open_contacts(many_reads, 1000).total_count
    assert caught.value.filename


def no_contacts(data: bytes) -> bool:
    """Whether bytes hold header lines only: a cut there leaves a true map without contacts."""
    if data[:2] == b"\x1f\x8b":
        data = gzip.decompress(data)
    return all(line.startswith(b"#") for line in data.splitlines() if line.strip())


@pytest.mark.parametrize("name", ["map.pairs", "map.pairs.gz"])
def test_damaged_files(cool, tmp_path, name):
    write_contacts(thin(open_contacts(cool[0]).coarsen(2), 0.3, seed=0), tmp_path / name)
    mutations = COMMON + (other_word,) * 3 * (name == "map.pairs")
    survives(tmp_path / name, options={"resolution": 2000}, mutations=mutations, may_be_empty=no_contacts)
