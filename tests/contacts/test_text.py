"""The original's text input: the same bins, without its defects."""

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts
from hicfm_jax.errors import InputError
from tests.contacts.fuzzing import COMMON, survives
from tests.contacts.text_damage import other_word

LINES = [
    ". chr1 5000 chr1 25000",
    ". chr1 25000 chr1 5000 extra columns 3",
    "read7 chr1 9999 chr1 10000",
    ".\tchr2\t70000\tchr1\t0",
]


@pytest.fixture
def text(tmp_path):
    path = tmp_path / "reads.txt"
    path.write_text("## made by hand\n" + "\n".join(LINES) + "\n")
    return path


def test_positions_count_from_0_and_both_orders_are_one_contact(text):
    contact_map = open_contacts(text, 10_000)
    cis = np.zeros((3, 3))
    cis[0, 2], cis[0, 1] = 2, 1
    np.testing.assert_array_equal(contact_map.matrix("chr1").toarray(), cis)
    assert contact_map.matrix("chr1", "chr2")[0, 7] == 1
    assert contact_map.total_count == 4


def test_lengths_given_in_a_header_or_by_the_last_contact(text, tmp_path):
    assert open_contacts(text, 10_000).chromsizes == {"chr1": 30_000, "chr2": 80_000}
    sizes = {"chr2": 75_500, "chr1": 27_000, "chr3": 100}
    (tmp_path / "sizes").write_text("".join(f"{name}\t{size}\n" for name, size in sizes.items()))
    for given in (sizes, tmp_path / "sizes", str(tmp_path / "sizes")):
        contact_map = open_contacts(text, 10_000, chromsizes=given)
        assert contact_map.chromsizes == sizes
        assert list(contact_map.chromsizes) == ["chr2", "chr1", "chr3"]
        assert contact_map.matrix("chr2", "chr1")[7, 0] == 1
    text.write_text("#chromsize: chr1 27000\n#chromsize: chr2 75500\n" + text.read_text())
    assert open_contacts(text, 10_000).chromsizes == {"chr1": 27_000, "chr2": 75_500}


def test_bins_are_the_originals(tmp_path, golden):
    _, manifest = golden("upstream_data")
    case = manifest["text_input"]
    *lines, unreadable = case["lines"]
    (tmp_path / "reads.txt").write_text("\n".join(lines) + "\n")
    contact_map = open_contacts(tmp_path / "reads.txt", case["resolution"])
    for chrom, expected in case["result"].items():
        theirs = np.array(expected["dense"])
        # The original leaves contacts below the diagonal where they fell.
        folded = np.triu(theirs) + np.tril(theirs, -1).T
        np.testing.assert_array_equal(contact_map.matrix(chrom).toarray(), folded)
        assert contact_map.n_bins(chrom) == len(theirs)
    # The original drops contacts between chromosomes, and goes past lines that it cannot read.
    assert contact_map.matrix("chr1", "chr2").sum() == 1
    (tmp_path / "reads.txt").write_text("\n".join([*lines, unreadable]) + "\n")
    with pytest.raises(InputError, match=f"line {len(lines) + 1}, has 2 columns, expected at least 5"):
        open_contacts(tmp_path / "reads.txt", case["resolution"])


def test_short_first_line_shifts_nothing(tmp_path):
    (tmp_path / "reads.txt").write_text(". chr1 5 chr1\n. chr1 5 chr1 7\n. chr1 5 chr1 7\n")
    with pytest.raises(InputError, match="line 1, has 4 columns"):
        open_contacts(tmp_path / "reads.txt", 10)


@pytest.mark.parametrize(
    ("sizes", "sentence"),
    [
        ({"chr1": 27_000}, "line 5, names chromosome 'chr2', which has no length"),
        ({"chr1": 20_000, "chr2": 80_000}, "line 2, has position 25000 on chr1, expected 0 to 19999"),
        ({"chr1": 0, "chr2": 80_000}, "chromsizes of chr1: '0' is no length"),
        ({}, "names no chromosome"),
        ("absent", "chromsizes=absent is no file"),
    ],
)
def test_bad_lengths_are_one_sentence(text, sizes, sentence):
    with pytest.raises(InputError, match=sentence):
        open_contacts(text, 10_000, chromsizes=sizes)


def test_bad_files_are_one_sentence(tmp_path, text):
    with pytest.raises(InputError, match="choose a width with resolution=BP"):
        open_contacts(text)
    (tmp_path / "none.txt").write_text("# nothing\n")
    with pytest.raises(InputError, match="holds no contacts and no chromosome lengths"):
        open_contacts(tmp_path / "none.txt", 1000)
    (tmp_path / "one_line.txt").write_bytes(b"x" * 2_000_000)
    with pytest.raises(InputError, match="line 1, is longer than 1000000 characters"):
        open_contacts(tmp_path / "one_line.txt", 1000)
    (tmp_path / "far.txt").write_text(". chr1 1 chr1 999999999999\n")
    with pytest.raises(InputError, match="expected at most 20000000"):
        open_contacts(tmp_path / "far.txt", 1000)


def test_damaged_files(tmp_path, rng):
    lines = [f". Chr{a} {p} Chr{b} {q}" for a, p, b, q in rng.integers([1, 0, 1, 0], [3, 9000] * 2, (60, 4))]
    (tmp_path / "reads.txt").write_text("\n".join(lines) + "\n")
    survives(tmp_path / "reads.txt", options={"resolution": 1000}, mutations=COMMON + (other_word,) * 3)
