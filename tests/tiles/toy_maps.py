"""Contact maps of small matrices."""

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap


def dense_to_map(matrices: dict[str, np.ndarray], name="toy", total_count=None) -> ContactMap:
    """A map at 1 kb from symmetric matrices `[n, n]` by chromosome."""
    return ContactMap(
        {chrom: 1000 * len(matrix) for chrom, matrix in matrices.items()},
        1000,
        {(chrom, chrom): scipy.sparse.csr_array(np.triu(matrix)) for chrom, matrix in matrices.items()},
        name=name,
        total_count=total_count,
    )


def random_matrix(n: int, seed: int, mean: float = 40.0) -> np.ndarray:
    """Symmetric Poisson counts `[n, n]` that fall off with distance."""
    distance = np.abs(np.arange(n)[:, None] - np.arange(n))
    upper = np.triu(np.random.default_rng(seed).poisson(mean / (1 + distance)))
    return upper + np.triu(upper, 1).T
