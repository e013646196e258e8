"""Foci: planted ones are called, stripes and noise are not."""

import dataclasses

import numpy as np
import pytest

from hicfm_jax.contacts import open_contacts
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.contacts.simulation import tair10
from hicfm_jax.evaluate.scores.diagonals import upper
from hicfm_jax.evaluate.scores.foci import ADDED, REAL_FROM, call_foci, focus_enrichment, focus_recovery

SIZE = 120
BINS = np.arange(SIZE)


@pytest.fixture(scope="module")
def background():
    distance = np.abs(BINS[:, None] - BINS)
    return 20_000 / (distance + 10.0)


def with_focus(matrix, row, column, factor):
    matrix = matrix.copy()
    matrix[row - 1 : row + 2, column - 1 : column + 2] *= factor
    return matrix


def drawn(matrix, seed=0):
    return upper(np.random.default_rng(seed).poisson(matrix).astype(float))


def found(matrix):
    expected = find_expected(matrix)
    enrichment = focus_enrichment(matrix, expected)
    return enrichment, call_foci(enrichment, REAL_FROM), expected


def test_a_planted_focus_is_found_with_its_strength(background):
    matrix = drawn(with_focus(with_focus(background, 30, 80, 8), 50, 100, 4))
    _, foci, _ = found(matrix)
    assert list(zip(foci.rows, foci.columns, strict=True)) == [(30, 80), (50, 100)]
    # In so small a map a focus also adds to the biases of its bins; without that it is as planted.
    strength = focus_enrichment(matrix, find_expected(drawn(background))).over_ring
    expected = [(8 * 3000 + ADDED) / (3000 + ADDED), (4 * 3000 + ADDED) / (3000 + ADDED)]
    assert [strength[30, 80], strength[50, 100]] == pytest.approx(expected, rel=0.05)


def test_neither_noise_nor_a_stripe_nor_the_diagonal_is_a_focus(background):
    striped = background.copy()
    striped[40] *= 5
    striped[:, 40] *= 5
    for matrix in (background, striped, background / 200):
        assert len(found(drawn(matrix))[1]) == 0


def test_recovery_separates_lost_from_false_foci(background):
    deep = with_focus(with_focus(background, 30, 80, 8), 20, 100, 8)
    reference, foci, expected = found(drawn(deep))

    def recovery(matrix, seed=1):
        return focus_recovery(focus_enrichment(drawn(matrix, seed), expected), reference, foci)

    same = focus_recovery(reference, reference, foci)
    assert (same.recovery, same.strength, same.precision, same.recall, same.f1) == (1, 1, 1, 1, 1)
    again = recovery(deep)
    assert again.recovery > 0.95 and again.f1 == 1
    flat = recovery(background)
    assert flat.strength < 0.1 and flat.recall == 0 and flat.f1 == 0 and np.isnan(flat.precision)
    one_of_two = recovery(with_focus(background, 30, 80, 8))
    assert one_of_two.recall == 0.5 and one_of_two.precision == 1
    assert one_of_two.strength == pytest.approx(0.5, abs=0.06)
    made_up = recovery(with_focus(with_focus(deep, 60, 90, 5), 10, 60, 5))
    assert made_up.recall == 1 and made_up.precision == 0.5
    assert made_up.recovery == pytest.approx(made_up.strength / 2)
    half_as_strong = recovery(with_focus(with_focus(background, 30, 80, np.sqrt(8)), 20, 100, np.sqrt(8)))
    assert half_as_strong.strength == pytest.approx(0.5, abs=0.06) and half_as_strong.recall == 1


def test_depth_does_not_change_enrichment(background):
    matrix = drawn(with_focus(background, 30, 80, 8))
    expected = find_expected(matrix)
    one, two = (focus_enrichment(matrix * scale, expected).over_ring for scale in (1, 1 / 16))
    np.testing.assert_allclose(one, two, rtol=1e-9)


def test_no_foci_in_the_reference_no_score(background):
    enrichment, foci, _ = found(drawn(background))
    assert np.isnan(dataclasses.astuple(focus_recovery(enrichment, enrichment, foci))).all()


def test_the_known_loci_of_arabidopsis(data_dir):
    """All pairs of KEE loci within a chromosome are called, before any other focus."""
    deep = open_contacts(data_dir / "arabidopsis_col0_30kb.cool")
    for chrom, pairs in {"Chr3": 6, "Chr4": 1, "Chr5": 1}.items():
        loci = [(start - 60e3, end + 60e3) for name, start, end in tair10.KEE if name == chrom]
        _, foci, _ = found(upper(deep.matrix(chrom)))

        def locus(place, loci=loci):
            inside = [number for number, (start, end) in enumerate(loci) if start <= place * 30e3 <= end]
            return inside[0] if inside else None

        first = list(zip(foci.rows, foci.columns, foci.enrichment, strict=True))[:pairs]
        assert {(locus(row), locus(column)) for row, column, _ in first} == {
            (one, two) for one in range(len(loci)) for two in range(one + 1, len(loci))
        }
        assert all(5 < enrichment < 17 for *_, enrichment in first)
        assert len(foci) <= 2 * pairs + 2
