"""Regions in the notation of cooler, and BED files."""

import gzip

import pytest

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.regions import Region, parse_region, read_bed
from hicfm_jax.errors import InputError


@pytest.fixture
def contact_map():
    return ContactMap({"Chr1": 99_500, "a:b,c": 20_000}, 1000, {}, "toy")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Chr1", ("Chr1", 0, 99_500)),
        ("chr1:1,000-3,000", ("Chr1", 1000, 3000)),
        ("1:1k-0.02M", ("Chr1", 1000, 20_000)),
        ("Chr1:98000-", ("Chr1", 98_000, 99_500)),
        ("a:b,c", ("a:b,c", 0, 20_000)),
        ("a:b,c:5-7", ("a:b,c", 5, 7)),
    ],
)
def test_regions_as_users_write_them(contact_map, text, expected):
    assert parse_region(text, contact_map)[:3] == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Chr1:1-100000", "ends at 100,000, but Chr1 of toy is 99,500 bp long"),
        ("Chr1:5000-5000", "not after its start"),
        ("Chr1:1.5-7", "not of the form"),
        ("Chr9:1-7", "no chromosome 'Chr9'"),
        ("Chr1:1-2-3", "no chromosome"),
    ],
)
def test_regions_that_do_not_fit(contact_map, text, message):
    with pytest.raises(InputError, match=message):
        parse_region(text, contact_map)


def test_bins_of_a_region_are_those_that_overlap():
    assert Region("Chr1", 999, 3001).bins(1000) == (0, 4)
    assert Region("Chr1", 1000, 3000).bins(1000) == (1, 3)


def test_bed_files(tmp_path, contact_map):
    text = "track name=x\r\nchr1\t10\t20\tgene\t0\t+\r\n\n1\t30\t99500\n"
    (tmp_path / "a.bed").write_text(text)
    with gzip.open(tmp_path / "a.bed.gz", "wt") as file:
        file.write(text)
    for name in ("a.bed", "a.bed.gz"):
        found = read_bed(tmp_path / name, contact_map)
        assert found == [Region("Chr1", 10, 20, "gene"), Region("Chr1", 30, 99_500)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Chr1\t1\n", "line 1, is .*expected a chromosome, a start and an end"),
        ("Chr1\t1\t2\nChr1\t-1\t2\n", "line 2, is "),
        ("Chr1\t1\t200000\n", "line 1, ends at 200,000, but Chr1"),
        ("# nothing\n", "has no regions"),
    ],
)
def test_bad_bed_files(tmp_path, contact_map, text, message):
    (tmp_path / "a.bed").write_text(text)
    with pytest.raises(InputError, match=message):
        read_bed(tmp_path / "a.bed", contact_map)
    with pytest.raises(InputError, match="cannot be read"):
        read_bed(tmp_path / "none.bed", contact_map)
