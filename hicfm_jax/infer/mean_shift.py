"""Mean shift: loops are the modes of a map of loop scores."""

import dataclasses

import numpy as np
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial

from hicfm_jax.evaluate.neighborhoods import Neighborhoods

REACH = 4  # bins to each side of a point that pull at it
PRECISION = 1.5  # of the kernel exp(-1.5 d^2), d in bins
LEAST_MOVE = 0.001  # squared, in bins; a smaller move is the last one
APART = 2.0  # bins; modes nearer than this are one
WEAKEST = 0.01  # of the range of densities; the original drops points below

_SIDE = 2 * REACH + 2  # of a neighborhood, which may have an incomplete bin at both ends
_MOST_MOVES = 1000
_AT_ONCE = 20_000  # points; their neighborhoods take 800 bytes each


@dataclasses.dataclass(frozen=True)
class ShiftedPoints:
    """Start points of a mean shift, and where they ended.

    Attributes:
      start: bins `[N, 2]` (row, column), row by row.
      score: of the start points, `[N]`.
      position: where they ended, in bins `[N, 2]`.
      density: sum of the scores around each before its last move, weighted by the kernel, `[N]`.
    """

    start: np.ndarray
    score: np.ndarray
    position: np.ndarray
    density: np.ndarray


@dataclasses.dataclass(frozen=True)
class Peaks:
    """Modes of a map of scores.

    Attributes:
      rows, cols: bins, `[K]`.
      score: the highest of the pixels that moved there, `[K]`.
      density: sum of the scores around it, weighted by the kernel, `[K]`.
    """

    rows: np.ndarray
    cols: np.ndarray
    score: np.ndarray
    density: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)


def find_peaks(scores: scipy.sparse.sparray, threshold: float, rule: str = "average") -> Peaks:
    """Modes of the pixels above a threshold.

    Pixels move uphill to the mode that they belong to. The work grows with the stored pixels and the start
    points, not with the area of the map.

    Args:
      scores: in 0..1, upper triangle `[n, n]`.
      threshold: pixels above it are start points; with 1, those of score 1.
      rule: "average": `merge_by_density`; "original": `merge_as_original`, in the order of its peaks.
    """
    points = shift(scores, threshold)
    if rule != "original":
        return merge_by_density(points, threshold)
    bins = np.trunc(points.position).astype(np.int64)
    # The original divides densities by the number of points.
    alive, member = merge_as_original(bins, points.density / max(len(points.density), 1))
    kept = np.flatnonzero(alive)
    rows, cols = bins[kept].T
    highest = np.zeros(len(alive))
    np.maximum.at(highest, member, points.score)
    return Peaks(rows, cols, highest[kept], points.density[kept])


def shift(scores: scipy.sparse.sparray, threshold: float) -> ShiftedPoints:
    """Moves each pixel above the threshold to the mean of its neighborhood until it hardly moves.

    The original (`ops.mean_shift_merge`) to rounding. Arguments as of `find_peaks`.
    """
    scores = scipy.sparse.csr_array(scores)
    scores.sort_indices()
    pixels = scores.tocoo()
    chosen = pixels.data >= threshold if threshold == 1 else pixels.data > threshold
    start = np.stack([pixels.row[chosen], pixels.col[chosen]], axis=1).astype(np.int64)
    position, density = start.astype(np.float64), np.zeros(len(start))
    neighborhoods = Neighborhoods(scores, _SIDE)
    for first in range(0, len(start), _AT_ONCE):
        part = slice(first, first + _AT_ONCE)
        position[part], density[part] = _shift_points(neighborhoods, position[part])
    return ShiftedPoints(start, pixels.data[chosen].astype(np.float64), position, density)


def merge_by_density(points: ShiftedPoints, threshold: float) -> Peaks:
    """One peak for points that ended nearer than `APART`, directly or through others: the densest of them.

    Distances are taken before rounding, and peaks are rounded to the nearest bin. A peak needs at least the
    density of one pixel with the score `threshold`, so that a lone weak loop counts beside strong ones.

    Returns:
      Peaks in the order of their bins.
    """
    pairs = scipy.spatial.cKDTree(points.position).query_pairs(APART, output_type="ndarray")
    links = scipy.sparse.coo_array((np.ones(len(pairs), bool), pairs.T), shape=[len(points.density)] * 2)
    count, cluster = scipy.sparse.csgraph.connected_components(links, directed=False)
    order = np.lexsort((-points.density, cluster))
    densest = order[np.searchsorted(cluster[order], np.arange(count))]
    score = np.zeros(count)
    np.maximum.at(score, cluster, points.score)
    density = points.density[densest]
    rows, cols = np.floor(points.position[densest] + 0.5).astype(np.int64).T
    order = np.lexsort((cols, rows))
    order = order[density[order] >= threshold * (1 - 1e-9)]
    return Peaks(rows[order], cols[order], score[order], density[order])


def merge_as_original(positions: np.ndarray, density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The original's two merges (`ops.mean_shift_merge`), in the order of the points.

    Kept with its defects: positions are truncated before distances are taken, and the least dense point
    is dropped, however dense it is, unless it is the last.

    Args:
      positions: where the points ended, truncated to bins `[N, 2]`.
      density: of the points, `[N]`.

    Returns:
      Which points are peaks, `[N]` bool, and the number of the point that represents each, `[N]`.
    """
    near = _NearbyPoints(positions)
    return unite_clusters(near, density, *drop_and_compete(near, density))


def drop_and_compete(near: "_NearbyPoints", density: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First merge: of two points nearer than `APART` the denser survives; results as `merge_as_original`.

    Points with a density in the lowest `WEAKEST` of the range are dropped.
    """
    alive, member = np.ones(len(density), bool), np.arange(len(density))
    spread = np.ptp(density) if len(density) else 0.0
    weak = (density - density.min()) / spread < WEAKEST if spread > 0 else ~alive
    for i in range(len(density) - 1):
        if not alive[i]:
            continue
        if weak[i]:
            alive[i] = False
            continue
        rivals = near.after(i)
        rivals = rivals[alive[rivals]]
        winners = np.flatnonzero(density[rivals] >= density[i])
        losers = rivals
        if winners.size:
            losers = rivals[: winners[0]]
            alive[i], member[i] = False, rivals[winners[0]]
        alive[losers], member[losers] = False, i
    while (ends := member[member]).tolist() != member.tolist():
        member = ends
    return alive, member


def unite_clusters(
    near: "_NearbyPoints", density: np.ndarray, alive: np.ndarray, member: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Second merge: clusters with points nearer than `APART`, in the order of these points.

    Arguments after the density, and results, as `drop_and_compete` returns them.
    """
    alive, member = alive.copy(), member.copy()
    for i in range(len(density) - 1):
        own, others = member[i], near.after(i)
        if (member[others] == own).all():
            continue
        for j in others:
            other = member[j]
            if other == own:
                continue
            loser, winner = (own, other) if density[own] <= density[other] else (other, own)
            alive[loser] = False
            member[member == loser] = winner
    return alive, member


class _NearbyPoints:
    """For each point of whole bins `[N, 2]` the later ones nearer than `APART`: those of its 3 x 3 bins."""

    def __init__(self, positions: np.ndarray):
        self._tree = scipy.spatial.cKDTree(positions)

    def after(self, i: int) -> np.ndarray:
        """Numbers of the points, in their order."""
        near = np.array(self._tree.query_ball_point(self._tree.data[i], 1, p=np.inf, return_sorted=True))
        return near[near > i]


def _shift_points(neighborhoods: Neighborhoods, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points `[N, 2]` end, and their densities `[N]`."""
    position, density = start.copy(), np.zeros(len(start))
    active, first = np.arange(len(start)), _first_bins(start)
    scores = neighborhoods.cut(*first.T)
    for _ in range(_MOST_MOVES):
        moved, density[active] = _moved(scores, first, position[active])
        far = ((moved - position[active]) ** 2).sum(axis=1) >= LEAST_MOVE
        position[active] = moved
        active, scores, before, moved = active[far], scores[far], first[far], moved[far]
        if not active.size:
            break
        first = _first_bins(moved)
        changed = np.flatnonzero((first != before).any(axis=1))
        scores[changed] = neighborhoods.cut(*first[changed].T)
    return position, density


def _first_bins(position: np.ndarray) -> np.ndarray:
    return np.trunc(position - REACH).astype(np.int64)


def _moved(scores: np.ndarray, first: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of neighborhoods.

    Args:
      scores: around the points, `[N, _SIDE, _SIDE]`.
      first: the first bins of these, `[N, 2]`.
      position: of the points, in bins `[N, 2]`.

    Returns:
      The mean position of each neighborhood, `[N, 2]`, and its sum of scores weighted by the kernel, `[N]`.
    """
    # Just below a whole number, rounding may add a bin at the end, as in the original.
    end = np.trunc(position + REACH + 1).astype(np.int64)
    bins = first[:, :, None] + np.arange(_SIDE)  # [N, 2, _SIDE]
    weights = np.exp(-PRECISION * (bins - position[:, :, None]) ** 2) * (bins < end[:, :, None])
    by_row = np.einsum("nij,nj->ni", scores, weights[:, 1]) * weights[:, 0]
    by_col = np.einsum("nij,ni->nj", scores, weights[:, 0]) * weights[:, 1]
    mass = by_row.sum(axis=1)
    sums = np.stack([(by_row * bins[:, 0]).sum(axis=1), (by_col * bins[:, 1]).sum(axis=1)], axis=1)
    return sums / mass[:, None], mass
