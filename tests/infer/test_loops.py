"""Task loop: from counts to the written list of loops."""

import dataclasses

import flax.linen as nn
import numpy as np
import PIL.Image
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.annotations.loop_list import read_bedpe
from hicfm_jax.errors import InputError
from hicfm_jax.infer import Network, infer_file, load_network, tasks
from hicfm_jax.infer.mean_shift import find_peaks
from hicfm_jax.infer.tasks import loops as loops_task
from hicfm_jax.infer.tasks.loops import find_loops, loop_p_values, q_values
from hicfm_jax.models import HeadOutput
from hicfm_jax.models.preprocess import denormalize, target_scaling
from tests.infer.test_mean_shift import places
from tests.run_script import run_script

CUTOFF = 1000.0
LOOPS = {"NC_1.1": [(20, 60), (50, 119)], "NC_1.2": [(5, 30)]}
SIZES = {"NC_1.1": 1_195_000, "NC_1.2": 400_000, "empty": 300_000}  # 120, 40 and 30 bins of 10 kb


class FarFromZero(nn.Module):
    """Gives pixels a score of nearly 1 if they have many contacts, and of nearly 0 if few."""

    input_size: tuple[int, int] = (32, 32)
    task: str = "loop"
    residual: str = "none"

    def __call__(self, images, total_count=None):
        return HeadOutput(map=20 * (0.5 - denormalize(images)[..., 1]))


NETWORK = Network(FarFromZero(), {}, target_scaling("none"), cutoff=CUTOFF)


def looped_map(strengths=(900, 200)):
    """One contact here and there, and loops of 3 x 3 bins with few contacts around a strong one."""
    rng, matrices = np.random.default_rng(0), {}
    for chrom, loops in LOOPS.items():
        size = -(-SIZES[chrom] // 10_000)
        counts = np.triu(rng.poisson(0.3, (size, size)))
        for (row, col), strength in zip(loops, strengths, strict=False):
            counts[row - 1 : row + 2, col - 1 : col + 2] = 10
            counts[row, col] = strength
        matrices[chrom, chrom] = scipy.sparse.csr_array(counts)
    return ContactMap(SIZES, 10_000, matrices, "looped")


@pytest.fixture
def toy(monkeypatch):
    monkeypatch.setattr(tasks, "load_network", lambda *_: NETWORK)


def run_loop(tmp_path, contact_map, checkpoint, *flags, name="loops"):
    """The outcome of the script on this map."""
    write_contacts(contact_map, tmp_path / "map.cool")
    return run_script(
        "infer.py",
        "--task=loop",
        f"--input={tmp_path / 'map.cool'}",
        f"--checkpoint={checkpoint}",
        f"--output={tmp_path / name}.bedpe",
        *flags,
    )


@pytest.fixture
def undrawn(monkeypatch):
    """No picture, which takes seconds; one test draws it."""
    monkeypatch.setattr(loops_task, "_picture", lambda *_: None)


def golden_map(arrays, name, resolution):
    """One of the golden inputs: upper triangles, row by row."""
    matrices, sizes = {}, {}
    for key in arrays:
        if key.startswith(f"source/{name}/"):
            chrom, size = key.split("/")[-1], int((2 * len(arrays[key])) ** 0.5)
            upper = np.zeros((size, size), np.int64)
            upper[np.triu_indices(size)] = arrays[key]
            matrices[chrom, chrom], sizes[chrom] = scipy.sparse.csr_array(upper), size * resolution
    return ContactMap(sizes, resolution, matrices, name)


@pytest.mark.needs("torch")
@pytest.mark.parametrize("case", ["synthetic", "chr4", "synthetic_stride20"])
def test_published_weights_give_the_original_loops(golden, fixtures_dir, request, tmp_path, undrawn, case):
    """The script, from .pth.tar to the files: scores of all pixels, and loops in their order.

    The first case compiles the network with the settings of users, which takes 10 s.
    """
    arrays, manifest = golden("upstream_inference")
    about = manifest["runs"][f"loop/{case}"]
    resolution = about["resolution"]
    if case == "chr4":
        deep = open_contacts(request.getfixturevalue("data_dir") / "arabidopsis_col0_30kb.cool")
        given = ContactMap(
            {"Chr4": deep.chromsizes["Chr4"]}, resolution, {("Chr4", "Chr4"): deep.matrix("Chr4")}, case
        )
    else:
        given = golden_map(arrays, "synthetic", resolution)
    done = run_loop(
        tmp_path,
        given,
        fixtures_dir / "upstream_tiny_loop.pth.tar",
        "--merge=original",
        f"--stride={about['stride']}",
        f"--bound={about['bound']}",
        f"--score_map={tmp_path / 'scores.cool'}",
    )
    assert done.returncode == 0, done.stderr
    # Chromosome 4 of the synthetic map has 20 bins, less than half a window.
    assert ("fewer than 32 bins: chr4." in done.stderr) == (case != "chr4")
    scores, loops = open_contacts(tmp_path / "scores.cool"), read_bedpe(tmp_path / "loops.bedpe")
    assert list(loops.columns[6:]) == ["score", "density", "q"]
    for chrom in about["chromosomes"]:
        size = given.n_bins(chrom)
        expected = np.zeros((max(size, 64),) * 2)
        expected[*arrays[f"loop/{case}/merged_at/{chrom}"]] = arrays[f"loop/{case}/merged/{chrom}"]
        found = scores.matrix(chrom)
        np.testing.assert_allclose(found.toarray(), expected[:size, :size], rtol=0, atol=2e-5)
        own = loops[loops.chrom1 == chrom]
        starts, ends = (own[[f"{side}1", f"{side}2"]].to_numpy() for side in ("start", "end"))
        np.testing.assert_array_equal(ends, np.minimum(starts + resolution, given.chromsizes[chrom]))
        for threshold in (0.5, 0.75, 0.9):
            peaks = arrays[f"loop/{case}/peaks_{threshold}/{chrom}"]
            # The original goes on in the padding of a map that is smaller than a window.
            source = found if size >= 64 else scipy.sparse.csr_array(expected)
            assert places(find_peaks(source, threshold, "original")) == [*map(tuple, peaks.tolist())]
            if threshold == 0.5 and size >= 64:
                above = peaks[peaks[:, 0] < peaks[:, 1]]
                np.testing.assert_array_equal(starts, above * resolution)


@pytest.mark.needs("matplotlib")
def test_loops_have_true_places_names_and_significance(tmp_path, toy):
    """Defects of the original: names cut at `_`, ends beyond the chromosome, the weaker lone loop lost."""
    done = run_loop(tmp_path, looped_map(), "toy", f"--score_map={tmp_path / 'scores.cool'}")
    assert done.returncode == 0, done.stderr
    assert "loops.bedpe: 3 loops on 2 chromosomes with scores above 0.5, 3 of them" in done.stdout
    loops = read_bedpe(tmp_path / "loops.bedpe")
    assert loops.iloc[:, :6].values.tolist() == [
        ["NC_1.1", 200_000, 210_000, "NC_1.1", 600_000, 610_000],
        ["NC_1.1", 500_000, 510_000, "NC_1.1", 1_190_000, 1_195_000],
        ["NC_1.2", 50_000, 60_000, "NC_1.2", 300_000, 310_000],
    ]
    q = loops.q.astype(float)
    assert (q[:2] < 1e-6).all() and q[2] < 0.1
    with PIL.Image.open(tmp_path / "loops.png") as image:
        assert image.size[0] > 800
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".bedpe", ".cool", ".cool", ".png"]
    scores = open_contacts(tmp_path / "scores.cool")
    assert scores.chromsizes == SIZES and scores.matrix("NC_1.1").data.max() <= 1
    found = find_loops(looped_map(), NETWORK)
    np.testing.assert_allclose(found[["score", "density"]], loops[["score", "density"]].astype(float), 1e-5)


def test_cooltools_reads_the_file(tmp_path, toy, undrawn):
    util = pytest.importorskip("cooltools.cli.util")
    run_loop(tmp_path, looped_map(), "toy")
    _, names = util.sniff_for_header(str(tmp_path / "loops.bedpe"))
    assert names == "chrom1 start1 end1 chrom2 start2 end2 score density q".split()


def test_no_loops_give_a_header_and_a_warning(tmp_path, toy):
    done = run_loop(tmp_path, looped_map((10, 10)), "toy")
    assert done.returncode == 0
    assert "no loops, only a header" in done.stdout
    assert "WARNING: no loop was found: no pixel off the diagonal scores above 0.5" in done.stderr
    header = (tmp_path / "loops.bedpe").read_text()
    assert header == "chrom1\tstart1\tend1\tchrom2\tstart2\tend2\tscore\tdensity\tq\n"
    assert not (tmp_path / "loops.png").exists()


def test_mistakes_are_one_sentence_and_leave_nothing(tmp_path, toy, monkeypatch):
    given = tmp_path / "given"
    given.mkdir()
    write_contacts(looped_map(), given / "map.cool")
    (given / "drawn.png").touch()
    for output, choices, message in [
        ("a.bedpe", {"threshold": 1.5}, "threshold is 1.5 but scores lie between 0 and 1"),
        ("a.bedpe", {"score_map": "scores.mcool"}, "expected a .cool file"),
        ("a.bedpe", {"score_map": str(given / "map.cool")}, "exists already"),
        ("a.txt", {}, "task loop cannot write .txt, expected one of .bedpe"),
        ("drawn.bedpe", {}, "drawn.png exists already"),
        ("a.bedpe", {"chromosomes": ["empty"]}, "no contacts within empty"),
        ("b.bedpe", {"integer": True}, "Task loop has no option integer"),
    ]:
        with pytest.raises(InputError, match=message):
            infer_file("loop", str(given / "map.cool"), None, "toy", given / output, **choices)
    monkeypatch.setattr(loops_task, "MOST_PIXELS", 1)
    with pytest.raises(InputError, match="2 pixels of NC_1.1 have a loop score above 0.5, expected up to 1"):
        infer_file("loop", str(given / "map.cool"), None, "toy", given / "a.bedpe")
    assert sorted(path.name for path in given.iterdir()) == ["drawn.png", "map.cool"]


def test_a_genome_of_short_chromosomes_is_told():
    """Defect of the original: a division by zero. The default merge scans them."""
    small = dataclasses.replace(NETWORK, model=FarFromZero((256, 256)))
    with pytest.raises(InputError, match="no chromosome of at least 128 bins"):
        find_loops(looped_map(), small, merge="original")
    assert len(find_loops(looped_map(), small)) == 3


def test_a_checkpoint_of_another_task_is_refused(checkpoint):
    with pytest.raises(InputError, match="holds a head for resolution .*give a checkpoint of task loop"):
        find_loops(looped_map(), checkpoint)


@pytest.mark.needs("torch")
def test_a_pretraining_file_is_refused(fixtures_dir):
    """Defect of the original: the head stays random, without a word."""
    with pytest.raises(InputError):
        load_network(fixtures_dir / "upstream_tiny_embedding.pth.tar", None, ("loop",))


def test_significance_needs_more_than_decay_and_surroundings():
    rng, bins = np.random.default_rng(0), np.arange(200)
    mean = 3000 / (np.abs(bins[:, None] - bins) + 10.0)
    mean[38:53, 88:103] *= 3  # a domain corner, broad
    mean[99:102, 149:152] *= 2  # a loop
    counts = scipy.sparse.csr_array(np.triu(rng.poisson(mean)))
    rows, cols = np.array([45, 100, 20, 0, 199]), np.array([95, 150, 120, 3, 199])
    broad, loop, nothing, corner, last = loop_p_values(counts, rows, cols)
    assert loop < 1e-10 and broad > 1e-3 and nothing > 1e-3 and corner > 1e-3 and last == 1
    assert q_values(np.array([0.01, 0.04, 0.03])) == pytest.approx([0.03, 0.04, 0.04])
    assert not q_values(np.zeros(0)).size
