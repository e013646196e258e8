"""Task loop: from counts to the written list of loops."""

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.annotations.loop_list import read_bedpe
from hicfm_jax.infer.mean_shift import find_peaks
from hicfm_jax.infer.tasks import loops as loops_task
from tests.infer.test_mean_shift import places
from tests.run_script import run_script


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


@pytest.mark.default_compiler
@pytest.mark.needs("torch")
@pytest.mark.parametrize("case", ["synthetic", "chr4", "synthetic_stride20"])
def test_published_weights_give_the_original_loops(golden, fixtures_dir, request, tmp_path, undrawn, case):
    """The script, from .pth.tar to the files: scores of all pixels, and loops in their order."""
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
