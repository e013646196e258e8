"""Denser maps of single cells."""

import dataclasses

import numpy as np
import PIL.Image
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_cells, open_contacts, write_cells, write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.infer import infer_file, single_cell
from hicfm_jax.infer.tasks import single_cell as task
from hicfm_jax.infer.tasks.target_depth import ORIGINAL_CUTOFF
from hicfm_jax.models.preprocess import normalize, target_scaling
from hicfm_jax.progress import NullProgress
from tests.infer.toy_networks import CHROMSIZES, echo, toy_map
from tests.run_script import run_script


class Listener(NullProgress):
    def __init__(self):
        self.said, self.units = [], []

    def start(self, total, unit="windows"):
        self.units.append((total, unit))

    def say(self, line):
        self.said.append(line)


@pytest.fixture
def toy(monkeypatch):
    """The task with a network that gives back its input."""
    network = echo()
    monkeypatch.setattr(task, "load_network", lambda *_: network)
    return network


@pytest.fixture
def cells(tmp_path):
    """A file of two cells, and one without contacts."""
    path = tmp_path / "cells.scool"
    empty = ContactMap(CHROMSIZES, 1000, {}, "none")
    write_cells([("b", toy_map(2)), ("a", toy_map(1)), ("none", empty)], path)
    return path


@pytest.mark.parametrize("window", [(32, 32), (32, 64), (48, 16)])
@pytest.mark.parametrize("merge", ["average", "original"])
def test_any_window_gives_the_map_back(window, merge):
    """Also rectangular ones, which crash the original, and around chromosomes shorter than a window."""
    choices = dict(merge=merge, bound=250) if merge == "original" else {}
    dense = single_cell(toy_map(), echo(window), integer=True, **choices)
    assert dense.chromsizes == CHROMSIZES
    for chrom in CHROMSIZES:
        np.testing.assert_array_equal(dense.matrix(chrom).toarray(), toy_map().matrix(chrom).toarray())


def test_a_short_chromosome_is_centered():
    plan = task.make_plan(task.TASK, toy_map(), echo())
    assert task.positions(20, plan).tolist() == [[-6, -6]]
    assert task.positions(33, plan).tolist() == [[0, 0], [0, 1], [1, 1]]


def test_a_count_of_windows_that_is_not_symmetric_does_no_harm():
    """Defect of the original: it divides both triangles' sum by the number of windows of one.

    Starts are set to 0 while a row is scanned, so that (0, 11) is used and (11, 0) is not.
    """
    plan = task.make_plan(task.TASK, toy_map(), echo((64, 64)), merge="original", stride=20, bound=15)
    places = task.positions(75, plan)
    assert [11, 0] in places.tolist() and places.tolist().count([0, 11]) != places.tolist().count([11, 0])
    rows = task.merge_outputs([np.full((64, 64), 0.5)] * len(places), places, 75, (64, 64), "original")
    for part in rows:
        assert set(part.mean[part.covered]) == {0.5}


def test_a_chromosome_of_low_predictions_is_empty():
    """Defect of the original: `clip(0, largest)` fills it with a negative number."""
    np.testing.assert_array_equal(
        task.contacts(np.full((2, 2), -0.5), target_scaling("single_cell"), True), 0
    )


def test_halves_become_even():
    halves = np.array([0.5, 1.5, 2.5, 3.5])
    np.testing.assert_array_equal(task.contacts(halves, target_scaling("none"), True), [0, 2, 2, 4])
    np.testing.assert_array_equal(task.contacts(halves, target_scaling("none"), False), halves)


def test_all_cells_of_a_file(tmp_path, cells, toy, coarse_pictures):
    listener, output = Listener(), tmp_path / "dense.scool"
    line = infer_file("single_cell", str(cells), None, "toy", output, integer=True, progress=listener)
    dense = open_cells(output)
    assert list(dense) == ["a", "b"]
    for name, seed in (("a", 1), ("b", 2)):
        found, expected = dense[name], toy_map(seed)
        assert found.chromsizes == CHROMSIZES
        for chrom in CHROMSIZES:
            np.testing.assert_array_equal(found.matrix(chrom).toarray(), expected.matrix(chrom).toarray())
    total = toy_map(1).total_count + toy_map(2).total_count
    assert line.startswith(f"Wrote {output}: {total:,.0f} cis contacts of 2 cells, from {total:,.0f}.")
    assert listener.said[-1:] == ["1 of 3 cells have no contacts and are left out: none."]
    assert listener.units == [(3, "cells")]
    about = dense["a"].metadata["enhancement"]
    assert about["input"] == f"{cells}::/cells/a" and about["window"] == [32, 32]


@pytest.mark.needs("matplotlib")
def test_a_picture_has_a_row_per_cell(tmp_path, cells, toy):
    heights = []
    for name, uri in {"two": cells, "one": f"{cells}::/cells/a"}.items():
        line = infer_file("single_cell", str(uri), None, "toy", tmp_path / f"{name}.scool")
        assert line.endswith(f"Also wrote {tmp_path / name}.png.")
        heights.append(PIL.Image.open(tmp_path / f"{name}.png").height)
    assert heights[0] > 1.8 * heights[1] > 450
    with pytest.raises(InputError, match="two.png exists already"):
        infer_file("single_cell", str(cells), None, "toy", tmp_path / "two.cool")


def test_one_cell_to_a_plain_map(tmp_path, cells, toy, coarse_pictures):
    output = tmp_path / "a.cool"
    line = infer_file("single_cell", f"{cells}::/cells/a", None, "toy", output, chromosomes=["Chr2"])
    assert f"from {toy_map(1).matrix('Chr2').data.sum():,.0f}." in line
    np.testing.assert_allclose(
        open_contacts(output).matrix("Chr2").toarray(), toy_map(1).matrix("Chr2").toarray(), atol=2e-3
    )
    assert list(open_contacts(output).chromsizes) == ["Chr2"]


def test_a_list_of_maps_through_the_script(tmp_path, cells, toy, coarse_pictures):
    write_contacts(toy_map(3), tmp_path / "three.cool")
    (tmp_path / "some.txt").write_text("three.cool\ncells.scool::/cells/b\n")
    flags = (f"--input={tmp_path / 'some.txt'}", "--checkpoint=x", f"--output={tmp_path / 'out.scool'}")
    done = run_script("infer.py", "--task=single_cell", *flags, "--integer")
    assert done.returncode == 0, done.stderr
    assert "of 2 cells" in done.stdout and list(open_cells(tmp_path / "out.scool")) == ["b", "three"]


def test_a_users_mistake_is_one_sentence(tmp_path, cells, toy):
    write_cells([("x", ContactMap(CHROMSIZES, 1000, {}, "x"))], tmp_path / "empty.scool")
    before = sorted(tmp_path.iterdir())
    for uri, output, choices, message in [
        (cells, "out.cool", {}, "has 3 cells, and a .cool file holds one: write .scool"),
        (tmp_path / "empty.scool", "out.scool", {}, "has no contacts within the chosen chromosomes"),
        (cells, "out.scool", {"chromosomes": ["Chr9"]}, "has no chromosome 'Chr9'"),
        (f"{cells}::/cells/a", "out.pairs", {"integer": False}, "has whole contacts only"),
        (cells, "out.bed", {}, "task single_cell cannot write .bed, expected one of .scool, .cool"),
    ]:
        with pytest.raises(InputError, match=message):
            infer_file("single_cell", str(uri), None, "toy", tmp_path / output, **choices)
    assert sorted(tmp_path.iterdir()) == before


def test_counts_that_no_map_has_are_refused():
    with pytest.raises(InputError, match="predicts .* contacts in a pixel"):
        task.contacts(np.full(3, 40.0), target_scaling("single_cell"), True)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("case", ["synthetic", "synthetic_bound10"])
def test_published_weights_give_the_original_cell(
    golden, fixtures_dir, tmp_path, monkeypatch, coarse_pictures, case
):
    """From `.pth.tar` to the written file; chr4 is shorter than half a window, where the original stops."""
    arrays, manifest = golden("upstream_inference")
    run = f"single_cell/{case}"
    about = manifest["runs"][run]
    matrices = {}
    for name in arrays:
        if name.startswith("source/cell/"):  # the upper triangle, row by row
            size = int((2 * len(arrays[name])) ** 0.5)
            upper = np.zeros((size, size), np.int64)
            upper[np.triu_indices(size)] = arrays[name]
            matrices[name.split("/")[-1]] = scipy.sparse.csr_array(upper)
    sizes = {chrom: matrix.shape[0] * about["resolution"] for chrom, matrix in matrices.items()}
    cell = ContactMap(sizes, about["resolution"], {(chrom, chrom): m for chrom, m in matrices.items()}, case)
    write_cells([("one", cell)], tmp_path / "cell.scool")
    outputs = {}

    def merge(values, places, size, *rest):
        values = list(values)
        outputs[size] = places, values
        return task.merge_outputs(values, places, size, *rest)

    monkeypatch.setattr(task, "TASK", dataclasses.replace(task.TASK, merge=merge))
    weights = fixtures_dir / "upstream_tiny_single_cell.pth.tar"
    choices = {name: about[name] for name in ("stride", "bound")}
    output = tmp_path / "dense.scool"
    infer_file("single_cell", tmp_path / "cell.scool", None, weights, output, merge="original", **choices)
    dense = open_contacts(f"{output}::/cells/one")
    for number, chrom in enumerate(about["chromosomes"]):
        size = dense.n_bins(chrom)
        places, values = outputs[size]
        windows = arrays[f"{run}/windows"]
        networks = arrays[f"{run}/network"][windows[:, 0] == number]
        corners = np.maximum(places, 0)
        theirs = windows[windows[:, 0] == number][:, 1:3]
        order = np.lexsort((theirs[:, 1], theirs[:, 0], theirs.min(axis=1)))
        np.testing.assert_array_equal(corners, theirs[order])
        np.testing.assert_allclose(values, networks[order], atol=1e-5)
        found = dense.matrix(chrom).toarray()
        expected, before = (arrays[f"{run}/{kind}/{chrom}"] for kind in ("enhanced", "before_rounding"))
        sure = np.abs(before - np.floor(before) - 0.5) > 1e-3
        assert sure.mean() > 0.99 and found.dtype.kind == "i"
        np.testing.assert_array_equal(found[sure], expected[sure])
        assert np.abs(found - expected).max() <= 1


@pytest.mark.needs("torch")
def test_the_images_are_the_originals(golden):
    arrays, _ = golden("upstream_inference")
    for number, (chrom, row) in {0: ("chr1", 0), 16: ("chr3", -15)}.items():
        source = arrays[f"source/cell/{chrom}"]
        upper = np.zeros((int((2 * len(source)) ** 0.5),) * 2, np.int64)
        upper[np.triu_indices(len(upper))] = source
        (window,) = task.TASK.prepare(scipy.sparse.csr_array(upper), np.array([[row, row]]), echo((64, 64)))
        image = normalize(window.counts[None], ORIGINAL_CUTOFF)[0]
        expected = arrays[f"single_cell/synthetic/image/{number}"].transpose(1, 2, 0)
        np.testing.assert_allclose(image, expected, atol=2e-6)
