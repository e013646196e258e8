"""How many contacts the shallow map has, and how many the deep one is to have."""

import math
from collections.abc import Iterator

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network

ORIGINAL_CUTOFF = 100.0  # largest count of an image in the original's inference for resolution
_TOLERANCE = 1.1  # a thinned map has a little more or less than was asked for


def wanted_contacts(network: Network, target_contacts: float | None) -> float | None:
    """Contacts of the deep map, cis and trans: those given, else those the network was trained for.

    None for a network that is not told the depth, if none are given: its maps stay as they are.

    Raises:
      InputError: no positive number, or a network that has to be told and was trained on several depths
        or none that is known.
    """
    if target_contacts is not None:
        if not (math.isfinite(target_contacts) and target_contacts > 0):
            raise InputError(
                f"target_contacts is {target_contacts} but must be a number of contacts above 0."
            )
        return float(target_contacts)
    if not network.takes_depth:
        return None
    totals = set(network.total_counts.values())
    if len(totals) == 1:
        return float(totals.pop())
    listed = ", ".join(f"{name} ({total:,.0f})" for name, total in network.total_counts.items())
    known = (
        f"was trained on maps of several depths, {listed}" if listed else "does not say how deep its maps are"
    )
    raise InputError(f"{network.checkpoint or 'The network'} {known}: choose with target_contacts.")


def seen_contacts(contact_map: ContactMap, network: Network) -> float:
    """Contacts that the network is told of the shallow map.

    All, cis and trans, as in training; for published weights, as the original counts them, the cis
    contacts of chromosomes that are at least half a window long.
    """
    if not network.published:
        return contact_map.total_count
    counted = sum(
        contact_map.matrix(chrom).data.sum(dtype=np.float64) for chrom in _long(contact_map, network)
    )
    return float(counted) or contact_map.total_count


def cutoff_of(contact_map: ContactMap, network: Network, total: float) -> float:
    """Largest count of the images, 0 for none.

    For published weights the original's rule for resolution: 100, but none if the map has more than one
    contact per bin and bp.

    Args:
      contact_map: the input.
      network: what it is shown to.
      total: what `seen_contacts` gave.
    """
    if not network.published:
        return network.cutoff
    bins = sum(contact_map.n_bins(chrom) for chrom in _long(contact_map, network) or contact_map.chromsizes)
    return 0.0 if total / bins / contact_map.resolution > 1 else ORIGINAL_CUTOFF


def depth_warnings(contact_map: ContactMap, network: Network, target: float | None) -> Iterator[str]:
    """What is odd about the depths."""
    if target is None:
        return
    share = contact_map.total_count / target
    if share > 1:
        yield (
            f"{contact_map.name} holds {contact_map.total_count:,.0f} contacts, more than the "
            f"{target:,.0f} that are wanted: the result is a smoother map, not a deeper one."
        )
    if network.takes_depth and network.shares:
        low, high = network.shares
        if not low / _TOLERANCE < share < high * _TOLERANCE:
            yield (
                f"{contact_map.name} holds {share:.2g} of the {target:,.0f} contacts that are wanted, and "
                f"the network was trained on inputs with {low:.2g} to {high:.2g}: check what it makes of it."
            )


def _long(contact_map: ContactMap, network: Network) -> list[str]:
    half = min(network.window) / 2
    return [chrom for chrom in contact_map.chromsizes if contact_map.n_bins(chrom) >= half]
