"""Lists of loops: reading, matching, baselines, and the script."""

import numpy as np
import pandas as pd
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, write_contacts
from hicfm_jax.contacts.annotations.loop_list import PLACES, read_bedpe, write_bedpe
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import evaluate_loops, score_loops
from hicfm_jax.evaluate.loop_comparison import match_loops, ring_foci
from tests.run_script import run_script

RESOLUTION = 10_000
PLANTED = {"chr1": [(60, 100), (120, 180), (200, 230)], "2": [(40, 90)]}


def loop_list(places, resolution=RESOLUTION):
    rows = [
        (chrom, row * resolution, (row + 1) * resolution, chrom, col * resolution, (col + 1) * resolution)
        for chrom, loops in places.items()
        for row, col in loops
    ]
    return pd.DataFrame(rows, columns=PLACES)


@pytest.fixture(scope="module")
def planted():
    """A map of two chromosomes with loops of 3 x 3 bins, five times as strong as their surroundings."""
    rng, matrices = np.random.default_rng(0), {}
    for chrom, loops in PLANTED.items():
        bins = np.arange(250)
        mean = 4000 / (np.abs(bins[:, None] - bins) + 5.0)
        for row, col in loops:
            mean[row - 1 : row + 2, col - 1 : col + 2] *= 5
        matrices[chrom, chrom] = scipy.sparse.csr_array(np.triu(rng.poisson(mean)))
    return ContactMap(dict.fromkeys(PLANTED, 2_500_000), RESOLUTION, matrices, "planted")


def test_lists_of_other_programs_are_read(tmp_path):
    expected = loop_list({"chr1": [(1, 5), (2, 9)]})
    lines = ["\t".join(map(str, row)) for row in expected.itertuples(index=False)]
    for name, text in {
        "plain": "\n".join(lines),
        "juicer": "#chr1\tx1\tx2\tchr2\ty1\ty2\tcolor\n" + "\n".join(f"{line}\t0,0,0" for line in lines),
        "header": "chr1\tx1\tx2\tchr2\ty1\ty2\tscore\n" + "\n".join(f"{line}\t0.5" for line in lines),
    }.items():
        (tmp_path / name).write_text(text)
        pd.testing.assert_frame_equal(read_bedpe(tmp_path / name)[[*PLACES]], expected)
    assert list(read_bedpe(tmp_path / "header").columns[6:]) == ["score"]
    write_bedpe(expected[:0], tmp_path / "empty.bedpe")
    assert read_bedpe(tmp_path / "empty.bedpe").empty
    (tmp_path / "bad").write_text("chr1\tx1\tx2\nchr1\t5\t9\tchr1\t20\n")
    (tmp_path / "worse").write_text("\n".join([*lines, "chr1\t5\t-9\tchr1\t20\t30"]))
    for name in ("bad", "worse", "none"):
        with pytest.raises(InputError, match="give a BEDPE file"):
            read_bedpe(tmp_path / name)


def test_loops_match_within_two_bins_and_once():
    reference = np.array([[10, 30], [50, 80]])
    assert match_loops(reference, reference) == 2
    assert match_loops(reference[:, ::-1] + 2, reference) == 2
    assert match_loops(reference + [0, 3], reference) == 0
    # Four calls around one loop are one true call and three false ones.
    assert match_loops(np.array([[10, 30], [11, 30], [9, 31], [10, 29]]), reference) == 1
    # The call in the middle has to leave the left loop to the call that only it can match.
    assert match_loops(np.array([[10, 12], [10, 10]]), np.array([[10, 10], [10, 14]])) == 2
    assert match_loops(np.zeros((0, 2)), reference) == 0


def test_scores_by_chromosome_and_together():
    reference = loop_list(PLANTED)
    same = score_loops(reference, reference, RESOLUTION)
    assert (same[["precision", "recall", "f1"]] == 1).all(axis=None)
    test = loop_list({"Chr1": [(60, 101), (10, 40)], "chr2": [(41, 92)], "chr3": [(5, 9)]})
    table = score_loops(test, reference, RESOLUTION).set_index("chromosome")
    assert table.loc["chr1", ["loops", "reference", "matched"]].tolist() == [2, 3, 1]
    assert table.loc["pooled", ["precision", "recall", "f1"]].tolist() == pytest.approx([2 / 3, 0.5, 4 / 7])
    none = score_loops(test[:0], reference, RESOLUTION, ["chr1"]).set_index("chromosome")
    assert np.isnan(none.loc["chr1", "precision"]) and none.loc["pooled", "f1"] == 0


def test_the_ring_caller_finds_planted_loops(planted):
    table = score_loops(ring_foci(planted, list(PLANTED)), loop_list(PLANTED), RESOLUTION)
    assert table.iloc[-1].f1 == 1


def test_lists_that_do_not_fit_are_one_sentence(planted, tmp_path):
    """A model that finds no loop has recall 0; lists of another assembly have none."""
    write_contacts(planted, tmp_path / "map.cool")
    for name, places in {
        "truth": PLANTED, "none": {}, "elsewhere": {"2": [(1, 9)]}, "other": {"LG1": [(1, 9)]},
        "long": {"chr1": [(1, 900)]},
    }.items():  # fmt: skip
        write_bedpe(loop_list(places), tmp_path / f"{name}.bedpe")
    truth, maps = tmp_path / "truth.bedpe", {"map": tmp_path / "map.cool"}
    for name in ("none", "elsewhere"):
        lists, choices = (
            {"m": tmp_path / f"{name}.bedpe"},
            {"resolution": RESOLUTION, "chromosomes": ["chr1"]},
        )
        assert "0.000" in evaluate_loops(lists, truth, tmp_path / name, **choices)
    for name, reference, choices, message in [
        ("truth", "none", {}, "none.bedpe has no loops: give a reference"),
        ("truth", "elsewhere", {"chromosomes": ["chr1"]}, "elsewhere.bedpe has no loops on chr1: give"),
        ("other", "truth", {}, "has loops on LG1, and .*truth.bedpe on chr1, 2: give lists of one assembly"),
        (
            "long",
            "truth",
            {"maps": maps},
            "ends at 9,010,000 bp, but chr1 of .*map.cool is 2,500,000 bp long",
        ),
    ]:
        lists, reference = {"m": tmp_path / f"{name}.bedpe"}, tmp_path / f"{reference}.bedpe"
        with pytest.raises(InputError, match=message):
            evaluate_loops(lists, reference, tmp_path / "out", resolution=RESOLUTION, **choices)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow  # runs the dot caller
@pytest.mark.needs("cooltools")
def test_the_script_compares_lists(planted, tmp_path):
    """cooltools takes 10 s for the planted loops, which it all finds."""
    write_contacts(planted, tmp_path / "map.cool")
    write_bedpe(loop_list(PLANTED), tmp_path / "truth.bedpe")
    write_bedpe(loop_list({"chr1": [(60, 100)]}), tmp_path / "one.bedpe")
    flags = [f"--reference={tmp_path}/truth.bedpe", f"--loops=one={tmp_path}/one.bedpe"]
    done = run_script("evaluate.py", *flags, f"--maps=deep={tmp_path}/map.cool", f"--output={tmp_path}/out")
    assert done.returncode == 0, done.stderr
    table = pd.read_csv(tmp_path / "out/loops.csv")
    pooled = table[table.chromosome == "pooled"].set_index("list")
    assert pooled.loc["one", ["precision", "recall", "f1"]].tolist() == pytest.approx([1, 0.25, 0.4])
    assert set(pooled.index) == {"one", "cooltools.dots of deep", "ring foci of deep"}
    assert pooled.loc["cooltools.dots of deep", "f1"] == 1
    assert len(read_bedpe(tmp_path / "out/ring_foci_of_deep.bedpe")) == 4
    done = run_script("evaluate.py", *flags, f"--output={tmp_path}/out2")
    assert done.returncode == 2 and "give its resolution" in done.stderr
    assert not (tmp_path / "out2").exists()
