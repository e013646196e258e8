"""Windows of pairs of different chromosomes, for the task resolution."""

import dataclasses
import itertools

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.scan_plan import ScanPlan, covering_starts, map_positions


def with_trans(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with the windows of all pairs of its chromosomes, beside those of each chromosome.

    Raises:
      InputError: a network without expected contacts, one chromosome, no contacts between them, or an option
        for one chromosome.
    """
    name, chosen = contact_map.name, set(plan.chromosomes)
    if not network.takes_depth:
        raise InputError(
            f"{network.checkpoint or 'The network'} was trained without model.residual, which contacts "
            "between chromosomes need: give one that was trained with it, or leave trans out."
        )
    if plan.merge == "original":
        raise InputError("merge=original has windows on the diagonal only: leave out merge or trans.")
    if "region" in plan.options:
        raise InputError("region is a part of one chromosome: leave out region or trans.")
    if len(chosen) < 2:
        raise InputError(
            f"trans needs two chromosomes or more, found {plan.chromosomes[0]}: leave trans out."
        )
    pairs = [pair for pair in contact_map.pairs() if pair[0] != pair[1] and chosen.issuperset(pair)]
    if not any(contact_map.matrix(*pair).nnz for pair in pairs):
        raise InputError(f"{name} has no contacts between these chromosomes: leave trans out.")
    places = {chrom: map_positions(contact_map.n_bins(chrom), plan) for chrom in plan.chromosomes}
    for pair in pairs:
        sides = zip(map(contact_map.n_bins, pair), plan.window, strict=True)
        starts = [covering_starts(size, side, plan.stride) for size, side in sides]
        places[pair] = np.array(list(itertools.product(*starts)))
    warnings = plan.warnings
    if network.maps and not any(facts.get("trans") for facts in network.maps.values()):
        warning = (
            f"{network.checkpoint} was trained on contacts within chromosomes only: compare the contacts "
        )
        warnings = (*warnings, f"{warning}between chromosomes with those of a deeper map.")
    return dataclasses.replace(plan, places=places, warnings=warnings)
