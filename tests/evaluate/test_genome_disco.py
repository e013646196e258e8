"""GenomeDISCO on networks small enough to compute by hand."""

import math

import numpy as np
import pytest

from hicfm_jax.evaluate.scores.diagonals import upper
from hicfm_jax.evaluate.scores.whole_map import genome_disco


def network(size, *edges):
    matrix = np.zeros((size, size))
    for one, two, weight in edges:
        matrix[one, two] = matrix[two, one] = weight
    return matrix


def test_networks_without_a_common_edge_have_nothing_in_common():
    """Four bins in two pairs: after 3 steps every walker is at its partner, and the partners differ."""
    one, two = network(4, (0, 1, 3), (2, 3, 1)), network(4, (0, 2, 2), (1, 3, 5))
    assert genome_disco(one, two) == (-1, 4)
    assert genome_disco(one, one) == (1, 4)


def test_a_walk_of_one_step_by_hand():
    """0-1 and 0-2 with weights 1 and 3: from 0 to 1 with 1/4 after division by the roots of coverage.

    Coverages 4, 1, 3: the edges become 1/sqrt(4) and 3/sqrt(12); from 0 to them with 0.366 and 0.634.
    Without the second edge all goes to 1, and bin 2 has no contacts: (2 x 0.634 + 0 + 1) / 2.5 nodes.
    """
    one, two = network(3, (0, 1, 1), (0, 2, 3)), network(3, (0, 1, 1))
    right = (3 / math.sqrt(12)) / (1 / 2 + 3 / math.sqrt(12))
    assert genome_disco(one, two, steps=1)[0] == pytest.approx(1 - (2 * right + 1) / 2.5)


def test_noise_lowers_it_and_depth_and_diagonal_do_not_change_it(deep, shallow):
    reference, test = upper(deep.matrix("Chr4")), upper(shallow.matrix("Chr4"))
    score = genome_disco(test, reference)[0]
    changed = (test * 16).tolil()
    changed.setdiag(1e6)
    assert genome_disco(changed.tocsr(), reference)[0] == pytest.approx(score, abs=1e-9)
    assert score < genome_disco(reference, reference)[0] == 1
    assert math.isnan(genome_disco(np.zeros((3, 3)), np.zeros((3, 3)))[0])
