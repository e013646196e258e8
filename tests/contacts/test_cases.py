"""Small files as people have them: the right value, or the right sentence."""

import warnings

import pytest

from hicfm_jax.contacts import open_contacts
from hicfm_jax.errors import InputError, InputNote

VALUES = {
    "01_old_cooler_without_format.cool": (None, 274, ""),
    "02a_bedgraph2.txt": (10_000, 300, "pixels of cooler dump --join"),
    "02b_juicer_long.txt": (10_000, 120, "Juicer's long format"),
    "02c_juicer_short_nofrag.txt": (10_000, 120, "Juicer's short format"),
    "02d_strands_between.txt": (10_000, 120, "chr1 pos1 strand1"),
    "03_sparse_written_by_us.hic": (10_000, 60, ""),
    "04_contact_beyond_end.hic": (10_000, 27, "states 13 contacts of c1 x c2 and has 12"),
    "07_version7.hic": (10_000, 27, ""),
    "09_unmapped_without_position.pairs": (10_000, 60, ""),
    "12_byte_order_mark.pairs": (10_000, 60, ""),
    "odd_allValidPairs.txt": (10_000, 1, "HiC-Pro's allValidPairs"),
    "odd_juicer_short.txt": (10_000, 2, "Juicer's short format"),
    "odd_float.cool": (None, 852.11, "counts that are not whole"),
}
SENTENCES = {
    "02e_dense_matrix.txt": (10_000, "is a matrix of 30 columns without chromosomes"),
    "05_fragments_only.hic": (10_000, "restriction fragments only"),
    "06_headerless.pairs": (10_000, "has no chromosome lengths: give a file of names and lengths"),
    "odd_hicpro.matrix": (None, "odd_hicpro_abs.bed is not beside it"),
    "odd_cells.scool": (None, "holds 2 cells: choose one .* or their sum"),
}


def _cases(names):
    needs = pytest.mark.needs("hictkpy")
    return [pytest.param(name, marks=needs if name.endswith(".hic") else ()) for name in names]


@pytest.mark.parametrize("name", _cases(VALUES))
def test_the_right_value_is_read(cases_dir, name):
    resolution, total, note = VALUES[name]
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always", InputNote)
        contact_map = open_contacts(cases_dir / name, resolution)
        found = sum(contact_map.matrix(*pair).sum() for pair in contact_map.pairs())
    assert found == pytest.approx(total) == contact_map.total_count
    texts = [str(each.message) for each in said if each.category is InputNote]
    assert (note in texts[0]) if note else not texts


@pytest.mark.parametrize("name", _cases(SENTENCES))
def test_the_right_sentence_is_said(cases_dir, name):
    resolution, sentence = SENTENCES[name]
    with pytest.raises(InputError, match=sentence):
        open_contacts(cases_dir / name, resolution)


def test_lengths_can_be_given(cases_dir):
    sizes = cases_dir / "06_headerless.chrom.sizes"
    assert open_contacts(cases_dir / "06_headerless.pairs", 10_000, chromsizes=sizes).total_count == 60
