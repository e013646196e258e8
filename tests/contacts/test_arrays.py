"""numpy's formats: one dense chromosome, scipy's sparse files, and whole genomes of ours."""

import io
import pickle
import zipfile

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.errors import InputError
from tests.contacts.fuzzing import COMMON, survives
from tests.contacts.text_damage import other_word


@pytest.fixture
def upper(rng):
    return np.triu(rng.poisson(2, (300, 300)))


@pytest.mark.parametrize("dtype", [np.int64, np.uint16, np.float32, ">f8", np.float16, np.int8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_each_contact_counts_once(tmp_path, upper, symmetric, dtype):
    held = upper + np.triu(upper, 1).T if symmetric else upper
    np.save(tmp_path / "Chr4.npy", held.astype(dtype))
    contact_map = open_contacts(tmp_path / "Chr4.npy", 1000)
    assert contact_map.chromsizes == {"Chr4": 300_000}
    assert contact_map.total_count == upper.sum()
    np.testing.assert_array_equal(contact_map.matrix("Chr4").toarray(), upper)
    assert contact_map.matrix("Chr4").dtype.kind in "iu"


def test_symmetric_up_to_rounding(tmp_path, rng):
    weights = rng.uniform(0.5, 2, 50).astype(np.float32)
    balanced = np.outer(weights, weights) * weights[:, None] / weights[:, None]
    assert (balanced != balanced.T).any()
    np.save(tmp_path / "a.npy", balanced)
    contact_map = open_contacts(tmp_path / "a.npy", 10)
    assert contact_map.total_count == pytest.approx(np.triu(balanced).sum(dtype=float), rel=1e-6)


def test_one_count_out_of_many_makes_it_neither(tmp_path, upper):
    held = upper + np.triu(upper, 1).T
    held[299, 0] += 1
    np.save(tmp_path / "Chr4.npy", held)
    scipy.sparse.save_npz(tmp_path / "Chr4.npz", scipy.sparse.coo_array(held))
    for name in ("Chr4.npy", "Chr4.npz"):
        contact_map = open_contacts(tmp_path / name, 1000)
        with pytest.raises(InputError, match="chromosome Chr4 is neither symmetric nor upper triangular"):
            contact_map.matrix("Chr4")


def test_lengths_and_name_given(tmp_path, upper):
    np.save(tmp_path / "matrix.npy", upper)
    contact_map = open_contacts(tmp_path / "matrix.npy", 1000, chromsizes={"Chr4": 310_500})
    assert contact_map.chromsizes == {"Chr4": 310_500}
    assert contact_map.matrix("Chr4").shape == (311, 311)
    assert contact_map.total_count == upper.sum()
    with pytest.raises(InputError, match="has 300 bins, expected 200 for 200000 bp at 1000 bp"):
        open_contacts(tmp_path / "matrix.npy", 1000, chromsizes={"Chr4": 200_000})
    with pytest.raises(InputError, match="no length of 'matrix', but of Chr1, Chr4"):
        open_contacts(tmp_path / "matrix.npy", 1000, chromsizes={"Chr1": 200_000, "Chr4": 310_500})


@pytest.mark.parametrize("layout", ["coo", "csr", "csc"])
@pytest.mark.parametrize("kind", ["matrix", "array"])
def test_scipy_files(tmp_path, upper, layout, kind):
    made = getattr(scipy.sparse, f"{layout}_{kind}")(upper + np.triu(upper, 1).T)
    scipy.sparse.save_npz(tmp_path / "Chr4.npz", made)
    np.testing.assert_array_equal(open_contacts(tmp_path / "Chr4.npz", 1000).matrix("Chr4").toarray(), upper)


def save_sparse(path, layout, shape, **arrays):
    np.savez(path, format=np.array(layout.encode()), shape=np.array(shape), **arrays)


@pytest.mark.parametrize(
    ("layout", "shape", "arrays", "sentence"),
    [
        ("coo", (4, 4), {"row": [0, 4], "col": [1, 4]}, "axis 0 index 4 exceeds"),
        ("coo", (4, 4), {"row": [0, -1], "col": [1, 3]}, "negative axis 0 index: -1"),
        ("coo", (4, 4), {"row": [0], "col": [1, 3]}, "must have the same length"),
        ("csr", (4, 4), {"indptr": [0, 1, 2, 2, 9], "indices": [0, 1]}, "Last value of index pointer"),
        ("csr", (4, 4), {"indptr": [0, 9, 2, 2, 2], "indices": [0, 1]}, "non-decreasing"),
        ("csr", (4, 4), {"indptr": [0, 1, 2, 2, 2], "indices": [0, 2**30]}, "indices must be < 4"),
        ("csr", (2**40, 4), {"indptr": [0, 2], "indices": [0, 1]}, "index pointer size 2"),
        ("csr", (4, 4, 4), {"indptr": [0, 2], "indices": [0, 1]}, "shape must have length"),
        ("dia", (4, 4), {"offsets": [0, 2]}, "number of diagonals"),
        ("csc", (4, 4), {"indices": [0, 1]}, "indptr is not a file"),
    ],
)
def test_sparse_matrices_are_checked(tmp_path, layout, shape, arrays, sentence):
    arrays = {name: np.array(values) for name, values in arrays.items()}
    save_sparse(tmp_path / "a.npz", layout, shape, data=np.array([1, 2]), **arrays)
    with pytest.raises(InputError, match=sentence):
        open_contacts(tmp_path / "a.npz", 1000)


@pytest.mark.parametrize(
    ("array", "sentence"),
    [
        (np.zeros((4, 5)), r"has shape \(4, 5\), expected as many rows as columns"),
        (np.zeros(16), r"has shape \(16,\), expected a matrix"),
        (np.zeros((0, 0)), r"has shape \(0, 0\), expected a matrix|cannot be read"),
        (np.full((4, 4), "x"), "values of type <U1, expected numbers"),
        (np.ones((4, 4), complex), "values of type complex128, expected numbers"),
        (np.triu(np.full((4, 4), np.nan)), "holds the count nan"),
        (np.triu(np.full((4, 4), -1)), "holds the count -1"),
        (np.triu(np.full((4, 4), 2**62)), "holds the count 4611686018427387904"),
    ],
)
def test_what_is_no_contact_map_is_one_sentence(tmp_path, array, sentence):
    np.save(tmp_path / "Chr4.npy", array)
    with pytest.raises(InputError, match=sentence):
        open_contacts(tmp_path / "Chr4.npy", 1000).matrix("Chr4")


class Hostile:
    def __reduce__(self):
        return print, ("this ran",)


def test_pickled_objects_are_not_loaded(tmp_path, capsys):
    objects = np.empty((1, 1), object)
    objects[0, 0] = Hostile()
    np.save(tmp_path / "a.npy", objects)
    np.savez(tmp_path / "a.npz", chromosomes=objects, lengths=objects, resolution=objects, pairs=objects)
    (tmp_path / "b.npy").write_bytes(pickle.dumps(Hostile()))
    for name in ("a.npy", "a.npz", "b.npy"):
        with pytest.raises(InputError, match=name):
            open_contacts(tmp_path / name, 1000)
    assert capsys.readouterr().out == ""


def test_whole_genome_is_read_by_pairs_and_summed_up(cool, tmp_path):
    path, dense = cool
    write_contacts(open_contacts(path), tmp_path / "genome.npz")
    held = open_contacts(tmp_path / "genome.npz")
    assert held.chromsizes == open_contacts(path).chromsizes
    assert held.resolution == 1000
    assert held.total_count == dense.sum()
    coarse = open_contacts(tmp_path / "genome.npz", 3000)
    np.testing.assert_array_equal(
        coarse.matrix("Chr1", "Chr2").toarray(), open_contacts(path, 3000).matrix("Chr1", "Chr2").toarray()
    )
    with pytest.raises(InputError, match="cannot give 2500 bp: it holds 1000 bp"):
        open_contacts(tmp_path / "genome.npz", 2500)


def test_numpy_alone_reads_what_we_write(cool, tmp_path):
    path, dense = cool
    write_contacts(open_contacts(path), tmp_path / "genome.npz")
    with np.load(tmp_path / "genome.npz", allow_pickle=False) as file:
        assert file["chromosomes"].tolist() == ["Chr1", "Chr2", "ChrM"]
        assert file["lengths"].tolist() == [10_500, 4_000, 700]
        assert [0, 1] in file["pairs"].tolist()
        again = np.zeros((11, 4))
        again[file["row_0_1"], file["col_0_1"]] = file["count_0_1"]
    np.testing.assert_array_equal(again, dense[:11, 11:15])


@pytest.mark.slow  # writes and reads a real map
def test_real_map_with_trans_contacts(data_dir, tmp_path):
    real = open_contacts(data_dir / "yeast_w303_2kb.cool", 10_000)
    write_contacts(real, tmp_path / "yeast.npz")
    again = open_contacts(tmp_path / "yeast.npz")
    assert again.chromsizes == real.chromsizes
    assert again.total_count == 5_862_820
    for pair in real.pairs()[::20]:
        assert (again.matrix(*pair) != real.matrix(*pair)).nnz == 0


def test_damage_inside_one_pair_is_found_when_it_is_asked_for(cool, tmp_path):
    write_contacts(open_contacts(cool[0]), tmp_path / "good.npz")
    with zipfile.ZipFile(tmp_path / "good.npz") as good, zipfile.ZipFile(tmp_path / "bad.npz", "w") as bad:
        for name in good.namelist():
            if name != "count_0_1.npy":
                bad.writestr(name, good.read(name))
        buffer = io.BytesIO()
        np.lib.format.write_array_header_1_0(
            buffer, {"descr": "<i8", "fortran_order": False, "shape": (2**40,)}
        )
        bad.writestr("count_0_1.npy", buffer.getvalue() + bytes(64))
    contact_map = open_contacts(tmp_path / "bad.npz")
    assert contact_map.matrix("Chr1").sum() > 0
    with pytest.raises(InputError, match="more memory than its size explains"):
        contact_map.matrix("Chr1", "Chr2")


@pytest.mark.parametrize("name", ["Chr4.npy", "Chr4.npz", "genome.npz"])
def test_damaged_files(tmp_path, upper, name):
    if name == "genome.npz":
        held = {("Chr1", "Chr1"): upper[:9, :9], ("Chr1", "Chr2"): upper[:9, 20:25]}
        held = {pair: scipy.sparse.csr_array(counts) for pair, counts in held.items()}
        write_contacts(ContactMap({"Chr1": 8_500, "Chr2": 5_000}, 1000, held), tmp_path / name)
    elif name == "Chr4.npz":
        scipy.sparse.save_npz(tmp_path / name, scipy.sparse.coo_array(upper[:40, :40]))
    else:
        np.save(tmp_path / name, upper[:20, :20])
    mutations = COMMON + (other_word,) * 3 * (name == "Chr4.npy")  # the others are compressed
    survives(tmp_path / name, options={"resolution": 1000}, mutations=mutations)
