"""How a map is to be enhanced: every choice made and checked before the work begins."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.infer.depth import cutoff_of, depth_warnings, seen_contacts, wanted_contacts
from hicfm_jax.infer.merge import MERGES
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.positions import (
    ORIGINAL_BOUND,
    ORIGINAL_STRIDE,
    covering_positions,
    original_positions,
)


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
