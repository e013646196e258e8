"""Single cells: `.scool` files and lists of maps."""

import cooler
import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_cells, open_contacts, write_cells, write_contacts
from hicfm_jax.errors import InputError

SIZES = {"chr1": 9_500, "chr2": 4_000}


def cell(seed, sizes=SIZES, dtype=np.int64):
    rng, matrices = np.random.default_rng(seed), {}
    for chrom, length in sizes.items():
        counts = np.triu(rng.poisson(0.4, (-(-length // 1000),) * 2))
        matrices[chrom, chrom] = scipy.sparse.csr_array(counts.astype(dtype))
    return ContactMap(sizes, 1000, matrices, f"cell {seed}")


def same(found, expected):
    assert found.chromsizes == expected.chromsizes
    for chrom in expected.chromsizes:
        assert (found.matrix(chrom) != expected.matrix(chrom)).nnz == 0


@pytest.fixture
def scool(tmp_path):
    path = tmp_path / "three.scool"
    empty = ContactMap(SIZES, 1000, {}, "empty")
    assert write_cells([("b", cell(2)), ("a", cell(1)), ("none", empty)], path, {"made": "here"}) == [
        "b",
        "a",
        "none",
    ]
    return path


def test_cells_come_back(scool):
    cells = open_cells(scool)
    assert list(cells) == ["a", "b", "none"]
    same(cells["b"], cell(2))
    same(cells["a"], cell(1))
    assert cells["none"].total_count == 0
    same(open_contacts(f"{scool}::/cells/a"), cell(1))
    same(open_cells(scool, 2000)["a"], cell(1).coarsen(2))
    assert list(open_cells(f"{scool}::/cells/a")) == ["a"]


def test_cooler_reads_what_was_written(scool):
    assert cooler.fileops.is_scool_file(str(scool))
    assert cooler.fileops.list_scool_cells(str(scool)) == ["/cells/a", "/cells/b", "/cells/none"]
    clr = cooler.Cooler(f"{scool}::/cells/b")
    assert clr.info["sum"] == cell(2).total_count and clr.info["metadata"] == {"name": "cell 2"}
    assert dict(clr.chromsizes) == SIZES and clr.binsize == 1000
    whole = cell(2).matrix("chr1").toarray()
    np.testing.assert_array_equal(np.triu(clr.matrix(balance=False).fetch("chr1")), whole)


def test_cells_that_cooler_wrote_are_read(tmp_path):
    path, bins = tmp_path / "theirs.scool", cooler.binnify(pd.Series(SIZES), 1000)
    pixels = {
        name: pd.DataFrame({"bin1_id": [0, 3], "bin2_id": [2, 3], "count": [n, 1]})
        for n, name in enumerate(("x", "y"), 4)
    }
    cooler.create_scool(str(path), bins, pixels)
    assert {name: each.total_count for name, each in open_cells(path).items()} == {"x": 5, "y": 6}


def test_real_counts_stay(tmp_path):
    halves = ContactMap(SIZES, 1000, {("chr2", "chr2"): scipy.sparse.csr_array(np.eye(4) / 2)})
    write_cells([("one", halves)], tmp_path / "halves.scool")
    same(open_contacts(tmp_path / "halves.scool"), halves)  # the only cell need not be named


def test_a_list_of_maps(tmp_path, scool):
    write_contacts(cell(5), tmp_path / "five.cool")
    listed = tmp_path / "cells.txt"
    listed.write_text("# mine\nfive.cool\n\nthree.scool::/cells/a\nfive.cool\tagain\n")
    cells = open_cells(listed)
    assert list(cells) == ["five", "a", "again"]
    same(cells["a"], cell(1))
    same(cells["again"], cell(5))
    assert list(open_cells(tmp_path / "five.cool")) == ["five"]


def test_a_text_file_of_contacts_is_one_cell(tmp_path):
    path = tmp_path / "cell.txt"
    path.write_text("id chr1 100 chr1 2100\nid chr1 100 chr1 100\n".replace("id", "."))
    (found,) = open_cells(path, 1000).values()
    assert found.total_count == 2


def test_a_users_mistake_is_one_sentence(tmp_path, scool):
    listed = tmp_path / "cells.list"
    for text, message in [
        ("five.bed\n", "line 1, is 'five.bed', expected a map"),
        ("a.cool\nb/a.cool\n", "line 2: the cell 'a' occurs twice"),
        ("# none\n", "lists no maps"),
    ]:
        listed.write_text(text)
        with pytest.raises(InputError, match=message):
            open_cells(listed)
    with pytest.raises(InputError, match="holds 3 cells: choose one of .*::/cells/a, "):
        open_contacts(scool)
    with pytest.raises(InputError, match="no cooler at ::/cells/z, expected one of /cells/a"):
        open_contacts(f"{scool}::/cells/z")
    with pytest.raises(InputError, match="does not exist"):
        open_cells(tmp_path / "none.scool")["none"]
    write_contacts(cell(5), tmp_path / "five.cool")
    (tmp_path / "five.cool").rename(tmp_path / "five.scool")
    with pytest.raises(InputError, match="no cells at ::/cells"):
        open_cells(tmp_path / "five.scool")


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        ([], "there are no cells to write"),
        ([("a", cell(1)), ("a", cell(2))], "the cell name 'a' occurs twice"),
        ([("a/b", cell(1))], "'a/b' cannot be stored"),
        ([("a", cell(1)), ("b", cell(1, {"chr1": 9_500}))], "other chromosomes or another bin width"),
    ],
)
def test_nothing_half_written_is_left(tmp_path, cells, message):
    with pytest.raises(InputError, match=message):
        write_cells(cells, tmp_path / "out.scool")
    assert not list(tmp_path.iterdir())
