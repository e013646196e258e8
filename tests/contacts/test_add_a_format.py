"""A new format is two functions and a line in a table: a toy one, through the scripts."""

import json

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, formats, open_contacts, write_contacts
from hicfm_jax.contacts.formats import Format
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file
from tests.run_script import run_script


def open_json(path, resolution, chromsizes=None):
    """The file of a new format: `{"sizes": ..., "pixels": [[chrom, row, column, count], ...]}`."""
    try:
        with open(path) as file:
            content = json.load(file)
        sizes, pixels = content["sizes"], content["pixels"]
    except (ValueError, KeyError) as error:
        raise InputError(f"{path} is not a map in JSON: {error}.") from error

    def load(chrom, other):
        count = -(-sizes[chrom] // resolution)
        found = np.array([pixel[1:] for pixel in pixels if chrom == other == pixel[0]]).reshape(-1, 3)
        return scipy.sparse.coo_array((found[:, 2], (found[:, 0], found[:, 1])), (count, count)).tocsr()

    return ContactMap(chromsizes or sizes, resolution, load, str(path))


def write_json(contact_map, path):
    pixels = [
        [chrom, *map(int, pixel)]
        for chrom in contact_map.chromsizes
        for matrix in [contact_map.matrix(chrom).tocoo()]
        for pixel in zip(matrix.row, matrix.col, matrix.data, strict=True)
    ]
    with atomic_file(path) as partial:
        partial.write_text(json.dumps({"sizes": contact_map.chromsizes, "pixels": pixels}))


@pytest.fixture
def json_format(monkeypatch):
    toy = Format((".map.json",), open_json, write_json, frozenset({"chromsizes"}))
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, toy))


def test_a_new_format_is_read_and_written(json_format, tmp_path):
    counts = scipy.sparse.csr_array(np.triu(np.arange(100).reshape(10, 10)))
    contact_map = ContactMap({"Chr1": 9500}, 1000, {("Chr1", "Chr1"): counts})
    assert write_contacts(contact_map, tmp_path / "a.map.json") == [1000]
    again = open_contacts(tmp_path / "a.map.json", 1000)
    assert again.chromsizes == contact_map.chromsizes
    np.testing.assert_array_equal(again.matrix("Chr1").toarray(), counts.toarray())
    done = run_script(
        "thin_map.py",
        f"--input={tmp_path / 'a.map.json'}",
        "--resolution=1000",
        "--fraction=1",
        f"--output={tmp_path / 'b.map.json'}",
    )
    assert done.returncode == 0, done.stderr
    assert open_contacts(tmp_path / "b.map.json", 1000).total_count == counts.sum()


def test_messages_name_a_new_format(json_format, tmp_path):
    with pytest.raises(InputError, match=r"expected one of .*\.map\.json"):
        open_contacts(tmp_path / "a.tsv")
    (tmp_path / "a.map.json").write_text("{")
    with pytest.raises(InputError, match="a.map.json is not a map in JSON"):
        open_contacts(tmp_path / "a.map.json", 1000)
    with pytest.raises(InputError, match="weight='ICE' is no option of .map.json files"):
        open_contacts(tmp_path / "a.map.json", 1000, weight="ICE")
