"""From file to file, as users do it."""

import collections
import pathlib

import cooler
import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.balancing import balance
from hicfm_jax.errors import InputError
from hicfm_jax.infer import enhance, infer_file, load_network, tasks
from hicfm_jax.infer.replicate_scores import compare_replicates
from hicfm_jax.infer.tasks import resolution as resolution_task
from hicfm_jax.progress import NullProgress
from tests.infer.toy_networks import CHROMSIZES, SEEN, echo, toy_map, write_checkpoint
from tests.run_script import run_script


@pytest.fixture(scope="module")
def shallow(tmp_path_factory):
    """A file of the toy map with 500 trans contacts."""
    path = tmp_path_factory.mktemp("maps") / "shallow.cool"
    write_contacts(toy_map(trans=500), path)
    return path


def test_the_script_writes_a_deep_mcool(tmp_path, shallow, checkpoint, expected):
    output = tmp_path / "deep.mcool"
    done = run_script(
        "infer.py",
        "--task=resolution",
        f"--input={shallow}",
        "--resolution=1000",
        f"--checkpoint={checkpoint}",
        f"--output={output}",
    )
    assert done.returncode == 0, done.stderr
    assert "500 contacts between chromosomes are left out" in done.stdout
    held = cooler.Cooler(f"{output}::/resolutions/1000")
    assert dict(held.chromsizes) == CHROMSIZES
    assert "weight" in held.bins().columns
    about = held.info["metadata"]["enhancement"]
    assert about["trained_on"] == SEEN["seen"]["train"] and about["validated_on"] == SEEN["seen"]["val"]
    assert about["target_contacts"] == 80_000 and about["step"] == 7 and about["merge"] == "average"
    assert about["input_contacts"] == toy_map(trans=500).total_count
    deep = open_contacts(output, 1000)
    same = expected[False].matrix("Chr1").toarray()
    np.testing.assert_allclose(deep.matrix("Chr1").toarray(), same, atol=2e-3)
    assert [path.name for path in tmp_path.iterdir()] == ["deep.mcool"]


@pytest.fixture(scope="module")
def expected(network):
    """The deep map in real counts and in whole ones."""
    return {integer: enhance(toy_map(trans=500), network, integer=integer) for integer in (False, True)}


@pytest.mark.parametrize(
    "suffix", [".cool", ".npz", pytest.param(".hic", marks=pytest.mark.needs("hictkpy")), ".pairs.gz"]
)
def test_every_format_holds_the_same_map(tmp_path, shallow, checkpoint, expected, suffix):
    output = tmp_path / f"deep{suffix}"
    line = infer_file("resolution", str(shallow), 1000, checkpoint, output)
    deep = open_contacts(output, 1000)
    same = expected[suffix == ".pairs.gz"]
    for chrom in CHROMSIZES:
        np.testing.assert_array_equal(deep.matrix(chrom).toarray(), same.matrix(chrom).toarray())
    assert f"{same.total_count:,.0f} cis contacts of 3 chromosomes" in line


def test_published_weights_go_the_same_way(tmp_path, shallow, monkeypatch):
    monkeypatch.setattr(tasks, "load_network", lambda *_: echo(published=True))
    output = tmp_path / "deep.cool"
    choices = dict(merge="original", target_contacts=1e5, balance=False)
    infer_file("resolution", str(shallow), None, "published.pth.tar", output, **choices)
    about = cooler.Cooler(str(output)).info["metadata"]["enhancement"]
    assert about["trained_on"] is None and about["merge"] == "original"
    assert about["stride"] == 20 and about["bound"] == 0 and about["input"] == str(shallow)
    assert "weight" not in cooler.Cooler(str(output)).bins().columns
    assert 0 < open_contacts(output).total_count < 1e5


def test_what_cannot_be_written_is_told_before_the_work(tmp_path, shallow, checkpoint):
    (tmp_path / "there.cool").touch()
    for output, choices, message in [
        ("there.cool", {}, "exists already"),
        ("no/deep.cool", {}, "there is no folder"),
        ("deep.bed", {}, "cannot write .bed, expected one of .cool, .mcool"),
        ("deep", {}, "a file without a suffix"),
        ("deep.pairs.gz", {"integer": False}, "a .pairs.gz file has whole contacts only"),
        ("deep.npz", {"balance": True}, "stores no weights"),
    ]:
        with pytest.raises(InputError, match=message):
            infer_file("resolution", str(shallow), 1000, checkpoint, tmp_path / output, **choices)
    assert [path.name for path in tmp_path.iterdir()] == ["there.cool"]


@pytest.mark.parametrize("kind", ["absent", "of another task"])
def test_a_wrong_checkpoint_is_told_before_counts_are_read(tmp_path, checkpoint, kind):
    """Counts of a whole file take minutes; here reading them would fail."""
    wrong, message = tmp_path / "absent", "absent"
    if kind != "absent":
        wrong = write_checkpoint(tmp_path / "loops", task="loop", residual="none")
        message = "holds a head for loop"
    maps = {name: str(tmp_path / f"{name}.pairs") for name in "ab"}
    for path in maps.values():
        pathlib.Path(path).write_text("## pairs format v1.0\n#chromsize: Chr1 50000\nr\tChr1\tx\n")
    for task, output in {"resolution": "deep.cool", "embedding": "features.npz"}.items():
        with pytest.raises(InputError, match=message):
            infer_file(task, maps["a"], 1000, wrong, tmp_path / output)
    with pytest.raises(InputError, match=message):
        compare_replicates(maps, wrong, resolution=1000)
    with pytest.raises(InputError, match="a.pairs, line 3"):
        infer_file("resolution", maps["a"], 1000, checkpoint, tmp_path / "deep.cool")


def test_what_a_large_map_takes_is_told_before_the_work(tmp_path, shallow, checkpoint, monkeypatch):
    monkeypatch.setattr(resolution_task, "MUCH_MEMORY", 1000)
    said = []

    class Listener(NullProgress):
        def say(self, text):
            said.append(text)

    infer_file("resolution", shallow, None, checkpoint, tmp_path / "deep.npz", progress=Listener())
    assert any("GB of memory; --max_distance" in line for line in said)
    monkeypatch.setattr(resolution_task, "ROW_BYTES", 1 << 60)
    with pytest.raises(OSError, match="are needed there"):
        infer_file("resolution", shallow, None, checkpoint, tmp_path / "deeper.npz")


def test_a_users_mistake_is_one_sentence_and_status_2(tmp_path, shallow, checkpoint, monkeypatch):
    output = tmp_path / "deep.cool"
    flags = (f"--input={shallow}", f"--checkpoint={checkpoint}", f"--output={output}")
    done = run_script("infer.py", "--task=sleep", *flags)
    assert done.returncode == 2
    assert done.stderr.startswith("error: flag --task=sleep: value should be one of <")
    for resolution, path, message in [
        (1500, checkpoint, "cannot give 1500 bp"),
        (1000, tmp_path, "no checkpoint"),
    ]:
        with pytest.raises(InputError, match=message):
            infer_file("resolution", str(shallow), resolution, path, output)
    with pytest.raises(InputError, match="GB are available: give smaller windows with input_size"):
        infer_file("resolution", str(shallow), 1000, checkpoint, output, input_size=(1_600_000, 1_600_000))
    monkeypatch.setattr("hicfm_jax.infer.scan._BYTES_A_PIXEL", 1e12)
    with pytest.raises(InputError, match="GB are available: choose a smaller batch_size"):
        infer_file("resolution", str(shallow), 1000, checkpoint, output)
    assert not list(tmp_path.iterdir())


def _counted(monkeypatch, matrices, total_count=None):
    """Makes the task read this map, in place of a file; returns how often each pair was read."""
    reads = collections.Counter()

    def load(*pair):
        reads[pair] += 1
        return matrices[pair]

    total = total_count or sum(matrix.sum() for matrix in matrices.values())
    counted = ContactMap(
        CHROMSIZES, 1000, load, "counted", total_count=lambda: total, pairs=lambda: list(matrices)
    )
    monkeypatch.setattr(tasks, "open_contacts", lambda uri, resolution: counted)
    return reads


def test_each_chromosome_is_read_once(tmp_path, checkpoint, monkeypatch):
    toy = toy_map(trans=500)
    reads = _counted(monkeypatch, {pair: toy.matrix(*pair) for pair in toy.pairs()})
    line = infer_file("resolution", "counted", None, checkpoint, tmp_path / "deep.npz")
    assert reads == {(chrom, chrom): 1 for chrom in CHROMSIZES}
    assert f"from {toy.total_count - 500:,.0f}; the input's 500 contacts between chromosomes" in line
    line = infer_file("resolution", "x", None, checkpoint, tmp_path / "part.npz", chromosomes=["Chr2"])
    assert "of 1 chromosome at" in line and "other contacts are left out" in line


def test_a_map_without_contacts_is_refused(tmp_path, checkpoint, monkeypatch):
    """Not written as an empty map: none on the chosen chromosomes, none that are balanced."""
    toy = toy_map()
    _counted(monkeypatch, {(chrom, chrom): toy.matrix(chrom) * (chrom == "Chr1") for chrom in CHROMSIZES})
    with pytest.raises(InputError, match="no contacts within Chr2, ChrM: choose other chromosomes"):
        infer_file("resolution", "x", None, checkpoint, tmp_path / "a.npz", chromosomes=["Chr2", "ChrM"])
    assert not list(tmp_path.iterdir())
    with pytest.raises(InputError, match="toy has no valid weight in 'weight'"):
        balance(toy, lambda chrom: np.full(toy.n_bins(chrom), np.nan), "multiplicative", "weight")


def test_the_step_of_a_workdir_is_said_and_stored(tmp_path, shallow, checkpoint):
    flags = (f"--input={shallow}", f"--output={tmp_path / 'deep.npz'}")
    done = run_script("infer.py", *flags, f"--checkpoint={checkpoint}@last")
    assert done.returncode == 0
    assert f"Using step 7 of {checkpoint}@last: the last step.\n" in done.stderr
    done = run_script(
        "infer.py", *flags[:1], f"--output={tmp_path / 'b.npz'}", f"--checkpoint={checkpoint}@8"
    )
    assert done.returncode == 2 and "holds checkpoints at steps 7 but none at '8'" in done.stderr


@pytest.mark.default_compiler
@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    "case",
    ["synthetic", pytest.param("synthetic_deep", marks=pytest.mark.slow)],  # which compiles another
)
def test_published_weights_give_the_original_map(golden, fixtures_dir, case):
    """From counts to merged contacts, `10^x` and all; chromosome 4 is shorter than half a window."""
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"][f"resolution/{case}"]
    matrices = {}
    for name in arrays:
        if name.startswith("source/synthetic/"):  # the upper triangle, row by row
            size = int((2 * len(arrays[name])) ** 0.5)
            upper = np.zeros((size, size), np.int64)
            upper[np.triu_indices(size)] = arrays[name]
            matrices[name.split("/")[-1]] = scipy.sparse.csr_array(upper)
    resolution = about["resolution"]
    sizes = {chrom: matrix.shape[0] * resolution for chrom, matrix in matrices.items()}
    shallow = ContactMap(sizes, resolution, {(chrom, chrom): m for chrom, m in matrices.items()}, case)
    network = load_network(fixtures_dir / "upstream_tiny_resolution.pth.tar")
    deep = enhance(shallow, network, merge="original", stride=about["stride"], bound=about["bound"])
    for chrom in about["chromosomes"]:
        found = deep.matrix(chrom).toarray()
        expected = np.zeros((max(len(found), 64),) * 2)
        expected[*arrays[f"resolution/{case}/merged_at/{chrom}"]] = arrays[
            f"resolution/{case}/merged/{chrom}"
        ]
        np.testing.assert_allclose(found, expected[: len(found), : len(found)], rtol=1e-3, atol=1e-5)
