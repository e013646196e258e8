"""Predicted tracks against measured ones, and the baselines from the map."""

import csv

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, open_contacts, write_contacts
from hicfm_jax.contacts.annotations.tracks import read_tracks, write_table
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.compare_tracks import compare_tracks, track_summary
from hicfm_jax.evaluate.track_baselines import (
    EIGENVECTORS,
    eigenvectors,
    local_decay,
    map_features,
    ridge_weights,
    track_baselines,
)
from tests.run_script import run_script

SIZES = {"Chr1": 120_000, "Chr2": 90_000, "Chr3": 80_000}


def checkered(seed: int = 0, depth: float = 200.0) -> tuple[ContactMap, dict[str, np.ndarray]]:
    """A map of two compartments, and which bins are in the first."""
    rng, matrices, compartments = np.random.default_rng(seed), {}, {}
    for chrom, length in SIZES.items():
        size = length // 1000
        states = np.repeat(rng.permutation(np.tile([0, 1], size // 10)), 5)[:size]
        distance = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
        mean = depth / (1 + distance) * np.where(states[:, None] == states, 2.0, 0.5)
        matrices[chrom, chrom] = scipy.sparse.csr_array(np.triu(rng.poisson(mean)))
        compartments[chrom] = states.astype(np.float32)
    return ContactMap(SIZES, 1000, matrices, "checkered"), compartments


MAP, GENES = checkered()


def noisy(track, amount, seed=0):
    rng = np.random.default_rng(seed)
    return {
        chrom: (values + amount * rng.normal(size=len(values))).astype(np.float32)
        for chrom, values in track.items()
    }


@pytest.mark.needs("cooltools")
@pytest.mark.parametrize("sign", [1, -1])
def test_the_first_eigenvector_is_the_compartment_oriented_by_genes(sign):
    density = sign * GENES["Chr1"]
    vectors = eigenvectors(MAP.matrix("Chr1"), density)
    assert vectors.shape == (3, 120)
    assert np.corrcoef(vectors[0], density)[0, 1] > 0.9


@pytest.mark.needs("cooltools")
def test_eigenvectors_of_many_bins_are_those_of_coarser_ones(monkeypatch):
    from hicfm_jax.evaluate import track_baselines

    monkeypatch.setattr(track_baselines, "EIGENVECTOR_BINS", 70)
    vectors = eigenvectors(MAP.matrix("Chr1"), GENES["Chr1"])
    assert vectors.shape == (3, 120) and (vectors[:, ::2] == vectors[:, 1::2]).all()
    assert np.corrcoef(vectors[0], GENES["Chr1"])[0, 1] > 0.7


def test_local_decay_is_the_mean_of_both_sides():
    counts = np.triu(np.random.default_rng(0).poisson(5, (100, 100)))
    both = counts + np.triu(counts, 1).T
    decay = local_decay(scipy.sparse.csr_array(counts))
    assert decay.shape == (6, 100)
    assert decay[1, 50] == pytest.approx(np.log10(1 + np.mean(both[50, [47, 48, 52, 53]])))
    assert decay[0, 0] == pytest.approx(np.log10(1 + both[0, 1]))
    assert decay[5, 99] == pytest.approx(np.log10(1 + both[99, 99 - 63 : 99 - 31].mean()))


def test_ridge_is_least_squares_without_a_penalty_and_the_mean_with_a_large_one():
    rng = np.random.default_rng(0)
    features, weights = rng.normal(size=(50, 3)), np.array([1.0, -2.0, 0.5])
    values = features @ weights + 4
    np.testing.assert_allclose(ridge_weights(features, values, 0.0), [*weights, 4])
    found = ridge_weights(features, values, 1e12)
    np.testing.assert_allclose(found, [0, 0, 0, values.mean()], atol=1e-6)


@pytest.mark.needs("cooltools")
def test_the_ridge_predicts_chromosomes_that_it_was_not_fitted_on():
    truth = {"genes": GENES, "TEs": {chrom: 1 - values for chrom, values in GENES.items()}}
    found = track_baselines(MAP, truth, ["Chr1", "Chr3"], ["Chr2"], GENES)
    assert list(found) == [*EIGENVECTORS, "ridge"]
    for name in truth:
        for baseline in ("E1", "ridge"):
            predicted = found[baseline][name]
            assert np.corrcoef(predicted["Chr2"], truth[name]["Chr2"])[0, 1] > 0.9
            assert np.isnan(predicted["Chr1"]).all()


def test_features_without_genes_have_no_eigenvectors():
    features = map_features(MAP, "Chr1")
    assert "coverage" in features and not set(EIGENVECTORS) & set(features)


def test_scores_are_over_the_bins_that_all_have():
    truth = noisy(GENES, 0.1)
    truth["Chr1"][:7] = np.nan
    good, poor = noisy(truth, 0.1, 1), noisy(truth, 3.0, 2)
    poor["Chr1"][7:20] = np.nan
    comparison = compare_tracks({"good": {"x": good}, "poor": {"x": poor}}, {"x": truth, "y": truth}, MAP)
    assert comparison.chromosomes == tuple(SIZES) and list(comparison.truth) == ["x"]
    found = {(score.prediction, score.chromosome): score for score in comparison.scores}
    assert found["good", "Chr1"].bins == found["poor", "Chr1"].bins == 100
    known = slice(20, None)
    expected = np.corrcoef(good["Chr1"][known], truth["Chr1"][known])[0, 1]
    assert found["good", "Chr1"].pearson == pytest.approx(expected)
    assert comparison.mean("good") > 0.8 > comparison.mean("poor")
    assert "mean, Chr2" in track_summary(comparison)


def test_ranks_do_not_depend_on_the_scale():
    truth = noisy(GENES, 0.1)
    predicted = {chrom: np.exp(5 * values) for chrom, values in truth.items()}
    (score, *_) = compare_tracks({"p": {"x": predicted}}, {"x": truth}, MAP, ["Chr1"]).scores
    assert score.spearman == pytest.approx(1.0) and score.pearson < 0.99


def test_mistakes_name_what_is_there():
    predicted = {"p": {"x": GENES}}
    with pytest.raises(InputError, match="have the tracks x and the reference y"):
        compare_tracks(predicted, {"y": GENES}, MAP)
    with pytest.raises(InputError, match="fitted on Chr1, which is to be evaluated"):
        compare_tracks(predicted, {"x": GENES}, MAP, ["Chr1"], fit_on=["Chr1"])
    empty = {chrom: np.full_like(values, np.nan) for chrom, values in GENES.items()}
    with pytest.raises(InputError, match="have values on no chromosome"):
        compare_tracks({"p": {"x": empty}}, {"x": GENES}, MAP)
    with pytest.raises(InputError, match="none has no contacts on Chr1.*: give the map of the tracks"):
        compare_tracks(predicted, {"x": GENES}, ContactMap(MAP.chromsizes, MAP.resolution, {}, "none"))


@pytest.mark.needs("cooltools", "matplotlib")
def test_the_script_writes_a_table_and_pictures(tmp_path, coarse_pictures):
    write_contacts(MAP, tmp_path / "map.cool")
    write_table(tmp_path / "true.tsv", MAP, {"gene_fraction": GENES, "TEs": noisy(GENES, 0.2)})
    (tmp_path / "predicted").mkdir()
    predicted = {"TEs": noisy(GENES, 0.3, 3), "gene_fraction": noisy(GENES, 0.3, 4)}
    write_table(tmp_path / "predicted" / "tracks.tsv", MAP, predicted)
    done = run_script(
        "evaluate.py",
        f"--reference={tmp_path / 'true.tsv'}",
        f"--tracks=mine={tmp_path / 'predicted'}",
        f"--input={tmp_path / 'map.cool'}",
        "--chromosomes=2",
        f"--output={tmp_path / 'out'}",
    )
    assert done.returncode == 0, done.stderr
    assert "ridge (baseline)" in done.stdout and "mean, Chr2" in done.stdout
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["Chr2.png", "tracks.csv"]
    rows = list(csv.DictReader(open(tmp_path / "out" / "tracks.csv")))
    assert {row["prediction"] for row in rows} == {
        "mine",
        *(f"{n} (baseline)" for n in (*EIGENVECTORS, "ridge")),
    }
    assert {row["track"] for row in rows} == {"gene_fraction", "TEs"}


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "Give --maps, --tracks or --loops"),
        (["--tracks=a=b", "--maps=a=b"], "Give --maps, --tracks or --loops"),
        (["--tracks=a=b"], "--tracks needs --input"),
        (["--tracks=a=", "--input=b"], "--tracks has the entry 'a=', expected NAME=URI"),
    ],
)
def test_flags_that_do_not_fit_are_one_sentence(tmp_path, flags, message):
    done = run_script("evaluate.py", "--reference=true.tsv", f"--output={tmp_path / 'out'}", *flags)
    assert done.returncode == 2 and message in done.stderr and not (tmp_path / "out").exists()


@pytest.mark.slow  # eigenvectors of real chromosomes
@pytest.mark.needs("cooltools")
def test_real_heterochromatin_follows_the_first_eigenvector(data_dir):
    contact_map = open_contacts(data_dir / "arabidopsis_col0_30kb.cool")
    tracks = read_tracks(data_dir / "arabidopsis_tair10_tracks_10kb.tsv.gz", contact_map)
    truth = {name: tracks[name] for name in ("te_fraction", "state9_fraction")}
    found = track_baselines(contact_map, truth, ["Chr1", "Chr3"], ["Chr4"], tracks["gene_fraction"])
    comparison = compare_tracks(found, truth, contact_map, ["Chr4"])
    assert comparison.mean("E1") > 0.75 and comparison.mean("ridge") > comparison.mean("E1")
