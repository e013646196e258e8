"""Comparisons as a whole: perfect scores, pooling, choice of chromosomes, invalid input."""

import math

import numpy as np
import pytest
import scipy.sparse

from hicfm_jax.contacts import ContactMap, simulate, thin
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate import compare
from hicfm_jax.evaluate.comparison import POOLED, Record, ScoredValue, pool
from hicfm_jax.evaluate.scores import SCORES, scored_pair


def test_the_reference_itself_scores_best(comparison):
    maps = {record.map for record in comparison.of(POOLED)}
    for name, score in SCORES.items():
        sign = 1 if score.better == "higher" else -1
        values = [sign * comparison.score(each, name) for each in maps]
        assert sign * comparison.score("same", name) == pytest.approx(np.nanmax(values), abs=1e-6), name


@pytest.mark.parametrize(
    ("name", "best"), [("r", 1), ("log_r", 1), ("mse", 0), ("scc", 1), ("ssim", 1), ("psnr", math.inf)]
)
def test_values_of_the_reference_itself(comparison, name, best):
    assert comparison.score("same", name) == pytest.approx(best, abs=1e-6)


def test_scores_of_shape_do_not_depend_on_depth(comparison):
    for name in ("r", "scc", "spearman", "insulation_r", "compartment_r", "genome_disco", "focus_f1"):
        assert comparison.score("scaled", name) == pytest.approx(1, abs=1e-6), name
    assert comparison.score("scaled", "mse") > 0.1
    assert comparison.score("scaled", "ssim") < 0.99


def test_noise_lowers_every_score(comparison):
    for name, score in SCORES.items():
        if name in ("focus_strength", "focus_recall"):  # the noise that hides foci does not weaken them
            continue
        value, best = comparison.score("input", name), comparison.score("same", name)
        assert value < best if score.better == "higher" else value > best, name


def test_records_are_complete(comparison):
    assert [record.map for record in comparison.of(POOLED)] == [
        "input",
        "same",
        "scaled",
        "rescaled input",
        "Gaussian",
        "bicubic",
        "coverage-aware Gaussian",
        "coverage-aware blend",
    ]
    assert len(comparison) == 16 and comparison.resolution == 60_000
    assert "Chr3" in comparison.notes[0] and "input" in comparison.notes[0]
    (view,) = comparison.chromosomes
    assert view.name == "Chr4" and "reference" in view.thumbnails
    assert view.thumbnails["input"].scale == pytest.approx(16, rel=0.05)


def test_pooling_weighs_and_leaves_out_nan():
    def record(chrom, r, pixels):
        scores = {name: ScoredValue(math.nan, 0) for name in SCORES} | {"r": ScoredValue(r, pixels)}
        return Record("map", chrom, scores)

    pooled = pool([record("1", 0.9, 300), record("2", 0.5, 100), record("3", math.nan, 1000)])
    assert pooled.scores["r"] == (pytest.approx(0.8), 400)
    assert pooled.chromosome == POOLED and math.isnan(pooled.scores["mse"].value)


def test_chromosomes_with_contacts_in_all_maps_are_evaluated(deep):
    half = ContactMap(deep.chromsizes, deep.resolution, {("Chr4", "Chr4"): deep.matrix("Chr4")}, "half")
    found = compare({"half": half}, deep)
    assert [view.name for view in found.chromosomes] == ["Chr4"]
    assert any("Chr3 is left out" in note for note in found.notes)
    with pytest.raises(InputError, match="half has no contacts on Chr3"):
        compare({"half": half}, deep, ["Chr3"])


def test_maps_are_coarsened_to_one_resolution(deep):
    coarse = deep.coarsen(2)
    assert compare({"fine": deep}, coarse, ["Chr4"]).score("fine", "r") == pytest.approx(1)
    with pytest.raises(InputError, match="120000 bp, expected 60000 bp"):
        compare({"coarse": coarse}, deep, ["Chr4"])


@pytest.mark.slow  # compares four maps
def test_long_chromosomes_have_scores_in_wider_bins(deep, shallow, monkeypatch):
    """Scores by distance are unchanged; those of whole maps use wider bins; filters are left out."""
    deep, shallow = deep.coarsen(2), shallow.coarsen(2)
    whole = compare({"input": shallow}, deep, ["Chr4"])
    monkeypatch.setattr(scored_pair, "WHOLE_BINS", 75)
    found = compare({"input": shallow}, deep, ["Chr4"], baselines_of="input")
    for name in ("r", "log_r", "mse", "scc", "spearman", "insulation_r"):
        assert found.score("input", name) == whole.score("input", name)
    assert not math.isnan(found.score("input", "genome_disco"))
    assert found.chromosomes[0].whole_resolution == 360_000
    assert [record.map for record in found.of("Chr4")] == ["input", "rescaled input"]
    assert any("360000 bp" in note for note in found.notes)


@pytest.mark.slow  # compares four maps
def test_means_over_fewer_chromosomes_are_not_shown(monkeypatch):
    """Filters are left out on long chromosomes: they have scores on the others, but no pooled ones."""
    deep = simulate(contacts=4e6, resolution=240_000, seed=1, chromosomes=["Chr2", "Chr3", "Chr4"])
    monkeypatch.setattr(scored_pair, "WHOLE_BINS", deep.n_bins("Chr3") - 1)
    maps = {"input": thin(deep, 1 / 16, seed=0)}
    found = compare(maps, deep, ["Chr3", "Chr4"], baselines_of="input", tune_chromosomes=["Chr2"])
    assert [record.map for record in found.of(POOLED)] == ["input", "rescaled input"]
    assert "Gaussian" in [record.map for record in found.of("Chr4")]
    assert any("not pooled" in note for note in found.notes)


@pytest.mark.slow  # compares four maps
def test_only_the_shallow_map_needs_the_tuning_chromosomes(deep, shallow):
    """An enhanced map may have contacts on the evaluated chromosome alone."""
    deep, shallow = deep.coarsen(4), shallow.coarsen(4)
    one = shallow.matrix("Chr4")
    model = ContactMap({"Chr4": deep.chromsizes["Chr4"]}, deep.resolution, {("Chr4", "Chr4"): one})
    for tune in (None, ["Chr3"]):
        maps = {"input": shallow, "model": model}
        found = compare(maps, deep, ["Chr4"], baselines_of="input", tune_chromosomes=tune)
        assert found.score("model", "r") == found.score("input", "r")


@pytest.mark.slow  # compares many maps
def test_tiny_and_odd_maps_do_not_crash():
    rng = np.random.default_rng(0)
    for size in (3, 4, 12, 25):
        matrices = {("c", "c"): scipy.sparse.csr_array(np.triu(rng.poisson(2, (size, size)) + 1))}
        reference = ContactMap({"c": size * 1000}, 1000, matrices)
        single = np.zeros((size, size))
        single[0, -1] = 1
        one = ContactMap({"c": size * 1000}, 1000, {("c", "c"): scipy.sparse.csr_array(single)})
        assert compare({"same": reference}, reference).score("same", "r") == pytest.approx(1)
        for maps, other in (({"one": one}, reference), ({"many": reference}, one), ({"one": one}, one)):
            assert len(compare(maps, other)) == 2


def test_invalid_arguments_are_refused(deep, shallow):
    maps = {"input": shallow}
    other = simulate(contacts=1e5, resolution=60_000, chromosomes=["Chr1"])
    for sentence, arguments in {
        "no map": ({}, deep),
        "is called 'reference'": ({"reference": shallow}, deep),
        "no chromosome 'Chr9'": (maps, deep, ["Chr9"]),
        "twice": (maps, deep, ["Chr4", "4"]),
        "No chromosome to evaluate": ({"other": other}, deep),
    }.items():
        with pytest.raises(InputError, match=sentence):
            compare(*arguments)
    for sentence, options in {
        "max_diagonal=0": {"max_diagonal": 0},
        "tune_by='x'": {"tune_by": "x"},
        "baselines_of='x' is not a map": {"baselines_of": "x"},
        "tune_chromosomes needs baselines_of": {"tune_chromosomes": ["Chr3"]},
        "Chr4 would be both evaluated and used": {"baselines_of": "input", "tune_chromosomes": ["3", "4"]},
    }.items():
        with pytest.raises(InputError, match=sentence):
            compare(maps, deep, ["Chr4"], **options)
    with pytest.raises(InputError, match="No chromosome is left"):
        compare(maps, deep, baselines_of="input")
    with pytest.raises(InputError, match="name of a baseline"):
        compare({"input": shallow, "Gaussian": thin(deep, 0.5, 0)}, deep, ["Chr4"], baselines_of="input")


def test_a_region_is_compared_as_a_map_of_its_own(deep, shallow):
    first, last, width = 50, 150, deep.resolution
    cut = [
        ContactMap(
            {"Chr4": (last - first) * width},
            width,
            {("Chr4", "Chr4"): each.matrix("Chr4")[first:last, first:last]},
        )
        for each in (shallow, deep)
    ]
    region = f"4:{first * width}-{last * width}"
    found = compare({"input": shallow}, deep, region=region)
    alone = compare({"input": cut[0]}, cut[1])
    for name in ("r", "ssim", "focus_f1", "compartment_r"):
        assert found.score("input", name) == pytest.approx(alone.score("input", name), nan_ok=True)
    (view,), (other,) = found.chromosomes, alone.chromosomes
    assert (view.origin, view.length) == (first * width, (last - first) * width)
    moved = [(one + view.origin, two + view.origin) for one, two, _ in other.foci]
    assert [(one, two) for one, two, _ in view.foci] == moved
    assert any("Chr4:3,000,000-9,000,000 only" in note for note in found.notes)
    with pytest.raises(InputError, match="cannot be combined"):
        compare({"input": shallow}, deep, ["Chr4"], region=region)
    with pytest.raises(InputError, match="Chr4"):
        compare({"input": shallow}, deep, region="Chr4:1M-900M")
