"""Baselines of predicted tracks: compartments, and a ridge regression on features of the map."""

from collections.abc import Mapping, Sequence

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.intervals import Track, empty_track
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.scores.diagonals import band, band_mask, coarsen, dense, visible_bins
from hicfm_jax.evaluate.scores.map_tracks import track_correlation

EIGENVECTORS = ("E1", "E2", "E3")
RIDGE = "ridge"

EIGENVECTOR_BINS = 3_000  # of a chromosome; more are coarsened, as the matrix is dense
CLIP_PERCENTILE = 99.9  # of observed over expected, the default of cooltools
DISTANCES = (1, 2, 4, 8, 16, 32, 64)  # bins; edges of the ranges of the local decay
PENALTIES = tuple(10.0**power for power in range(-2, 6))


def eigenvectors(matrix: scipy.sparse.csr_array, gene_density: np.ndarray) -> np.ndarray:
    """First three eigenvectors of observed over expected, oriented by gene density, `[3, n]`.

    Those of `cooltools.eigs_cis` (Imakaev et al. 2012, Nature Methods 9:999) on the balanced map: each one
    has a positive rank correlation with gene density. NaN for bins with few contacts.

    Args:
      matrix: counts of a chromosome, upper triangle `[n, n]`.
      gene_density: `[n]`, NaN where it is unknown.
    """
    from cooltools.api.eigdecomp import cis_eig

    size = matrix.shape[0]
    factor = -(-size // EIGENVECTOR_BINS)
    coarse = coarsen(matrix, factor)
    expected = find_expected(coarse)
    visible = visible_bins(expected)
    weight = np.divide(1.0, expected.bias, out=np.full(len(visible), np.nan), where=visible)
    density = _block_means(gene_density, factor)
    balanced = dense(coarse) * np.outer(weight, weight)
    _, vectors = cis_eig(balanced, len(EIGENVECTORS), density, clip_percentile=CLIP_PERCENTILE)
    vectors[:, ~visible] = np.nan
    return np.repeat(vectors, factor, axis=1)[:, :size]


def local_decay(matrix: scipy.sparse.csr_array) -> np.ndarray:
    """log10(1 + mean contacts) of each bin with those at ranges of distance, both ways, `[R, n]`.

    The ranges are those between the `DISTANCES`.

    Args:
      matrix: counts of a chromosome, upper triangle `[n, n]`.
    """
    size = matrix.shape[0]
    forward = band(matrix, DISTANCES[-1] - 1)
    pixels = band_mask(len(forward), size).astype(float)
    both_ways = [values + _from_the_other_side(values) for values in (forward, pixels)]
    found = []
    for first, last in zip(DISTANCES, DISTANCES[1:], strict=False):
        contacts, number = (values[first:last].sum(axis=0) for values in both_ways)
        found.append(np.log10(1 + contacts / np.maximum(number, 1)))
    return np.array(found)


def map_features(
    contact_map: ContactMap, chrom: str, gene_density: np.ndarray | None = None
) -> dict[str, np.ndarray]:
    """Features of the bins of a chromosome: coverage, local decay and eigenvectors, `[n]` each.

    NaN for bins with few contacts. Without a gene density there are no eigenvectors, as their signs would
    be arbitrary.
    """
    matrix = contact_map.matrix(chrom)
    expected = find_expected(matrix)
    features = {"coverage": np.log10(1 + expected.coverage)}
    for first, values in zip(DISTANCES, local_decay(matrix), strict=False):
        features[f"decay_{first}"] = values
    visible = visible_bins(expected)
    features = {name: np.where(visible, values, np.nan) for name, values in features.items()}
    if gene_density is not None:
        features |= zip(EIGENVECTORS, eigenvectors(matrix, gene_density), strict=True)
    return features


def ridge_weights(features: np.ndarray, values: np.ndarray, penalty: float) -> np.ndarray:
    """Weights `[F + 1]`, the last one the intercept, that minimize squared error + penalty * |weights|^2.

    Hoerl and Kennard 1970, Technometrics 12:55. The intercept is not penalized.

    Args:
      features: standardized, `[N, F]`.
      values: `[N]`.
    """
    centered = features - features.mean(axis=0)
    product = centered.T @ centered + penalty * np.eye(features.shape[1])
    weights = np.linalg.solve(product, centered.T @ (values - values.mean()))
    return np.append(weights, values.mean() - features.mean(axis=0) @ weights)


def track_baselines(
    contact_map: ContactMap,
    truth: Mapping[str, Track],
    fit_on: Sequence[str],
    chromosomes: Sequence[str],
    gene_density: Track | None = None,
) -> dict[str, dict[str, Track]]:
    """Tracks that simple regressions on features of the map predict.

    `E1`, `E2`, `E3`: each eigenvector alone, scaled to each track by least squares. `ridge`: coverage, local
    decay and the eigenvectors together, with the penalty of the best mean correlation if each chromosome of
    `fit_on` in turn is left out.

    Args:
      contact_map: the map from which the tracks are to be predicted.
      truth: measured tracks.
      fit_on: chromosomes to fit the regressions on.
      chromosomes: to predict.
      gene_density: orients the eigenvectors; None leaves them out.

    Returns:
      Baseline -> track -> chromosome -> values, NaN for bins with few contacts.
    """
    features = {}
    for chrom in dict.fromkeys([*fit_on, *chromosomes]):
        features[chrom] = map_features(contact_map, chrom, gene_density and gene_density[chrom])
    names = list(next(iter(features.values())))
    chosen = {name: [name] for name in EIGENVECTORS if name in names} | {RIDGE: names}
    found: dict[str, dict[str, Track]] = {}
    for baseline, columns in chosen.items():
        stacked = {chrom: np.stack([of[name] for name in columns], axis=1) for chrom, of in features.items()}
        known = np.concatenate([stacked[chrom] for chrom in fit_on])
        mean, spread = np.nanmean(known, axis=0), np.nanstd(known, axis=0)
        stacked = {chrom: (rows - mean) / np.where(spread > 0, spread, 1) for chrom, rows in stacked.items()}
        found[baseline] = {}
        for track, values in truth.items():
            penalty = 0.0
            if baseline == RIDGE:
                penalty = _best_penalty(stacked, values, fit_on)
            weights = _fitted(stacked, values, fit_on, penalty)
            predicted = empty_track(contact_map)
            for chrom in chromosomes:
                predicted[chrom][:] = _apply(weights, stacked[chrom])
            found[baseline][track] = predicted
    return found


def _fitted(
    features: Mapping[str, np.ndarray], values: Track, chromosomes: Sequence[str], penalty: float
) -> np.ndarray:
    rows = np.concatenate([features[chrom] for chrom in chromosomes])
    target = np.concatenate([values[chrom] for chrom in chromosomes]).astype(np.float64)
    known = np.isfinite(rows).all(axis=1) & np.isfinite(target)
    if known.sum() < 3:
        return np.full(rows.shape[1] + 1, np.nan)
    return ridge_weights(rows[known], target[known], max(penalty, 1e-9))


def _apply(weights: np.ndarray, features: np.ndarray) -> np.ndarray:
    return features @ weights[:-1] + weights[-1]


def _best_penalty(features: Mapping[str, np.ndarray], values: Track, chromosomes: Sequence[str]) -> float:
    """The penalty of the best mean correlation on chromosomes left out; 1 where there is only one."""
    if len(chromosomes) < 2:
        return 1.0

    def mean_correlation(penalty):
        found = []
        for left_out in chromosomes:
            others = [chrom for chrom in chromosomes if chrom != left_out]
            predicted = _apply(_fitted(features, values, others, penalty), features[left_out])
            found.append(track_correlation(predicted, values[left_out])[0])
        return np.nan_to_num(np.mean(found), nan=-1.0)

    return max(PENALTIES, key=mean_correlation)


def _from_the_other_side(values: np.ndarray) -> np.ndarray:
    """Row d of a band shifted by d: what bin i has with bin i - d."""
    shifted = np.zeros_like(values)
    size = values.shape[1]
    for distance, row in enumerate(values):
        shifted[distance, distance:] = row[: size - distance]
    return shifted


def _block_means(values: np.ndarray, factor: int) -> np.ndarray:
    if factor == 1:
        return np.asarray(values, np.float64)
    padded = np.append(values, np.full(-len(values) % factor, np.nan)).reshape(-1, factor)
    known = np.isfinite(padded).any(axis=1)
    return np.where(known, np.nanmean(np.where(known[:, None], padded, 0), axis=1), np.nan)
