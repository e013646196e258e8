"""Tracks from whole maps: the original's numbers, and files of true names and lengths."""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.annotations.tracks import read_tracks
from hicfm_jax.errors import InputError
from hicfm_jax.infer import Network, infer_file, load_network, tasks
from hicfm_jax.infer.scan import scan
from hicfm_jax.infer.scan_plan import make_plan
from hicfm_jax.infer.tasks.epigenome import TASK, predict_tracks
from hicfm_jax.models import HeadOutput
from hicfm_jax.models.heads import TRACKS
from hicfm_jax.models.preprocess import denormalize, normalize, target_scaling
from hicfm_jax.tiles.build import cutting
from tests.infer.toy_networks import CHROMSIZES, toy_map, write_checkpoint
from tests.run_script import run_script

pytestmark = pytest.mark.needs("pybigtools")


def published_map(case, arrays, about, data_dir) -> ContactMap:
    """The input of a golden run."""
    if case == "chr4":
        whole = open_contacts(data_dir / "arabidopsis_col0_30kb.cool")
        sizes, resolution = {"Chr4": whole.chromsizes["Chr4"]}, whole.resolution
        matrices = {"Chr4": whole.matrix("Chr4")}
    else:
        resolution, matrices = about["resolution"], {}
        for name in about["chromosomes"]:
            upper = arrays[f"source/{case}/{name}"]
            size = int((2 * len(upper)) ** 0.5)
            counts = np.zeros((size, size), np.int64)
            counts[np.triu_indices(size)] = upper
            matrices[name] = scipy.sparse.csr_array(counts)
        sizes = {name: len(matrix.indptr[1:]) * resolution for name, matrix in matrices.items()}
    return ContactMap(sizes, resolution, {(name, name): m for name, m in matrices.items()}, case)


@pytest.fixture(scope="module", params=["synthetic", "chr4"])
def run(request, golden, fixtures_dir, data_dir, tmp_path_factory):
    """A golden run, and the folder that the script writes for it."""
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"][f"epigenome/{request.param}"]
    contact_map = published_map(request.param, arrays, about, data_dir)
    folder = tmp_path_factory.mktemp(request.param)
    write_contacts(contact_map, folder / "map.cool")
    done = run_script(
        "infer.py",
        "--task=epigenome",
        f"--input={folder / 'map.cool'}",
        f"--checkpoint={fixtures_dir / 'upstream_tiny_epigenome.pth.tar'}",
        "--input_size=32,128",
        f"--output={folder / 'out'}",
        "--merge=original",
        f"--stride={about['stride']}",
        "--quiet",
    )
    assert done.returncode == 0, done.stderr
    golden_run = {
        name.removeprefix(f"epigenome/{request.param}/"): arrays[name]
        for name in arrays
        if name.startswith(f"epigenome/{request.param}/")
    }
    return golden_run, about, contact_map, folder / "out"


def test_files_have_the_original_numbers(run):
    """The original padded small maps and cut names at `_`; its last entry ended 1 bp early."""
    import pybigtools

    arrays, about, contact_map, folder = run
    assert sorted(path.name for path in folder.iterdir()) == sorted(
        [*(f"{name}.bigWig" for name in TRACKS), "tracks.tsv", "tracks.png"]
    )
    table = read_tracks(folder / "tracks.tsv", contact_map)
    assert list(table) == about["tracks"]
    for number, name in enumerate(about["tracks"]):
        file = pybigtools.open(str(folder / f"{name}.bigWig"))
        assert file.chroms() == contact_map.chromsizes
        for chrom, length in contact_map.chromsizes.items():
            expected = arrays[f"tracks/{chrom}"][number][: contact_map.n_bins(chrom)]
            intervals = arrays[f"bigwig_intervals/{chrom.split('_')[0]}"][: len(expected)].copy()
            intervals[-1, 1] = length
            entries = np.array(list(file.records(chrom)))
            np.testing.assert_array_equal(entries[:, :2], intervals)
            np.testing.assert_allclose(entries[:, 2], expected, rtol=0, atol=1e-5)
            np.testing.assert_array_equal(table[name][chrom], entries[:, 2].astype(np.float32))


def test_windows_and_outputs_are_those_of_the_original(run, fixtures_dir):
    arrays, about, contact_map, _ = run
    network = load_network(fixtures_dir / "upstream_tiny_epigenome.pth.tar", (32, 128), TASK.head)
    plan = make_plan(TASK, contact_map, network, merge="original", stride=about["stride"])
    assert plan.total_count == about["total_count"] and plan.cutoff == 0
    plan = dataclasses.replace(plan, task=dataclasses.replace(TASK, merge=None))
    outputs = {(chrom, part.row): part.values for chrom, part in scan(contact_map, network, plan)}
    expected_windows, divisors = arrays["windows"], arrays["divisor"]
    for chrom, name in enumerate(about["chromosomes"]):
        expected = expected_windows[expected_windows[:, 0] == chrom]
        positions = TASK.positions(contact_map.n_bins(name), plan)
        np.testing.assert_array_equal(positions[:, 0], np.sort(expected[:, 1]))
        np.testing.assert_array_equal(positions[:, 1], np.sort(expected[:, 5]) - 64)
    for number, (chrom, row, *_, middle) in enumerate(expected_windows.tolist()):
        name = about["chromosomes"][chrom]
        values = np.nan_to_num(arrays["network"][number])  # a window without contacts gave NaN
        np.testing.assert_allclose(outputs[name, row], values, rtol=0, atol=1e-5)
        matrix = contact_map.matrix(name)
        (window,) = cutting.scan(matrix, [(row, middle - 64)], (32, 128), symmetric=True)
        counts = window.counts().astype(np.float32)
        if counts.any():
            assert np.log10(counts.max() + 1.0) == pytest.approx(divisors[number], rel=1e-6)
        if f"image/{number}" in arrays:
            image = np.moveaxis(np.asarray(normalize(counts[None]))[0], -1, 0)
            np.testing.assert_allclose(image, arrays[f"image/{number}"], rtol=0, atol=2e-6)


def test_number_of_windows_of_each_bin_is_that_of_the_original(run):
    arrays, about, contact_map, _ = run
    for chrom, name in enumerate(about["chromosomes"]):
        size, found = contact_map.n_bins(name), np.zeros(contact_map.n_bins(name) + 32, int)
        with_contacts = ~np.isnan(arrays["network"]).any(axis=(1, 2))
        for row in arrays["windows"][(arrays["windows"][:, 0] == chrom) & with_contacts, 1]:
            found[row : row + 32] += 1
        np.testing.assert_array_equal(found[:size], arrays[f"count/{name}"][:size])


class RowNumbers(nn.Module):
    """Predicts two tracks: the share of bins with contacts in each row, and twice that."""

    input_size: tuple[int, int] = (32, 64)
    task: str = "epigenome"
    residual: str = "none"
    tracks: tuple[str, ...] = ("some", "twice")

    def __call__(self, images, total_count=None):
        filled = (denormalize(images)[..., 1] < 1).sum(axis=2).astype(jnp.float32)
        return HeadOutput(tracks=jnp.stack([filled, 2 * filled], axis=1))


def toy_network(**fields) -> Network:
    return Network(RowNumbers(), {}, target_scaling("none"), **fields)


def banded_map(chromsizes=CHROMSIZES, reach: int = 3) -> ContactMap:
    """One contact between bins up to `reach` apart: rows within have 2 * reach + 1 of them."""
    matrices = {}
    for chrom, length in chromsizes.items():
        size = -(-length // 1000)
        counts = np.triu(np.ones((size, size), np.int64)) - np.triu(
            np.ones((size, size), np.int64), reach + 1
        )
        matrices[chrom, chrom] = scipy.sparse.csr_array(counts)
    return ContactMap(chromsizes, 1000, matrices, "banded")


@pytest.mark.parametrize("merge", ["average", "original"])
@pytest.mark.parametrize("stride", [None, 7, 32])
def test_every_bin_sees_its_own_row_of_the_map(merge, stride):
    """Chromosomes longer and shorter than a window; their ends have fewer neighbors."""
    found = predict_tracks(banded_map(), toy_network(), merge=merge, stride=stride)
    assert list(found) == ["some", "twice"]
    for chrom in CHROMSIZES:
        size = -(-CHROMSIZES[chrom] // 1000)
        bins = np.arange(size)
        expected = 1 + np.minimum(bins, 3) + np.minimum(size - 1 - bins, 3)
        if merge == "original" and size < 16:
            expected = np.full(size, np.nan)
        np.testing.assert_allclose(found["some"][chrom], expected, rtol=1e-6)
        np.testing.assert_allclose(found["twice"][chrom], 2 * expected, rtol=1e-6)


def test_bins_without_contacts_nearby_have_no_value():
    """The original gave them 0, as if it had been predicted."""
    counts = np.zeros((300, 300), np.int64)
    counts[np.arange(40), np.arange(40)] = 1
    empty = scipy.sparse.csr_array((20, 20), dtype=np.int64)
    matrices = {("Chr1", "Chr1"): scipy.sparse.csr_array(counts), ("Chr2", "Chr2"): empty}
    contact_map = ContactMap({"Chr1": 300_000, "Chr2": 20_000}, 1000, matrices)
    values = predict_tracks(contact_map, toy_network())["some"]
    assert np.isfinite(values["Chr1"][:60]).all() and np.isnan(values["Chr1"][100:]).all()
    assert np.isnan(values["Chr2"]).all()
    original = predict_tracks(contact_map, toy_network(), merge="original")["some"]
    assert (original["Chr1"][100:] == 0).all()


def test_names_that_agree_up_to_an_underscore_stay_apart(tmp_path, monkeypatch):
    """The original cut RefSeq names at `_`, and only the last chromosome survived."""
    import pybigtools

    sizes = {"NC_003070.9": 99_500, "NC_003071.7": 60_300}
    write_contacts(banded_map(sizes), tmp_path / "map.cool")
    monkeypatch.setattr(tasks, "load_network", lambda *_: toy_network())
    line = infer_file("epigenome", str(tmp_path / "map.cool"), None, "toy", tmp_path / "out")
    assert line == f"Wrote {tmp_path / 'out'}: some, twice of 2 chromosomes at 1000 bp."
    file = pybigtools.open(str(tmp_path / "out" / "some.bigWig"))
    assert file.chroms() == sizes
    assert [len(list(file.records(chrom))) for chrom in sizes] == [100, 61]
    assert list(file.records("NC_003071.7"))[-1][1] == 60_300


@pytest.mark.slow  # compiles anew
def test_a_checkpoint_of_ours_names_its_files(tmp_path):
    write_checkpoint(tmp_path / "run", "epigenome", "none", tracks=("genes", "TEs", "DNase"))
    write_contacts(toy_map(), tmp_path / "map.cool")
    infer_file("epigenome", str(tmp_path / "map.cool"), None, tmp_path / "run", tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").glob("*.bigWig")} == {
        "genes.bigWig",
        "TEs.bigWig",
        "DNase.bigWig",
    }
    found = read_tracks(tmp_path / "out" / "tracks.tsv", toy_map())
    assert list(found) == ["genes", "TEs", "DNase"]
    assert np.isfinite(found["TEs"]["ChrM"]).all()


@pytest.mark.slow  # compiles anew
def test_the_track_of_a_general_head_is_predicted_too(tmp_path):
    write_checkpoint(tmp_path / "run", "finetune", "none")
    found = predict_tracks(toy_map(), tmp_path / "run")
    assert list(found) == ["track"] and np.isfinite(found["track"]["Chr1"]).all()


def test_mistakes_are_one_sentence_and_leave_nothing(tmp_path, checkpoint, monkeypatch):
    write_contacts(toy_map(), tmp_path / "map.cool")
    uri, output = str(tmp_path / "map.cool"), tmp_path / "out"
    with pytest.raises(
        InputError, match="holds a head for resolution .map.: give a checkpoint of task epigenome"
    ):
        infer_file("epigenome", uri, None, checkpoint, output)
    monkeypatch.setattr(tasks, "load_network", lambda *_: toy_network())
    for choices, message in [
        ({"max_distance": 5000}, "has no option max_distance"),
        ({"stride": 33}, "stride is 33"),
        ({"chromosomes": ["ChrM"], "merge": "original"}, "no chromosome of at least 16 bins"),
        ({"chromosomes": ["Chr9"]}, "no chromosome 'Chr9'"),
    ]:
        with pytest.raises(InputError, match=message):
            infer_file("epigenome", uri, None, "toy", output, **choices)
    assert [path.name for path in tmp_path.iterdir()] == ["map.cool"]
