"""Hidden patches of a region, filled in by a pretrained network."""

import numpy as np
import PIL.Image
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.infer import infer_file, reconstruct, region_windows
from hicfm_jax.infer.tasks import reconstruction as task
from tests.infer.toy_networks import toy_map, write_checkpoint
from tests.run_script import run_script


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """Folder of an untrained pretraining network, windows of 32 bins."""
    return write_checkpoint(tmp_path_factory.mktemp("run") / "run", "pretrain", "none")


@pytest.fixture(scope="module")
def network(pretrained):
    return task.load_pretrained(pretrained)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    path = tmp_path_factory.mktemp("maps") / "toy.cool"
    write_contacts(toy_map(), path)
    return path


def dense(chrom="Chr1"):
    upper = toy_map().matrix(chrom).toarray()
    return upper + np.triu(upper, 1).T


@pytest.mark.slow  # compiles another window
def test_a_region_of_one_window(network):
    found = reconstruct(toy_map(), network, "Chr1:10,000-42,000")
    np.testing.assert_array_equal(found.counts, dense()[10:42, 10:42])
    assert found.colors.shape == (32, 32, 3) and found.hidden.shape == (32, 32)
    # 3 of 4 patches, mirror images together where they can be.
    assert found.hidden.mean() == 0.75
    patches = found.hidden[::16, ::16]
    np.testing.assert_array_equal(found.hidden, patches.repeat(16, 0).repeat(16, 1))
    np.testing.assert_allclose(found.decades, np.log10(1 + 100), rtol=1e-6)  # the checkpoint's cutoff
    assert np.isfinite(found.contacts).all() and -1 < found.hidden_r < 1


def test_what_is_hidden_is_not_seen(network):
    """The visible patches and the scale of the window are all that the network knows."""
    found = reconstruct(toy_map(), network, "Chr1:10,000-42,000")
    changed = dense()
    block = changed[10:42, 10:42]
    block[found.hidden & (block < block.max())] //= 2
    upper = scipy.sparse.csr_array(np.triu(changed))
    toy = ContactMap({"Chr1": 99_500}, 1000, {("Chr1", "Chr1"): upper}, "changed")
    total = toy_map().total_count
    again = reconstruct(toy, network, "Chr1:10,000-42,000", total_count=total)
    np.testing.assert_allclose(again.colors, found.colors, atol=1e-3)
    assert not np.array_equal(again.counts, found.counts)


def test_a_seed_gives_one_mask(network):
    first, again, other = (
        reconstruct(toy_map(), network, "Chr1:0-96,000", seed=seed, batch_size=size)
        for seed, size in ((1, 8), (1, 2), (2, 8))
    )
    np.testing.assert_array_equal(first.hidden, again.hidden)
    np.testing.assert_allclose(first.colors, again.colors, atol=1e-3)
    assert (first.hidden != other.hidden).any()


def test_a_region_of_several_windows_is_symmetric(network):
    found = reconstruct(toy_map(), network, "Chr1:3,000-90,000")
    np.testing.assert_array_equal(found.counts, dense()[3:90, 3:90])
    far = np.abs(np.subtract.outer(np.arange(87), np.arange(87))) > 32  # in windows off the diagonal
    for values in (found.hidden, found.contacts):
        np.testing.assert_array_equal(values[far], values.T[far])


@pytest.mark.parametrize(
    ("region", "region2", "shape"),
    [
        ("Chr2", None, (20, 20)),  # shorter than a window
        ("Chr1:90,000-99,500", None, (10, 10)),  # the chromosome's end
        ("Chr1:10,000-20,000", "Chr1:50,000-90,000", (10, 40)),
        ("Chr1:50,000-90,000", "Chr1:10,000-20,000", (40, 10)),
    ],
)
def test_any_region(network, region, region2, shape):
    found = reconstruct(toy_map(), network, region, region2=region2)
    whole = dense("Chr2" if region == "Chr2" else "Chr1")
    rows, columns = (each.bins(1000) for each in (found.rows, found.columns))
    np.testing.assert_array_equal(found.counts, whole[slice(*rows), slice(*columns)])
    assert found.colors.shape == (*shape, 3) and (found.decades > 0).all()


@pytest.mark.slow  # compiles another window
def test_windows_may_have_another_size(pretrained):
    found = reconstruct(toy_map(), pretrained, "Chr1:0-64,000", window=(64, 64), mask_ratio=0.5)
    assert found.window == (64, 64) and found.hidden.mean() == 0.5


def test_a_picture_and_its_arrays(tmp_path, toy, pretrained):
    flags = (f"--input={toy}", f"--checkpoint={pretrained}", "--region=Chr1:10k-74k", "--seed=3")
    for suffix in (".png", ".npz"):
        done = run_script("infer.py", "--task=reconstruction", *flags, f"--output={tmp_path / 'a'}{suffix}")
        assert done.returncode == 0, done.stderr
        assert "Chr1:10,000-74,000, 75% of it hidden; Pearson's r" in done.stdout
    width, height = PIL.Image.open(tmp_path / "a.png").size
    assert width > 2 * height
    with np.load(tmp_path / "a.npz") as found:
        assert found["chromosome"] == "Chr1" and found["rows"].tolist() == [10_000, 74_000]
        same = reconstruct(open_contacts(toy), pretrained, "Chr1:10k-74k", seed=3)
        np.testing.assert_allclose(found["contacts"], same.contacts, rtol=1e-5, atol=1e-5)
        np.testing.assert_array_equal(found["hidden"], same.hidden)


def test_windows_without_contacts_are_white(network):
    counts = np.zeros((100, 100), np.int64)
    counts[:20, :20] = 3
    toy = ContactMap({"c": 100_000}, 1000, {("c", "c"): scipy.sparse.csr_array(np.triu(counts))}, "corner")
    found = reconstruct(toy, network, "c:0-96,000")
    assert (found.colors[64:, 64:] == 255).all() and (found.contacts[64:, 64:] == 0).all()
    with pytest.raises(InputError, match="corner has no contacts in c:50,000-80,000"):
        reconstruct(toy, network, "c:50,000-80,000")


def test_a_users_mistake_is_one_sentence(tmp_path, toy, pretrained, checkpoint, monkeypatch):
    region = {"region": "Chr1:0-32,000"}
    monkeypatch.setattr(region_windows, "MAX_BINS", 90)
    for weights, choices, message in [
        (pretrained, {}, "give it with --region="),
        (pretrained, {"region": "Chr1:0-200,000"}, "Chr1 of .* is 99,500 bp long"),
        (pretrained, {"region": "Chr1"}, "has 100 bins of 1,000 bp, more than 90"),
        (pretrained, {"region": "Chr9:1-2"}, "has no chromosome 'Chr9'"),
        (pretrained, {**region, "region2": "Chr2"}, "are on two chromosomes"),
        (pretrained, {**region, "mask_ratio": 1.0}, "mask_ratio is 1.0 but must be 0 or more, and less"),
        (pretrained, {**region, "total_count": -1.0}, "total_count is -1.0"),
        (pretrained, {**region, "stride": 5}, "has no option stride"),
        (pretrained, {**region, "merge": "original", "mask_ratio": 0.5}, "The original hides no patches"),
        (checkpoint, region, "holds a head for .*resolution.*, which cannot serve pretrain"),
    ]:
        with pytest.raises(InputError, match=message):
            infer_file("reconstruction", str(toy), None, weights, tmp_path / "a.png", **choices)
    assert not list(tmp_path.iterdir())


CASES = {
    "chr4_64x64": ("Chr4", 100, 100, {}),
    "chr4_64x64_no_count": ("Chr4", 100, 100, {"total_count": 1e9}),
    "chr4_64x64_patches_zeroed": ("Chr4", 100, 100, {}),
    "synthetic_96x96": ("chr1", 10, 10, {}),
    "synthetic_64x96": ("chr1", 10, 30, {"total_count": 3e6}),
}
"""Chromosome and first bins of the original's windows, and the depth where it is not the example's."""


COMPILED = ("synthetic_96x96", "synthetic_64x96")
"""Each with a program of its own, which takes 5 to 10 s to compile."""


@pytest.mark.needs("torch")
@pytest.mark.parametrize(
    "case", [pytest.param(case, marks=pytest.mark.slow if case in COMPILED else ()) for case in CASES]
)
def test_pretrained_weights_give_the_original_picture(golden, fixtures_dir, tmp_path, case):
    """From `.pth.tar` to the written file, position tables resized where the window is another."""
    arrays, manifest = golden("upstream_inference")
    chrom, row, col, choices = CASES[case]
    counts = arrays[f"reconstruction/{case}/counts"]
    height, width = counts.shape
    size = max(row + height, col + width)
    whole = np.zeros((size, size), np.int64)
    whole[row : row + height, col : col + width] = counts
    whole = np.maximum(whole, whole.T)
    upper = scipy.sparse.csr_array(np.triu(whole))
    contact_map = ContactMap({chrom: size * 1000}, 1000, {(chrom, chrom): upper}, case)
    write_contacts(contact_map, tmp_path / "map.cool")
    output = tmp_path / "picture.npz"
    infer_file(
        "reconstruction",
        tmp_path / "map.cool",
        None,
        fixtures_dir / "upstream_tiny_embedding.pth.tar",
        output,
        input_size=(height, width),
        merge="original",
        region=f"{chrom}:{row}k-{row + height}k",
        region2=f"{chrom}:{col}k-{col + width}k",
        **choices,
    )
    expected = {
        name: arrays[f"reconstruction/{case}/{name}"] for name in ("output", "picture", "input_picture")
    }
    with np.load(output) as found:
        np.testing.assert_array_equal(found["counts"], counts)
        np.testing.assert_allclose(found["colors"], expected["output"].transpose(1, 2, 0), atol=1e-2)
        for name in ("picture", "input_picture"):
            assert np.abs(found[name].astype(int) - expected[name]).max() <= 1, name
        assert not found["hidden"].any()
    assert manifest["reconstruction"]["cases"][case]
