"""Enhancement of maps of any species at several depths, beside filters tuned on the same map."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.downsampling import rest, thin
from hicfm_jax.evaluate.baselines import RESCALED
from hicfm_jax.evaluate.compare import compare
from hicfm_jax.evaluate.comparison import POOLED, Record
from hicfm_jax.infer import enhance
from hicfm_jax.infer.network import Network

SCORES = ("r", "log_r", "mse")


class Row(NamedTuple):
    """Scores of the network, the best filter and the input, in the order of `SCORES`."""

    name: str
    share: float
    network: tuple[float, ...]
    filter: tuple[float, ...]
    input: tuple[float, ...]


def measure(
    name: str,
    deep: ContactMap,
    network: Network,
    fractions: Sequence[float],
    judged: Sequence[str],
    halves: bool = False,
    keep_reads: bool = False,
) -> list[Row]:
    """Thins a map, enhances it and scores it.

    Args:
      name: of the map, for the rows.
      deep: raw counts.
      network: of task resolution.
      fractions: of the contacts that the inputs keep; with `halves`, of half of the contacts.
      judged: chromosomes; the filters are tuned on the others.
      halves: the reference is the other half of the contacts, and shares none with the input. Otherwise it
        is the whole map.
      keep_reads: as of `enhance`, where the reference has more reads than the input.
    """
    rows, source, reference = [], deep, deep
    if halves:
        source = thin(deep, 0.5, seed=1)
        reference = rest(deep, source)
    for fraction in fractions:
        shallow = source if fraction == 1 else thin(source, fraction, seed=2)
        target = reference.total_count
        kept = keep_reads and shallow.total_count < target
        found = enhance(shallow, network, target_contacts=target, keep_reads=kept)
        maps = {"input": shallow, "network": found}
        records = compare(maps, reference, judged, baselines_of="input").records
        pooled = [record for record in records if record.chromosome == POOLED]
        filters = [_scores(each) for each in pooled if each.baseline and each.map != RESCALED]
        by_name = {each.map: _scores(each) for each in pooled}
        best = (*np.max([each[:2] for each in filters], axis=0).tolist(), min(each[2] for each in filters))
        share = fraction / 2 if halves else fraction
        rows.append(Row(name, share, by_name["network"], best, by_name[RESCALED]))
    return rows


def longest(contact_map: ContactMap, number: int) -> list[str]:
    """The longest chromosomes of a map."""
    return sorted(contact_map.chromsizes, key=contact_map.chromsizes.get, reverse=True)[:number]


def open_map(text: str) -> tuple[str, ContactMap]:
    """Name and map of `NAME=URI@BP`."""
    name, _, place = text.partition("=")
    uri, _, width = place.rpartition("@")
    return name, open_contacts(uri, int(width))


def table(rows: Sequence[Row]) -> str:
    """Markdown; the best filter is that of each score."""
    lines = ["| map | share | network | best filter | input |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        cells = [" / ".join(f"{value:.3f}" for value in each) for each in row[2:]]
        lines.append(f"| {row.name} | 1/{1 / row.share:g} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _scores(record: Record) -> tuple[float, ...]:
    return tuple(record.scores[name].value for name in SCORES)
