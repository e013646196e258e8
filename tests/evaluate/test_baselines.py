"""Baselines: symmetry, depth, ranking, and the scores measured for them."""

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts, thin
from hicfm_jax.evaluate import baselines
from hicfm_jax.evaluate.baselines import NAMES, SIGMAS, tune_baselines
from hicfm_jax.evaluate.scores.correlation import log_mse, stratified_pearson
from hicfm_jax.evaluate.scores.diagonals import dense, upper
from hicfm_jax.evaluate.scores.scored_pair import PreparedMap


def scores(test, reference):
    return np.array(
        [
            stratified_pearson(test, reference)[0],
            stratified_pearson(test, reference, log=True)[0],
            log_mse(test, reference)[0],
        ]
    )


def prepared(contact_map):
    return PreparedMap(upper(contact_map.matrix("Chr3")), contact_map.resolution)


def test_all_are_symmetric_and_keep_depth(shallow):
    counts = upper(shallow.matrix("Chr4"))
    total = dense(counts).sum() * 16
    for make in (
        baselines.rescaled(counts, 16),
        baselines.gaussian(counts, 16, 1),
        baselines.bicubic(counts, 16, 3),
        baselines.coverage_aware(counts, 16, 2),
        baselines.coverage_aware_blend(counts, 16, 1, 3),
    ):
        made = dense(make)
        np.testing.assert_allclose(dense(upper(make)), made)
        assert made.sum() == pytest.approx(total, rel=0.02)
        assert made.min() >= 0


def test_bicubic_is_exact_where_nothing_is_lost(shallow):
    """Blocks of one bin change nothing; constants, and slopes away from the border, are unchanged."""
    counts = upper(shallow.matrix("Chr4"))
    np.testing.assert_allclose(baselines.bicubic(counts, 1, 1), dense(counts), atol=1e-9)
    np.testing.assert_allclose(baselines.bicubic(upper(np.full((20, 20), 3.0)), 2, 3), 6)
    bins = np.arange(24.0)
    slope = bins[:, None] + bins
    found = baselines.bicubic(upper(slope), 1, 4)
    np.testing.assert_allclose(found[8:16, 8:16], slope[8:16, 8:16], atol=1e-9)


def test_coverage_aware_smoothing_preserves_decay_and_biases():
    """A map of decay and biases alone is hardly changed by a wide filter."""
    rng = np.random.default_rng(0)
    bins = np.arange(80)
    bias = rng.uniform(0.5, 2, 80)
    counts = 1000 / (np.abs(bins[:, None] - bins) + 1.0) ** 0.8 * np.outer(bias, bias)
    kept = baselines.coverage_aware(upper(counts), 1, 4)
    blurred = baselines.gaussian(upper(counts), 1, 4)
    off = np.triu_indices(80, 1)
    assert (
        np.abs(np.log(kept / counts)[off]).mean() < 0.05 < 0.3 < np.abs(np.log(blurred / counts)[off]).mean()
    )


def test_each_idea_helps(deep, shallow):
    """Smoothing beats the input, coverage-aware smoothing beats plain, two widths are no worse than one."""
    pairs = [(prepared(shallow), prepared(deep))]
    tuned = {each.name: each for each in tune_baselines(pairs, 16, 199)}
    assert tuple(tuned) == NAMES
    counts, reference = upper(shallow.matrix("Chr4")), upper(deep.matrix("Chr4"))
    r = {name: scores(each.make(counts, 16), reference) for name, each in tuned.items()}
    assert r[NAMES[0]][0] + 0.05 < r["Gaussian"][0]
    assert r["Gaussian"][0] + 0.02 < r["coverage-aware Gaussian"][0] <= r["coverage-aware blend"][0] + 0.002
    assert r["bicubic"][0] < r["Gaussian"][0]
    assert r["coverage-aware Gaussian"][2] < r["Gaussian"][2] < r[NAMES[0]][2]


@pytest.mark.slow  # tunes on three depths
def test_fewer_contacts_need_wider_filters(deep):
    widths = []
    for fraction in (1 / 4, 1 / 64):
        pairs = [(prepared(thin(deep, fraction, 0)), prepared(deep))]
        settings = {each.name: each.settings for each in tune_baselines(pairs, 1 / fraction, 199)}
        widths.append(float(settings["coverage-aware Gaussian"].split()[1]))
    assert widths[0] < widths[1]


def test_tuning_stops_at_the_first_best_width(deep):
    """On the reference itself no smoothing is best."""
    pair = prepared(deep), prepared(deep)
    settings = {each.name: each.settings for each in tune_baselines([pair], 1, 199)}
    assert settings["Gaussian"] == f"sigma {SIGMAS[0]:g} bins"
    assert settings["bicubic"] == "blocks of 1 bins"


MEASURED = {
    # fraction: (baseline with its best width): r, log r, MSE on Chr4 and Chr2, measured apart from this code.
    1 / 16: {
        "rescaled": ((0.729, 0.672, 0.358), (0.682, 0.628, 0.368)),
        "gaussian": ((0.866, 0.852, 0.039), (0.835, 0.858, 0.033)),
        "coverage_aware": ((0.914, 0.922, 0.025), (0.897, 0.912, 0.025)),
    },
    1 / 64: {"coverage_aware": ((0.877, 0.899, 0.030), (0.858, 0.887, 0.030))},
}


@pytest.mark.slow  # tunes on a real map
@pytest.mark.parametrize("fraction", MEASURED)
def test_numbers_measured_on_arabidopsis(data_dir, fraction):
    """Each score at its own best width."""
    deep = open_contacts(data_dir / "arabidopsis_col0_30kb.cool")
    shallow = thin(deep, fraction, seed=1)
    widths = {"gaussian": (0.7, 0.8, 1.0, 1.25, 1.5), "coverage_aware": (1.5, 2, 2.5, 3)}
    for number, chrom in enumerate(("Chr4", "Chr2")):
        counts, reference = upper(shallow.matrix(chrom)), upper(deep.matrix(chrom))
        for name, rows in MEASURED[fraction].items():
            make = getattr(baselines, name)
            made = [
                make(counts, 1 / fraction, *width)
                for width in ([(value,) for value in widths[name]] if name in widths else [()])
            ]
            found = np.array([scores(image, reference) for image in made])
            best = np.array([found[:, 0].max(), found[:, 1].max(), found[:, 2].min()])
            np.testing.assert_allclose(best, rows[number], atol=0.005, err_msg=f"{name} {chrom}")
