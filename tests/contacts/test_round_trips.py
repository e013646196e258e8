"""Random maps through every format: counts, the upper triangle and chromosome lengths survive."""

import pickle

import numpy as np
import pytest
import scipy.sparse
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts

RESOLUTION = 100

# Largest count (of lists of contacts what a test has time for), whether fractions can be held, and examples.
WRITTEN = {
    ".cool": (2**31, True, 12),
    ".mcool": (2**31, True, 4),  # a .cool, and its zoom levels
    ".npz": (2**40, True, 12),
    ".pairs": (20, False, 12),
    ".pairs.gz": (20, False, 4),  # .pairs, compressed
}


@st.composite
def contact_maps(draw, largest=100, fractions=False, max_chromosomes=5):
    """1 to 5 chromosomes whose last bins are short, cis and trans, some pairs without contacts."""
    lengths = draw(st.lists(st.integers(1, 1500), min_size=1, max_size=max_chromosomes))
    names = ["1", "chr2", "Chr3", "scaffold_4", "MT"]
    sizes = dict(zip(names, lengths, strict=False))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.05, 0.5, 1.0]))
    half = 0.5 if fractions and draw(st.booleans()) else 0
    matrices = {}
    for number, one in enumerate(sizes):
        for two in list(sizes)[number:]:
            if draw(st.booleans()):
                shape = -(-sizes[one] // RESOLUTION), -(-sizes[two] // RESOLUTION)
                counts = np.minimum((largest ** rng.random(shape)).astype(np.int64) + half, largest)
                counts = counts * (rng.random(shape) < density)
                matrices[one, two] = scipy.sparse.csr_array(np.triu(counts) if one == two else counts)
    return ContactMap(sizes, RESOLUTION, matrices)


def check_same(again, contact_map, lengths=True):
    assert again.total_count == contact_map.total_count
    held = [pair for pair in contact_map.pairs() if contact_map.matrix(*pair).nnz]
    # Without chromosome lengths the order is that of first appearance.
    assert {frozenset(pair) for pair in held} <= {frozenset(pair) for pair in again.pairs()}
    for pair in again.pairs():
        ours, theirs = contact_map.matrix(*pair).toarray(), again.matrix(*pair).toarray()
        np.testing.assert_array_equal(theirs, ours[: theirs.shape[0], : theirs.shape[1]])
        assert theirs.sum() == ours.sum()
        if pair[0] == pair[1]:
            assert not np.tril(theirs, -1).any()
    if lengths:
        assert list(again.chromsizes.items()) == list(contact_map.chromsizes.items())


def some(examples):
    return settings(
        max_examples=examples, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )


@pytest.mark.parametrize("suffix", WRITTEN)
def test_written_and_read_again(tmp_path, suffix):
    largest, fractions, examples = WRITTEN[suffix]
    path = tmp_path / f"map{suffix}"

    @some(examples)
    @given(contact_map=contact_maps(largest, fractions))
    def check(contact_map):
        write_contacts(contact_map, path)
        check_same(open_contacts(path, RESOLUTION), contact_map)

    check()


@pytest.mark.needs("hictkpy")
@some(4)
@given(contact_map=contact_maps(largest=2**24))  # what single precision holds
def test_hic(tmp_path, contact_map):
    write_contacts(contact_map, tmp_path / "map.hic")
    check_same(open_contacts(tmp_path / "map.hic", RESOLUTION), contact_map)


@some(20)
@given(contact_map=contact_maps(largest=20))
def test_text(tmp_path, contact_map):
    lines = []
    for one, two in contact_map.pairs():
        matrix = contact_map.matrix(one, two).tocoo()
        for row, col, count in zip(matrix.row, matrix.col, matrix.data, strict=True):
            lines += [f"r {two} {col * RESOLUTION} {one} {row * RESOLUTION}\n"] * int(count)
    path = tmp_path / "map.txt"
    path.write_text("# contacts\n" + "".join(lines))
    check_same(open_contacts(path, RESOLUTION, chromsizes=contact_map.chromsizes), contact_map)
    # Without, a chromosome "1" that only meets named ones looks like a strand.
    if any(one == two and contact_map.matrix(one).nnz for one, two in contact_map.pairs()):
        check_same(open_contacts(path, RESOLUTION), contact_map, lengths=False)


def symmetric(matrix):
    return matrix + scipy.sparse.triu(matrix, 1).T


@pytest.mark.slow  # many maps through a process of their own
@some(15)
@given(contact_map=contact_maps(2**40, True, max_chromosomes=1), both=st.booleans(), sparse=st.booleans())
def test_one_chromosome_in_an_array(tmp_path, contact_map, both, sparse):
    ((chrom, _),) = contact_map.chromsizes.items()
    held = symmetric(contact_map.matrix(chrom)) if both else contact_map.matrix(chrom)
    path = tmp_path / ("map.npz" if sparse else "map.npy")
    if sparse:
        scipy.sparse.save_npz(path, held)
    else:
        np.save(path, held.toarray())
    check_same(open_contacts(path, RESOLUTION, chromsizes=contact_map.chromsizes), contact_map)


@pytest.mark.slow  # many maps through a process of their own
@some(15)
@given(
    contact_map=contact_maps(2**40, True),
    both=st.booleans(),
    make=st.sampled_from([scipy.sparse.coo_matrix, scipy.sparse.csr_array, lambda matrix: matrix.toarray()]),
    protocol=st.integers(0, 5),
)
def test_pickle(tmp_path, contact_map, both, make, protocol):
    held = {chrom: make(contact_map.matrix(chrom)) for chrom in contact_map.chromsizes}
    for one, two in contact_map.pairs():
        matrix = contact_map.matrix(one, two)
        held[one if one == two else (one, two)] = make(symmetric(matrix) if both and one == two else matrix)
    path = tmp_path / "map.pkl"
    path.write_bytes(pickle.dumps(held, protocol))
    check_same(open_contacts(path, RESOLUTION, chromsizes=contact_map.chromsizes), contact_map)
    check_same(open_contacts(path, RESOLUTION), contact_map, lengths=False)
