"""GenomeDISCO: concordance of two maps after random walks.

Ursu et al. 2018, Bioinformatics 34:2701 (doi:10.1093/bioinformatics/bty164).
"""

import numpy as np

from hicfm_jax.evaluate.scores.diagonals import Matrix, dense

STEPS = 3  # of the walk; the authors found it best for most data


def genome_disco(test: Matrix, reference: Matrix, steps: int = STEPS) -> tuple[float, int]:
    """Concordance of two maps: 1 minus the difference of their random walks per bin with contacts.

    It goes from -1 (nothing in common) to 1 (equal); NaN without contacts. Also the mean number of bins with
    contacts. Contacts of a bin with itself are left out. Each map is divided by the square roots of its
    coverages, and each row by its sum. Maps `[n, n]` of any scale are not downsampled to equal depth, because
    they need not be counts.
    """
    walks, visited = [], []
    for matrix in (test, reference):
        contacts = dense(matrix)
        np.fill_diagonal(contacts, 0)
        visited.append(int((contacts.sum(axis=1) > 0).sum()))
        walks.append(np.linalg.matrix_power(_transitions(contacts), steps))
    nodes = sum(visited) / 2
    if not nodes:
        return float("nan"), 0
    return float(1 - np.abs(walks[0] - walks[1]).sum() / nodes), round(nodes)


def _transitions(contacts: np.ndarray) -> np.ndarray:
    """Transition probabilities between bins; rows sum to 1, or to 0 for bins without contacts."""
    root = np.sqrt(contacts.sum(axis=1))
    root[root == 0] = 1
    contacts = contacts / np.outer(root, root)
    sums = contacts.sum(axis=1, keepdims=True)
    sums[sums == 0] = 1
    return contacts / sums
