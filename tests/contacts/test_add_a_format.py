"""A new format is one function, or two, and a line in a table: a toy one, through the scripts."""

import json

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, formats, open_contacts, write_contacts
from hicfm_jax.contacts.chromsizes import check_bins, choose_resolution
from hicfm_jax.contacts.formats import Format
from hicfm_jax.contacts.formats.binned_contacts import BinnedContacts
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file
from tests.run_script import run_script


def open_json(path, resolution=None):
    """The file of a new format: a list of pixels, cis and trans, of bins that it says the width of.

    `{"width": bp, "sizes": {chrom: bp}, "pixels": [[chrom1, bin1, chrom2, bin2, count], ...]}`
    """
    try:
        with open(path) as file:
            content = json.load(file)
        width, sizes = int(content["width"]), {name: int(size) for name, size in content["sizes"].items()}
        choose_resolution(path, [width], resolution)
        check_bins(sizes, width, path)
        binned = BinnedContacts(sizes, width, np.float64)
        chrom1, bin1, chrom2, bin2, counts = zip(*content["pixels"], strict=True)
        places = []  # of both sides, in bins of the genome
        for chroms, bins in ((chrom1, np.array(bin1)), (chrom2, np.array(bin2))):
            first, last = ([binned.offset[binned.index[name] + step] for name in chroms] for step in (0, 1))
            places.append(np.add(first, bins))
            if (bins < 0).any() or (places[-1] >= last).any():
                raise ValueError("a bin is outside its chromosome")
        binned.add(*places, np.array(counts, np.float64))
    except InputError:
        raise
    except (ValueError, TypeError, AttributeError, LookupError, ArithmeticError) as error:
        raise InputError(f"{path} is not a map in JSON: {' '.join(str(error).split())}.") from error
    binned.finish(path)
    stored = binned.as_map(path)
    return stored if resolution in (None, width) else stored.coarsen(resolution // width)


def write_json(contact_map, path):
    """The writer, for a format that can be written."""
    pixels = [
        [one, int(row), two, int(column), float(count)]
        for (one, two), *found in contact_map.pixels()
        for row, column, count in zip(*found, strict=True)
    ]
    content = {"width": contact_map.resolution, "sizes": contact_map.chromsizes, "pixels": pixels}
    with atomic_file(path) as partial:
        partial.write_text(json.dumps(content))


@pytest.fixture
def json_format(monkeypatch):
    toy = Format((".map.json",), open_json, write_json)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, toy))


def test_a_new_format_is_read(json_format, tmp_path):
    """Pixels below the diagonal go to the upper triangle, and wider bins are sums."""
    pixels = [["Chr1", 0, "Chr1", 1, 5], ["Chr1", 9, "Chr1", 2, 7], ["Chr2", 1, "Chr1", 3, 2]]
    content = {"width": 1000, "sizes": {"Chr1": 9500, "Chr2": 2000}, "pixels": pixels}
    (tmp_path / "a.map.json").write_text(json.dumps(content))
    contact_map = open_contacts(tmp_path / "a.map.json")
    assert contact_map.resolution == 1000 and contact_map.total_count == 14
    cis, trans = contact_map.matrix("Chr1"), contact_map.matrix("Chr1", "Chr2")
    assert cis.nnz == 2 and (cis[0, 1], cis[2, 9]) == (5, 7)
    assert trans.nnz == 1 and trans[3, 1] == 2
    wide = open_contacts(tmp_path / "a.map.json", 2000)
    assert (wide.matrix("Chr1")[0, 0], wide.matrix("Chr1", "Chr2")[1, 0]) == (5, 2)
    with pytest.raises(InputError, match="cannot give 1500 bp"):
        open_contacts(tmp_path / "a.map.json", 1500)


def test_a_new_format_is_written(json_format, tmp_path):
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
    outside = {"width": 1000, "sizes": {"Chr1": 9500}, "pixels": [["Chr1", 0, "Chr1", 10, 1]]}
    (tmp_path / "a.map.json").write_text(json.dumps(outside))
    with pytest.raises(InputError, match="a.map.json is not a map in JSON: a bin is outside its chromosome"):
        open_contacts(tmp_path / "a.map.json", 1000)
    with pytest.raises(InputError, match="weight='ICE' is no option of .map.json files"):
        open_contacts(tmp_path / "a.map.json", 1000, weight="ICE")
