"""The original's pickles: read without running anything, whatever wrote them."""

import pickle
import pickletools
import struct

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import open_contacts
from hicfm_jax.contacts.formats import pickles
from hicfm_jax.errors import InputError
from tests.contacts import fuzzing
from tests.contacts.text_damage import other_word


@pytest.fixture
def save(tmp_path):
    def save(content, protocol=4):
        path = tmp_path / "map.pkl"
        path.write_bytes(content if isinstance(content, bytes) else pickle.dumps(content, protocol))
        return path

    return save


@pytest.fixture
def upper(rng):
    return np.triu(rng.poisson(2, (30, 30)))


MAKERS = {
    "dense": np.asarray,
    "fortran": np.asfortranarray,
    "matrix": np.asmatrix,
    "big_endian": lambda dense: dense.astype(">f8"),
    "coo_matrix": scipy.sparse.coo_matrix,
    "csr_array": scipy.sparse.csr_array,
    "csc_matrix": scipy.sparse.csc_matrix,
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("maker", MAKERS)
def test_every_protocol_and_matrix_counts_each_contact_once(save, upper, maker, protocol):
    symmetric = upper + np.triu(upper, 1).T
    path = save({"chr1": MAKERS[maker](upper), "chr2": MAKERS[maker](symmetric)}, protocol)
    contact_map = open_contacts(path, 1000)
    assert contact_map.chromsizes == {"chr1": 30_000, "chr2": 30_000}
    assert contact_map.pairs() == [("chr1", "chr1"), ("chr2", "chr2")]
    for chrom in ("chr1", "chr2"):
        np.testing.assert_array_equal(contact_map.matrix(chrom).toarray(), upper)
    assert contact_map.total_count == 2 * upper.sum()


@pytest.mark.parametrize(
    ("keys", "sizes"),
    [
        (("chr1", "chr2", ("chr1", "chr2")), None),
        (("chr1", "chr2", "chr1_chr2"), None),
        (("chr1_chr1", "chr2_chr2", "chr1_chr2"), None),
        (("chr1", "chr2", "chr1_chr2"), {"chr1": 29_500, "chr2": 12_000}),
    ],
)
def test_pairs_of_chromosomes(save, upper, rng, keys, sizes):
    small, trans = np.triu(rng.poisson(2, (10, 10))), rng.poisson(1, (30, 12))
    contact_map = open_contacts(
        save(dict(zip(keys, (upper, small, trans), strict=True))), 1000, chromsizes=sizes
    )
    assert contact_map.chromsizes == (sizes or {"chr1": 30_000, "chr2": 12_000})
    np.testing.assert_array_equal(contact_map.matrix("chr1", "chr2").toarray(), trans)
    np.testing.assert_array_equal(contact_map.matrix("chr2").toarray()[:10, :10], small)
    assert contact_map.total_count == upper.sum() + small.sum() + trans.sum()


def test_names_with_underscores(save, upper):
    contact_map = open_contacts(save({"Super_1": upper, "Super_2": upper}), 1000)
    assert list(contact_map.chromsizes) == ["Super_1", "Super_2"]
    contact_map = open_contacts(save({"Super_1_Super_1": upper, "Super_1_x": upper, "x_x": upper}), 1000)
    assert contact_map.pairs() == [("Super_1", "Super_1"), ("Super_1", "x"), ("x", "x")]


def test_one_matrix_alone_is_called_like_its_file(save, upper):
    assert open_contacts(save(upper), 1000).chromsizes == {"map": 30_000}
    assert open_contacts(save(upper), 1000, chromsizes={"chr4": 29_999}).chromsizes == {"chr4": 29_999}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({}, "holds no matrix"),
        ({"chr1": 5}, "chromosome chr1 is of type int, expected a matrix of counts"),
        ({"chr1": [[1, 0], [0, 1]]}, "chromosome chr1 is of type list, expected a matrix"),
        ("hello", "is of type str, expected a matrix"),
        ({"chr1": np.ones((3, 4))}, r"has shape \(3, 4\), expected as many rows as columns"),
        ({"chr1": np.array([[0, 1], [2, 0]])}, "neither symmetric nor upper triangular"),
        ({7: np.eye(3)}, "has a matrix called '7', expected a chromosome or a pair"),
        ({("a", "b"): np.eye(3), ("b", "a"): np.eye(3)}, "is stored in both orders"),
        ({"a": np.eye(3), ("a", "a"): np.eye(3)}, "holds a x a twice"),
        ({"a\nb": np.eye(3)}, "expected 1 to 200 printable characters"),
        ({"chr1": np.array([["x"]])}, "an array of another type than numbers"),
        ({"chr1": np.array([[None]])}, "an array of another type than numbers"),
    ],
)
def test_what_is_no_contact_map_is_one_sentence(save, content, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        open_contacts(save(content), 1000).matrix("chr1")
    assert "\n" not in str(caught.value)


class Hostile:
    """Would create a file, if it were unpickled."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda mark: (exec, f"open({str(mark)!r}, 'w')"), "exec"),
        (lambda mark: (open, str(mark), "w"), "io.open"),
        (lambda mark: (__import__("os").system, f"touch {mark}"), "posix.system"),
        (lambda mark: (__import__("os").makedirs, str(mark)), "os.makedirs"),
        (lambda mark: (np.save, str(mark), 1), "numpy.save"),
        (lambda mark: (np.fromfile, str(mark)), "numpy.fromfile"),
        (lambda mark: (getattr, np, "load"), "getattr"),
        (lambda mark: (scipy.sparse.load_npz, str(mark)), "load_npz"),
    ],
)
def test_a_hostile_pickle_runs_nothing_and_is_named(save, tmp_path, call, name, protocol):
    mark = tmp_path / "ran"
    if name == "getattr":
        content = {"chr1": Hostile(getattr, "text", "upper")}
    else:
        content = {"chr1": np.eye(3), "chr2": Hostile(*call(mark))}
    with pytest.raises(InputError, match=f"contains '.*{name}', expected numpy arrays"):
        open_contacts(save(content, protocol), 1000)
    assert not mark.exists()


def test_a_class_of_ones_own_is_named(save):
    with pytest.raises(InputError, match=r"contains 'fractions.Fraction'"):
        pickles.load(save({"input": __import__("fractions").Fraction(1, 3)}))


def test_numbers_and_text_of_tiles_are_read(save, upper):
    tile = {
        "input": scipy.sparse.coo_matrix(upper),
        "input_count": np.float64(1e6),
        "diag": np.int64(-32),
        "1d_target": np.arange(5.0),
        "name": "chr1",
        "flags": [True, None, (1, 2.5, b"bytes")],
    }
    for protocol in range(6):
        again = pickles.load(save(tile, protocol))
        assert again["diag"] == -32 and again["input_count"] == 1e6
        assert again["name"] == "chr1" and again["flags"] == [True, None, (1, 2.5, b"bytes")]
        np.testing.assert_array_equal(again["1d_target"], np.arange(5.0))
        np.testing.assert_array_equal(again["input"].toarray(), upper)


def test_pickles_of_old_numpy_scipy_and_python_2(save, upper):
    text = pickle.dumps({"chr1": scipy.sparse.csr_matrix(upper)}, 2)
    for new, old in [
        (b"numpy._core.multiarray", b"numpy.core.multiarray"),
        (b"scipy.sparse._csr", b"scipy.sparse.csr"),
    ]:
        text = text.replace(new, old)
    np.testing.assert_array_equal(open_contacts(save(text), 1000).matrix("chr1").toarray(), upper)

    # `numpy.array([[1, 2], [0, 3]], "<i4")` as Python 2 wrote it: its bytes are a string.
    raw = struct.pack("<4i", 1, 2, 0, 3)
    python2 = (
        b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x02\x86cnumpy\ndtype\nU\x02i4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x10" + raw + b"tb."
    )
    np.testing.assert_array_equal(pickles.load(save(python2)), [[1, 2], [0, 3]])


def array_pickle(shape, code="i8", data=b""):
    """An array whose shape and bytes need not agree."""
    good = pickle.dumps(np.zeros(3, np.int8), 2)
    head = good[: good.index(b"(K\x01")]  # up to the state, which begins with its version
    shape, dtype, data = (pickle.dumps(part, 3)[2:-1] for part in (shape, (code, False, True), data))
    return head + b"(K\x01" + shape + b"cnumpy\ndtype\n" + dtype + b"R\x89" + data + b"tb."


NESTED = b"\x80\x02)" + b"".join(b"q%c" % n + b"h%c" % n + b"\x86" for n in range(60))
BOMBS = {
    "bytes of 1 TB": b"\x80\x04\x8e" + struct.pack("<Q", 2**40) + b"x.",
    "bytes of 2**63": b"\x80\x04\x8e" + struct.pack("<Q", 2**63) + b"x.",
    "memo place 2**32": b"\x80\x04K\x01r\xff\xff\xff\xff0.",
    "array of 2**60": array_pickle((2**60,)),
    "array of 2**20 x 2**20": array_pickle((2**20, 2**20), data=bytes(64)),
    "ndarray made by shape": b"\x80\x02cnumpy\nndarray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85\x85R.",
    "empty items": array_pickle((2**60,), "V0"),
    "key that hashes for ever": NESTED.replace(b"\x80\x02", b"\x80\x02}", 1) + b"K\x01s.",
    "type that prints for ever": b"\x80\x02cnumpy\ndtype\n" + NESTED[2:] + b"\x85R.",
    "layout that hashes for ever": b"\x80\x02cscipy.sparse.coo\ncoo_matrix\n" + NESTED[2:] + b"\x85\x81.",
    "shape that prints for ever": (
        b"\x80\x02cscipy.sparse.coo\ncoo_matrix\n)\x81}U\x06_shape" + NESTED[2:] + b"sb."
    ),
    "list in itself": b"\x80\x02]q\x00h\x00a.",
    "a million lists deep": b"\x80\x02" + b"]" * 1_000_000 + b"a" * 999_999 + b".",
    "numbers without end": b"\x80\x02" + b"K\x01" * 5_000_000 + b".",
    "whole number of a million digits": b"L" + b"9" * 1_000_000 + b"L\n.",
    "no such instruction": b"\x80\x02\xff.",
    "empty stack": b"\x80\x020.",
    "no end": b"\x80\x02K\x01",
    "persistent id": b"\x80\x02K\x01Q.",
    "extension": b"\x80\x02\x82\x01.",
    "instance": b"(ios\nsystem\n.",
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_bombs_are_refused_in_little_time_and_memory(save, bomb):
    outcome, sentence = fuzzing.shared_workers()[0].read(save(BOMBS[bomb]), {"resolution": 1000})
    assert outcome == "error", sentence  # not a crash, nor more than 10 s or 1 GB


def test_one_array_in_many_matrices_takes_memory_once(save):
    row = np.zeros(2_000_000, np.int64)
    stored = {f"chr{number}": scipy.sparse.coo_array((row, (row, row)), shape=(4, 4)) for number in range(40)}
    for matrix in stored.values():
        matrix.coords, matrix.data = (row, row), row
    path = save(stored)
    assert path.stat().st_size < 1.1 * row.nbytes
    outcome, total = fuzzing.shared_workers()[0].read(path, {"resolution": 1000})
    assert (outcome, total) == ("map", 0)


@pytest.mark.parametrize("protocol", [0, 4])
def test_damaged_files(tmp_path, upper, protocol):
    content = {"chr1": scipy.sparse.coo_matrix(upper), "chr2": upper + np.triu(upper, 1).T}
    (tmp_path / "map.pkl").write_bytes(pickletools.optimize(pickle.dumps(content, protocol)))
    mutations = fuzzing.COMMON + (other_word,) * 3 * (protocol == 0)  # that one is text
    outcomes = fuzzing.survives(tmp_path / "map.pkl", options={"resolution": 1000}, mutations=mutations)
    assert outcomes["error"] > outcomes.total() / 2
