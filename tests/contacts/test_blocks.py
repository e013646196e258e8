"""Blocks: an assembly of thousands of scaffolds is read and written some at a time, with the same counts."""

import cooler
import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, thin, write_contacts
from hicfm_jax.contacts.blocks import SIDES, find_blocks
from hicfm_jax.contacts.downsampling import rest
from hicfm_jax.contacts.formats.reading_process import ReadingProcess
from hicfm_jax.errors import InputError

SCAFFOLDS = 50
SIZES = {"chr1": 28_000, **{f"scaffold{number}": 3_600 + number for number in range(1, SCAFFOLDS)}}


@pytest.fixture(scope="module")
def fragmented():
    """Contacts of 50 chromosomes, one of them long, between some hundred pairs of them."""
    rng, names = np.random.default_rng(0), list(SIZES)
    matrices = {
        (name, name): scipy.sparse.csr_array(np.eye(-(-SIZES[name] // 100), dtype=int)) for name in names
    }
    for one, two in np.sort(rng.integers(0, SCAFFOLDS, (500, 2)), axis=1):
        shape = [-(-SIZES[names[number]] // 100) for number in (one, two)]
        counts = np.zeros(shape, int)
        counts[tuple(rng.integers(0, shape))] = rng.integers(1, 50)
        matrices[names[one], names[two]] = scipy.sparse.csr_array(np.triu(counts) if one == two else counts)
    return ContactMap(SIZES, 100, matrices)


def test_blocks_hold_each_pair_once_and_no_side_is_longer_than_the_longest_chromosome(fragmented):
    blocks = find_blocks(SIZES, fragmented.pairs())
    assert [pair for pair in sorted(fragmented.pairs())] == sorted(sum((each.pairs for each in blocks), ()))
    longest = max(28_000, sum(SIZES.values()) // SIDES)
    for block in blocks:
        assert all(sum(SIZES[name] for name in names) <= longest for names in block[:2])
        assert {chrom for chrom, _ in block.pairs} <= set(block.rows)
    assert len(blocks) <= (2 * SIDES + 1) ** 2 / 2


@pytest.mark.parametrize("suffix", [".cool", ".pairs"])
def test_a_file_of_scaffolds_is_read_by_few_requests(fragmented, tmp_path, suffix, monkeypatch):
    write_contacts(fragmented, tmp_path / f"map{suffix}")
    asked, stream = [], ReadingProcess.stream
    monkeypatch.setattr(
        ReadingProcess, "stream", lambda self, *args: asked.append(args) or stream(self, *args)
    )
    deep = open_contacts(tmp_path / f"map{suffix}", 100)
    write_contacts(thin(deep, 0.5, 1), tmp_path / "half.mcool")
    assert len(asked) < len(fragmented.pairs()) / 3
    kept, dropped = (
        made(fragmented)
        for made in (lambda each: thin(each, 0.5, 1), lambda each: rest(each, thin(each, 0.5, 1)))
    )
    written = open_contacts(tmp_path / "half.mcool", 100)
    for pair in [("chr1", "chr1"), ("scaffold7", "scaffold7"), *fragmented.pairs()[::75]]:
        np.testing.assert_array_equal(written.matrix(*pair).toarray(), kept.matrix(*pair).toarray())
    assert written.total_count == kept.total_count == fragmented.total_count - dropped.total_count


def test_pixels_come_pair_by_pair_from_blocks_that_are_loaded_once(fragmented, monkeypatch):
    loaded, block = [], ContactMap.block
    monkeypatch.setattr(ContactMap, "block", lambda self, one: loaded.append(one[:2]) or block(self, one))
    found = {pair: pixels for pair, *pixels in fragmented.pixels()}
    assert [*found] == [pair for pair in fragmented.pairs() if fragmented.matrix(*pair).nnz]
    assert len(loaded) == len(set(loaded)) == len(fragmented.blocks())
    for pair, (rows, cols, counts) in [*found.items()][::50]:
        matrix = fragmented.matrix(*pair).toarray()
        assert np.array_equal(np.nonzero(matrix), [rows, cols]) and (matrix[rows, cols] == counts).all()


@pytest.mark.parametrize("suffix", [".hic", ".npz"])
def test_too_many_chromosomes_for_a_format_are_refused_before_the_work(tmp_path, suffix):
    def load(*pair):
        raise AssertionError(pair)

    many = ContactMap({f"scaffold{number}": 1_000 for number in range(10_000)}, 100, load)
    with pytest.raises(InputError, match="at most 500, found 10000: write .mcool or .pairs"):
        write_contacts(many, tmp_path / f"map{suffix}")


def test_zoom_levels_of_scaffolds_are_coolers(fragmented, tmp_path):
    write_contacts(fragmented, tmp_path / "map.mcool")
    cooler.zoomify_cooler(
        f"{tmp_path}/map.mcool::/resolutions/100", f"{tmp_path}/own.mcool", [200, 500, 1000], 10_000
    )
    for width in (200, 500, 1000):
        ours, theirs = (
            cooler.Cooler(f"{tmp_path}/{name}.mcool::/resolutions/{width}") for name in ("map", "own")
        )
        assert ours.bins()[:].equals(theirs.bins()[:])
        assert ours.pixels()[:].equals(theirs.pixels()[:])
