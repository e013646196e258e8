"""Loops at known places, added to a real or simulated contact map."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import scipy.sparse

from hicfm_jax.contacts.annotations.loop_list import loop_table
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.errors import InputError

WIDTH = (0.6, 1.6)
"""Standard deviation of a loop in bins, uniform between these."""

REACH = 4  # bins to each side in which a loop has contacts
NEAREST = 6  # bins between the anchors, so that a loop keeps off the diagonal
APART = 8  # bins between two loops, in rows or in columns


class PlantedLoop(NamedTuple):
    """A loop: its chromosome, central bins (row < column), and enrichment over the expected contacts."""

    chrom: str
    row: int
    column: int
    enrichment: float


def plant_loops(
    contact_map: ContactMap,
    per_megabase: float = 0.5,
    *,
    enrichment: tuple[float, float] = (2.0, 8.0),
    distance: tuple[float, float] = (150e3, 5e6),
    seed: int = 0,
) -> tuple[ContactMap, list[PlantedLoop]]:
    """Adds Poisson contacts at random places, so that every loop and its strength are known.

    A loop of enrichment e adds (e - 1) times the contacts expected from decay and biases at its center,
    and falls off as a Gaussian; anchors lie on bins with contacts. Loops that the map has itself stay.

    Args:
      contact_map: raw counts.
      per_megabase: loops per Mb of chromosome.
      enrichment: least and largest, log-uniform between them.
      distance: between the anchors in bp, log-uniform.
      seed: of places, strengths and counts.

    Returns:
      The map with the loops, cis contacts only, and the loops of all chromosomes.

    Raises:
      InputError: a value out of range.
    """
    low, high = enrichment
    if not (per_megabase > 0 and 1 < low <= high and 0 < distance[0] <= distance[1] and seed >= 0):
        raise InputError(
            f"per_megabase={per_megabase}, enrichment={enrichment}, distance={distance} and seed={seed} do "
            "not describe loops: give numbers above 0, an enrichment above 1, and ranges in order."
        )
    matrices, loops = {}, []
    for number, chrom in enumerate(contact_map.chromsizes):
        rng = np.random.default_rng([seed, number])
        matrix = contact_map.matrix(chrom)
        added, placed = _plant(matrix, rng, contact_map.resolution, per_megabase, enrichment, distance)
        matrices[chrom, chrom] = (matrix + added).tocsr()
        loops += [PlantedLoop(chrom, *each) for each in placed]
    name = f"{contact_map.name} with {len(loops)} planted loops"
    return ContactMap(contact_map.chromsizes, contact_map.resolution, matrices, name), loops


def _plant(matrix, rng, resolution, per_megabase, enrichment, distance):
    """Contacts to add, `[n, n]` upper triangle, and (row, column, enrichment) of the loops."""
    size = matrix.shape[0]
    expected = find_expected(matrix)
    number = rng.poisson(per_megabase * size * resolution / 1e6)
    nearest = max(NEAREST, distance[0] / resolution)
    farthest = min(size - 2 * REACH - 2, distance[1] / resolution)
    placed: list[tuple[int, int, float]] = []
    rows, columns, counts = [], [], []
    if farthest <= nearest:
        return scipy.sparse.csr_array(matrix.shape, dtype=np.int64), placed
    for _ in range(20 * number):  # most tries that fail meet an empty bin or another loop
        if len(placed) == number:
            break
        apart = round(np.exp(rng.uniform(np.log(nearest), np.log(farthest))))
        row = int(rng.integers(REACH, size - apart - REACH))
        column = row + apart
        if min(expected.bias[row], expected.bias[column]) <= 0.3:
            continue
        if any(abs(row - r) < APART and abs(column - c) < APART for r, c, _ in placed):
            continue
        strength = float(np.exp(rng.uniform(*np.log(enrichment))))
        placed.append((row, column, strength))
        offset = np.arange(-REACH, REACH + 1)
        width = rng.uniform(*WIDTH)
        at_row, at_column = (
            np.exp(-0.5 * ((offset - rng.uniform(-0.5, 0.5)) / width) ** 2) for _ in range(2)
        )
        near_row, near_column = row + offset, column + offset
        decay = expected.decay[np.abs(near_column[None] - near_row[:, None])]
        background = decay * np.outer(expected.bias[near_row], expected.bias[near_column])
        drawn = rng.poisson((strength - 1) * background * np.outer(at_row, at_column))
        at = np.nonzero(drawn * (near_row[:, None] < near_column[None]))
        rows.append(near_row[at[0]])
        columns.append(near_column[at[1]])
        counts.append(drawn[at])
    if not placed:
        return scipy.sparse.csr_array(matrix.shape, dtype=np.int64), placed
    where = np.concatenate(rows), np.concatenate(columns)
    return scipy.sparse.coo_array((np.concatenate(counts), where), matrix.shape).tocsr(), placed


def planted_table(loops: Sequence[PlantedLoop], contact_map: ContactMap) -> pd.DataFrame:
    """The loops as `annotations.loop_list` has them, with a column `enrichment`."""
    tables = []
    for chrom in contact_map.chromsizes:
        own = [loop for loop in loops if loop.chrom == chrom]
        rows = np.array([loop.row for loop in own], np.int64)
        columns = np.array([loop.column for loop in own], np.int64)
        enrichment = np.array([loop.enrichment for loop in own]).round(3)
        tables.append(loop_table(contact_map, chrom, rows, columns, enrichment=enrichment))
    return pd.concat(tables, ignore_index=True)
