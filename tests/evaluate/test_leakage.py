"""Warnings of evaluation on training data, and notes on checkpoints."""

import pytest

from hicfm_jax.evaluate import compare
from hicfm_jax.evaluate.opening import enhancement_notes, leakage_warnings


def enhanced(trained, validated=None):
    return {"enhancement": {"trained_on": trained, "validated_on": validated or {}}}


def test_training_on_an_evaluated_chromosome_is_found_under_any_of_its_names():
    for name in ("Chr4", "chr4", "4"):
        (warning,) = leakage_warnings(
            "model", enhanced({"leaf": ["1", name], "root": ["1"]}), ["Chr4", "Chr2"]
        )
        assert "model" in warning and "trained on Chr4 (assay leaf)" in warning and "root" not in warning
    several = enhanced({"leaf": ["1", "4"], "leaf60": ["4", "1"], "root": ["4"]})
    found = leakage_warnings("model", several, ["Chr1", "Chr4"])
    assert len(found) == 2 and "trained on Chr1, Chr4 (assays leaf, leaf60)" in found[0]


def test_no_warning_for_held_out_chromosomes():
    assert leakage_warnings("model", enhanced({"leaf": ["Chr1", "Chr14"]}), ["Chr4"]) == []
    assert leakage_warnings("input", {}, ["Chr4"]) == []
    of_fly = enhanced({"leaf": ["Chr4"]})
    of_fly["enhancement"]["longest"] = {"leaf": [30_427_671, 26_975_502, 23_459_830]}
    assert leakage_warnings("model", of_fly, ["chr4"], [32_079_331, 28_110_227, 25_286_936, 1_348_131]) == []
    assert leakage_warnings("model", of_fly, ["chr4"], [18_585_056])  # a part of the genome, perhaps
    assert leakage_warnings("input", {"thinned": {"fraction": 0.1}}, ["Chr4"]) == []


def test_simulated_maps_tell_nothing_of_measured_ones():
    metadata = enhanced({"sim": ["Chr4"], "leaf": ["Chr2"]})
    metadata["enhancement"]["simulated"] = ["sim"]
    assert leakage_warnings("model", metadata, ["Chr4"]) == []
    (warning,) = leakage_warnings("model", metadata, ["Chr2", "Chr4"])
    assert "assay leaf" in warning
    assert "assay sim" in leakage_warnings("model", {**metadata, "simulated": True}, ["Chr4"])[0]
    assert leakage_warnings("model", {**metadata, "simulated": "loops"}, ["Chr4"]) == []


def test_validation_and_missing_metadata_are_warned_of():
    (warning,) = leakage_warnings("model", enhanced({"leaf": ["Chr1"]}, {"leaf": ["Chr4"]}), ["Chr4"])
    assert "validated on Chr4" in warning
    for metadata in ({"enhancement": "yes"}, {"enhancement": {}}, {"enhancement": {"trained_on": ["Chr1"]}}):
        (warning,) = leakage_warnings("model", metadata, ["Chr4"])
        assert "does not say" in warning
    damaged = enhanced({"leaf": 5, "root": None, "stem": "Chr4"})
    damaged["enhancement"]["unknown"] = 3
    assert "stem" in leakage_warnings("model", damaged, ["Chr4"])[0]


def test_a_start_from_unknown_training_data_is_warned_of():
    metadata = enhanced({"leaf": ["Chr1"]})
    metadata["enhancement"]["unknown"] = ["mine.pth.tar"]
    (warning,) = leakage_warnings("model", metadata, ["Chr4"])
    assert "started from mine.pth.tar" in warning
    assert leakage_warnings("model", enhanced({}), ["Chr4"]) == []  # simulated maps are not recorded


@pytest.mark.slow  # compares maps
def test_a_comparison_warns(deep, shallow):
    maps = {"input": shallow, "model": shallow.coarsen(1)}
    maps["model"].metadata = enhanced({"leaf": ["chr4"]})
    maps["model"].metadata["enhancement"] |= {"checkpoint": "runs/enhance", "step": 1200}
    found = compare(maps, deep, ["Chr4"])
    assert len(found.warnings) == 1 and "model" in found.warnings[0]
    assert found.notes == ["model was enhanced with the checkpoint of step 1200 of runs/enhance."]
    assert compare(maps, deep, ["Chr3"]).warnings == []


def test_the_step_is_noted_where_the_file_has_it():
    """Files of the original and of earlier versions have none."""
    for metadata in ({}, {"enhancement": "yes"}, enhanced({}), {"enhancement": {"step": 0}}):
        assert enhancement_notes("model", metadata) == []
