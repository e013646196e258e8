"""Where the windows lie that a chromosome is read in.

How a map is to be enhanced: every choice made and checked before the work begins.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.stitching import MERGES
from hicfm_jax.infer.tasks.target_depth import cutoff_of, depth_warnings, seen_contacts, wanted_contacts

ORIGINAL_STRIDE = 20  # bins, of the published resolution maps
ORIGINAL_BOUND = 0


def covering_starts(size: int, side: int, stride: int) -> np.ndarray:
    """First bins of windows along one axis: 0, stride, ..., and one that ends with the chromosome.

    Args:
      size: bins of the chromosome; if `side` or less there is one window, which overhangs its end.
      side, stride: bins.
    """
    last = max(size - side, 0)
    return np.append(np.arange(0, last, stride), last)


def covering_positions(
    size: int, window: tuple[int, int], stride: int, max_bins: int | None = None
) -> np.ndarray:
    """Windows that hold every pixel of the upper triangle, `[N, 2]` (first row, first column).

    The lower triangle is the mirror image, so each row of windows begins at the diagonal.

    Args:
      size: bins of the chromosome.
      window: (H, W) in bins.
      stride: bins from one window to the next along both axes, at most the shorter side.
      max_bins: pixels farther from the diagonal are not needed; None: all are.

    Returns:
      Sorted as `in_order` does.
    """
    rows, cols = (covering_starts(size, side, stride) for side in window)
    reach = size if max_bins is None else max_bins
    # Where the sides differ, no window of this row may begin right at the diagonal: take the one before.
    first = np.searchsorted(cols, rows, side="right") - 1
    last = np.searchsorted(cols, rows + window[0] - 1 + reach, side="right")
    found = [
        np.stack(np.broadcast_arrays(row, cols[begin:end]), axis=1)
        for row, begin, end in zip(rows, first, last, strict=True)
    ]
    return in_order(np.concatenate(found))


def original_positions(size: int, window: tuple[int, int], stride: int, bound: int) -> np.ndarray:
    """Windows of the original's inference, `[N, 2]`, with its duplicates, which weigh in the mean.

    Along each axis: 0, stride, ... below n - w, then n - w, then n - w - stride. A pair is kept if its
    starts differ by at most `bound`, then set to 0 where negative; the row's start at once, so that
    later columns of its row are compared with 0. Both triangles are scanned.

    Args:
      size: bins of the chromosome; one shorter than the window counts as long as it.
      window: (H, W) in bins.
      stride, bound: bins.

    Returns:
      Sorted as `in_order` does, which the original does not; its means do not depend on the order.
    """

    def starts(side):
        last = max(size, side) - side
        return [*range(0, last, stride), last, last - stride]

    found, cols = [], starts(window[1])
    for row in starts(window[0]):
        for col in cols:
            if abs(row - col) <= bound:
                row = max(row, 0)
                found.append((row, max(col, 0)))
    return in_order(np.array(found, np.int64).reshape(-1, 2))


def in_order(positions: np.ndarray) -> np.ndarray:
    """Sorts by the first row of the upper triangle that a window or its mirror image touches.

    What lies above the first row of the next window is then final.
    """
    rows, cols = positions.T
    return positions[np.lexsort((cols, rows, positions.min(axis=1, initial=1 << 62)))]


@dataclasses.dataclass(frozen=True)
class Plan:
    """Choices for one map and one network.

    Attributes:
      window: (H, W) in bins.
      chromosomes: to enhance, as the map calls them.
      merge: one of `merge.MERGES`.
      stride: bins from one window to the next.
      bound: of merge `original`, see `positions.original_positions`.
      max_bins: farthest pixel from the diagonal that is wanted, in bins; None: all.
      target_contacts: of the whole deep map, cis and trans; None: as the network says.
      total_count: contacts that the network is told.
      cutoff: of its images.
      enlarge: how much deeper the map becomes, for a network that is told.
      warnings: sentences for the user.
    """

    window: tuple[int, int]
    chromosomes: tuple[str, ...]
    merge: str
    stride: int
    bound: int
    max_bins: int | None
    target_contacts: float | None
    total_count: float
    cutoff: float
    enlarge: float | None
    warnings: tuple[str, ...]

    def positions(self, size: int) -> np.ndarray:
        """Windows of a chromosome of `size` bins, `[N, 2]`."""
        if self.merge == "original":
            return original_positions(size, self.window, self.stride, self.bound)
        return covering_positions(size, self.window, self.stride, self.max_bins)


def make_plan(
    contact_map: ContactMap,
    network: Network,
    *,
    chromosomes: Sequence[str] | None = None,
    target_contacts: float | None = None,
    merge: str = "average",
    stride: int | None = None,
    bound: int | None = None,
    max_distance: int | None = None,
) -> Plan:
    """Fills in what is left open; arguments as of `enhance`.

    Raises:
      InputError: see `enhance`.
    """
    if merge not in MERGES:
        raise InputError(f"There is no merge {merge!r}: take one of {', '.join(MERGES)}.")
    original, window = merge == "original", network.window
    if bound is not None and not original:
        raise InputError(f"bound={bound} is for merge=original: leave it out, or give max_distance in bp.")
    if stride is None:
        stride = min(ORIGINAL_STRIDE, *window) if original else min(window) // 2
    if not 1 <= stride <= min(window):
        raise InputError(
            f"stride is {stride} but must lie between 1 and the window's shorter side, {min(window)} bins."
        )
    bound = ORIGINAL_BOUND if bound is None else bound
    if bound < 0:
        raise InputError(f"bound is {bound} but counts bins: give 0 or more.")
    max_bins = None
    if max_distance is not None:
        max_bins = int(max_distance // contact_map.resolution)
        if max_bins < 1:
            raise InputError(
                f"max_distance is {max_distance} bp but must be at least one bin, "
                f"{contact_map.resolution} bp."
            )
    if not contact_map.total_count:
        raise InputError(f"{contact_map.name} holds no contacts: give the map of an experiment.")
    target = wanted_contacts(network, target_contacts)
    total = seen_contacts(contact_map, network)
    return Plan(
        window=window,
        chromosomes=_chosen(contact_map, chromosomes),
        merge=merge,
        stride=stride,
        bound=bound,
        max_bins=max_bins,
        target_contacts=target,
        total_count=total,
        cutoff=cutoff_of(contact_map, network, total),
        enlarge=target / contact_map.total_count if network.takes_depth else None,
        warnings=tuple(depth_warnings(contact_map, network, target)),
    )


def _chosen(contact_map: ContactMap, names: Sequence[str] | None) -> tuple[str, ...]:
    if not names:
        return tuple(contact_map.chromsizes)
    chosen = {contact_map.find_chromosome(name) for name in names}
    return tuple(chrom for chrom in contact_map.chromsizes if chrom in chosen)
