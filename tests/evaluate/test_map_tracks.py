"""Insulation and compartments: planted domains and compartments are found, whatever their sign."""

import math

import numpy as np
import pytest

from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.scores.diagonals import upper, visible_bins
from hicfm_jax.evaluate.scores.map_tracks import (
    compartment_correlation,
    compartment_track,
    diamond_bins,
    insulation_factor,
    log_insulation,
    track_correlation,
)

SIZE = 100
BINS = np.arange(SIZE)
DECAY = 1000 / (np.abs(BINS[:, None] - BINS) + 1.0)


def test_insulation_dips_at_the_border_of_two_domains():
    domains = np.where((BINS[:, None] < 40) == (BINS < 40), 4, 1)
    counts = upper(DECAY * domains)
    track = log_insulation(counts, find_expected(counts), 5)
    middle = track[10:90]
    assert abs(10 + np.nanargmin(middle) - 39.5) <= 1
    assert np.nanmin(middle) < np.nanmedian(middle) - 0.8


def test_insulation_is_that_of_balanced_maps():
    """Biases change the counts of a bin threefold, and the insulation hardly."""
    domains = np.where((BINS[:, None] < 40) == (BINS < 40), 4, 1)
    bias = np.exp(0.5 * np.random.default_rng(0).standard_normal(SIZE))
    plain, biased = upper(DECAY * domains), upper(DECAY * domains * np.outer(bias, bias))
    one, two = (log_insulation(counts, find_expected(counts), 5) for counts in (plain, biased))
    assert track_correlation(two, one)[0] > 0.95


def test_compartments_are_found_whatever_their_sign():
    kind = np.sign(np.sin(BINS / 8) + 0.01)
    counts = upper(DECAY * 2.0 ** np.outer(kind, kind))
    track = compartment_track(counts, find_expected(counts))
    assert compartment_correlation(track, kind)[0] > 0.95
    assert compartment_correlation(-track, kind)[0] == pytest.approx(compartment_correlation(track, kind)[0])


def test_bins_without_contacts_are_left_out():
    counts = DECAY.copy()
    counts[20:25] = counts[:, 20:25] = 0
    counts = upper(counts)
    expected = find_expected(counts)
    assert not visible_bins(expected)[20:25].any() and visible_bins(expected).sum() == 95
    for track in (log_insulation(counts, expected, 5), compartment_track(counts, expected)):
        assert np.isnan(track[20:25]).all()


def test_constant_and_short_tracks():
    known = np.array([1.0, 2, 4, np.nan])
    assert math.isnan(track_correlation(known, np.ones(4))[0])
    assert track_correlation(np.ones(4), known) == (0, 3)
    assert math.isnan(track_correlation(known[:2], known[:2])[0])


def test_the_diamond_has_five_to_ten_bins():
    for resolution, factor, window in [(1_000, 10, 10), (10_000, 1, 10), (30_000, 1, 5), (100_000, 1, 5)]:
        assert insulation_factor(resolution) == factor
        assert diamond_bins(resolution * factor) == window
