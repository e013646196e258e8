"""Depth of the shallow map, and of the deep map to predict."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.scan_plan import ScanPlan, refuse_unless

ORIGINAL_CUTOFF = 100.0  # largest count of an image, for resolution and single cells
GAIN = 16  # contacts of the enhanced map for each of the input, where a network takes any number
_TOLERANCE = 1.1  # a downsampled map has a little more or less than the fraction requested


def settle_depth(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with the depths and the cutoff; the option `target_contacts` sets the target.

    With the option `keep_reads`, the network predicts the reads that the input lacks of it.

    Published weights get the depth and the cutoff of the original's inference for resolution: the cis
    contacts of chromosomes of at least half a window, and 100, but no cutoff if these are more than one
    contact per bin and bp.

    Raises:
      InputError: see `target_contacts`; `keep_reads` with a network that does not predict other reads than
        the input's, with another merge than "average", or with a target not above the input's contacts.
    """
    target = target_contacts(network, contact_map, plan.options.get("target_contacts"))
    predicted = target
    if plan.options.get("keep_reads"):
        predicted = _reads_to_add(target, contact_map, network, plan.merge)
    plan = dataclasses.replace(
        plan,
        target_contacts=target,
        depth_ratio=predicted / contact_map.total_count if network.takes_depth else None,
        warnings=(*plan.warnings, *depth_warnings(contact_map, network, target, plan.anyway)),
    )
    if not network.published:
        return plan
    total, bins = original_depth(contact_map, network)
    dense = total / bins / contact_map.resolution > 1
    return dataclasses.replace(plan, total_count=total, cutoff=0.0 if dense else ORIGINAL_CUTOFF)


def without_short(plan: ScanPlan, contact_map: ContactMap, least: int | None = None) -> ScanPlan:
    """With merge "original", the plan without chromosomes of fewer than `least` bins, and a warning.

    The default of `least` is half a window's rows. Merge "average" scans all chromosomes.

    Raises:
      InputError: no chromosome is left.
    """
    if plan.merge != "original":
        return plan
    least = plan.window[0] // 2 if least is None else least
    short = [chrom for chrom in plan.chromosomes if contact_map.n_bins(chrom) < least]
    if len(short) == len(plan.chromosomes):
        raise InputError(
            f"{contact_map.name} has no chromosome of at least {least} bins, and merge=original leaves out "
            "shorter ones: choose narrower bins, or leave merge out."
        )
    if not short:
        return plan
    warning = f"merge=original leaves out chromosomes of fewer than {least} bins: {', '.join(short)}."
    chosen = tuple(chrom for chrom in plan.chromosomes if chrom not in short)
    return dataclasses.replace(plan, chromosomes=chosen, warnings=(*plan.warnings, warning))


def original_depth(contact_map: ContactMap, network: Network) -> tuple[float, int]:
    """Cis contacts and bins of the chromosomes of at least half a window, as the original counts a map.

    Of all chromosomes, with their trans contacts, where none is that long.
    """
    half = network.window[0] // 2
    long = [chrom for chrom in contact_map.chromsizes if contact_map.n_bins(chrom) >= half]
    total = sum(float(contact_map.matrix(chrom).data.sum(dtype=np.float64)) for chrom in long)
    bins = sum(contact_map.n_bins(chrom) for chrom in long or contact_map.chromsizes)
    return total or contact_map.total_count, bins


def as_deep_as_trained(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with the depth of the deepest map trained on as the target, for a network that takes it."""
    if not network.takes_depth:
        return plan
    deepest = max(network.total_counts.values(), default=contact_map.total_count)
    return dataclasses.replace(plan, depth_ratio=deepest / contact_map.total_count)


def target_contacts(network: Network, contact_map: ContactMap, given: float | None) -> float | None:
    """Contacts of the deep map, cis and trans: those given, else those the network was trained for.

    If none are given, `GAIN` times those of the input for a network that takes any number, and None for one
    that takes none: its maps are not scaled.

    Raises:
      InputError: not a positive number, or a network that takes the depth and was trained on several depths
        or unknown ones.
    """
    if given is not None:
        if not (math.isfinite(given) and given > 0):
            raise InputError(f"target_contacts is {given} but must be a number of contacts above 0.")
        return float(given)
    if not network.takes_depth:
        return None
    if network.any_depth:
        return GAIN * contact_map.total_count
    totals = set(network.total_counts.values())
    if len(totals) == 1:
        return float(totals.pop())
    listed = ", ".join(f"{name} ({total:,.0f})" for name, total in network.total_counts.items())
    known = f"was trained on maps of several depths, {listed}" if listed else "does not say its maps' depth"
    raise InputError(f"{network.checkpoint or 'The network'} {known}: choose with target_contacts.")


def _reads_to_add(target: float | None, contact_map: ContactMap, network: Network, merge: str) -> float:
    """Contacts that the input lacks of the target."""
    if merge != "average":
        raise InputError(f"keep_reads needs every pixel: leave out merge={merge}.")
    if not network.any_depth:
        raise InputError(
            f"{network.checkpoint or 'The network'} was not trained to predict reads that the input lacks, "
            "as keep_reads needs: leave it out, or take any_map or another network trained with data.split."
        )
    if target <= contact_map.total_count:
        raise InputError(
            f"{contact_map.name} has {contact_map.total_count:,.0f} contacts, not fewer than the target of "
            f"{target:,.0f}: keep_reads needs a deeper target."
        )
    return target - contact_map.total_count


def depth_warnings(
    contact_map: ContactMap, network: Network, target: float | None, anyway: bool = False
) -> Iterator[str]:
    """Warnings about depths outside the range that makes sense for the network.

    Raises:
      InputError: deeper than the inputs in training, where the result may be worse than the input; with
        `anyway` that is a warning too.
    """
    if target is None:
        return
    total = contact_map.total_count
    if total > target:
        yield (
            f"{contact_map.name} has {total:,.0f} contacts, more than the target of {target:,.0f}: the "
            "result is a smoother map, not a deeper one."
        )
    if network.any_depth:
        per_bin = [
            network.total_counts[assay] / facts["bins"]
            for assay, facts in network.maps.items()
            if facts.get("bins") and assay in network.total_counts
        ]
        own = total / sum(map(contact_map.n_bins, contact_map.chromsizes))
        if per_bin and not network.fractions[0] * min(per_bin) <= own <= max(per_bin):
            yield (
                f"{contact_map.name} has {own:,.3g} contacts per bin, and the network was trained on "
                f"{network.fractions[0] * min(per_bin):,.2g} to {max(per_bin):,.3g}: check the result."
            )
        return
    if network.takes_depth and network.fractions:
        low, high = network.fractions
        if high * _TOLERANCE <= total / target <= 1:
            yield refuse_unless(
                anyway,
                f"{contact_map.name} has {total / target:.2%} of the target of {target:,.0f} contacts, and "
                f"the network was trained on {low:.2%} to {high:.2%}: the result may be worse than the input",
                f"choose target_contacts={total / high:.3g}",
            )
            return
        if not low / _TOLERANCE < total / target < high * _TOLERANCE:
            yield (
                f"{contact_map.name} has {total / target:.2%} of the target of {target:,.0f} contacts, and "
                f"the network was trained on inputs with {low:.2%} to {high:.2%}: check the result."
            )
