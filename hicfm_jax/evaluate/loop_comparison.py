"""Precision, recall and F1 of lists of loops against another list."""

import contextlib
import os
import pathlib
import re
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.annotations.loop_list import check_ends, read_bedpe, write_bedpe
from hicfm_jax.contacts.contact_map import bare_name
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.loop_callers import CALLERS, dots
from hicfm_jax.storage import atomic_file

WITHIN = 2  # bins; anchors of matching loops are at most this far apart
POOLED = "pooled"


def match_loops(test: np.ndarray, reference: np.ndarray, within: int = WITHIN) -> int:
    """Most pairs of loops of two lists that match, each loop in one pair at most.

    Args:
      test, reference: bins of both anchors, `[N, 2]` and `[M, 2]`.
      within: bins that each anchor may be off.
    """
    if not len(test) or not len(reference):
        return 0
    trees = [scipy.spatial.cKDTree(np.sort(loops, axis=1)) for loops in (test, reference)]
    near = trees[0].sparse_distance_matrix(trees[1], within + 0.5, p=np.inf, output_type="coo_matrix")
    # All of them count alike, those at the same place too, whose distance is 0.
    links = scipy.sparse.csr_array((np.ones(near.nnz, bool), (near.row, near.col)), near.shape)
    return int((scipy.sparse.csgraph.maximum_bipartite_matching(links, perm_type="column") >= 0).sum())


def score_loops(
    test: pd.DataFrame,
    reference: pd.DataFrame,
    resolution: int,
    chromosomes: Sequence[str] | None = None,
    within: int = WITHIN,
) -> pd.DataFrame:
    """Scores a list of cis loops on each chromosome, and on all together.

    Args:
      test, reference: with the columns of `loop_list.PLACES`; `Chr4`, `chr4` and `4` are one.
      resolution: bin width in bp, of the tolerance.
      chromosomes: to evaluate; all of the reference if not given.
      within: bins that the middle of each anchor may be off.

    Returns:
      One row a chromosome, and one named `POOLED`: `chromosome`, `loops`, `reference`, `matched`,
      `precision` (NaN without loops), `recall` (NaN without loops of the reference), `f1`.
    """
    sides = [_bins(loops, resolution) for loops in (test, reference)]
    names = {bare_name(name): name for name in chromosomes or reference.chrom1.astype(str).unique()}
    rows = []
    for bare, name in names.items():
        own = [side.get(bare, np.zeros((0, 2), np.int64)) for side in sides]
        rows.append((name, *map(len, own), match_loops(*own, within)))
    table = pd.DataFrame(rows, columns=["chromosome", "loops", "reference", "matched"])
    counts = table[["loops", "reference", "matched"]].sum()
    table.loc[len(table)] = [POOLED, *counts]
    with np.errstate(invalid="ignore"):
        table["precision"] = table.matched / table.loops
        table["recall"] = table.matched / table.reference
        table["f1"] = 2 * table.matched / (table.loops + table.reference)
    return table


def evaluate_loops(
    lists: Mapping[str, str | os.PathLike],
    reference: str | os.PathLike,
    folder: pathlib.Path,
    *,
    maps: Mapping[str, str | os.PathLike] | None = None,
    chromosomes: Sequence[str] | None = None,
    resolution: int | None = None,
) -> str:
    """Compares lists of loops with a reference, beside the loops of `CALLERS` on the same maps.

    Args:
      lists: name -> BEDPE file.
      reference: a BEDPE file, or a deep map, whose loops are then those of `cooltools.dots`.
      folder: for `loops.csv`, one line per list and chromosome, and a BEDPE file of each list made here.
      maps: name -> URI of raw counts, for the baselines.
      chromosomes: to evaluate; all of the reference if not given.
      resolution: bin width in bp; None takes that of the reference or of the first map.

    Returns:
      A table of all chromosomes together, and what was written.

    Raises:
      InputError: files, names or chromosomes that do not fit together, or a reference without loops there.
    """
    made: dict[str, pd.DataFrame] = {}
    opened = {name: open_contacts(uri, resolution) for name, uri in (maps or {}).items()}
    loops = {name: read_bedpe(path) for name, path in lists.items()}
    known = list(opened.values())
    if ".bedpe" in pathlib.Path(reference).suffixes:
        truth = read_bedpe(reference)
    else:
        deep = open_contacts(reference, resolution)
        known.append(deep)
        truth = made["reference"] = dots(deep, _chosen(deep, chromosomes))
        resolution = deep.resolution
    if resolution is None and not opened:
        raise InputError("Loops are compared in bins of the map they are from: give its resolution.")
    resolution = resolution or next(iter(opened.values())).resolution
    _check_lists(
        {reference: truth} | {lists[name]: found for name, found in loops.items()}, chromosomes, known
    )
    for name, contact_map in opened.items():
        evaluated = _chosen(contact_map, chromosomes or truth.chrom1.astype(str).unique())
        for caller, call in CALLERS.items():
            loops[f"{caller} of {name}"] = made[f"{caller} of {name}"] = call(contact_map, evaluated)
    tables = [
        score_loops(found, truth, resolution, chromosomes).assign(list=name) for name, found in loops.items()
    ]
    table = pd.concat(tables, ignore_index=True)
    table = table[["list", *table.columns.drop("list")]]
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / "loops.csv", *(folder / _file_name(name) for name in made)]
    with contextlib.ExitStack() as files:
        partial = [files.enter_context(atomic_file(path)) for path in paths]
        table.to_csv(partial[0], index=False, float_format="%.4f")
        for path, found in zip(partial[1:], made.values(), strict=True):
            write_bedpe(found, path)
    pooled = table[table.chromosome == POOLED].drop(columns="chromosome").set_index("list")
    pooled.index.name = None
    return f"{pooled.to_string(float_format='%.3f')}\nWrote {', '.join(map(str, paths))}."


def _check_lists(
    lists: Mapping[str | os.PathLike, pd.DataFrame],
    chromosomes: Sequence[str] | None,
    maps: Sequence[ContactMap],
) -> None:
    """Refuses lists of different assemblies, and a reference, the first list, without loops."""
    reference, truth = next(iter(lists.items()))
    evaluated = {bare_name(name) for name in chromosomes or truth.chrom1.astype(str)}
    if not evaluated & set(truth.chrom1.astype(str).map(bare_name)):
        where = f" on {', '.join(chromosomes)}" if chromosomes else ""
        raise InputError(f"{reference} has no loops{where}: give a reference that has.")
    there = [*truth.chrom1.astype(str), *(chrom for contact_map in maps for chrom in contact_map.chromsizes)]
    for path, found in lists.items():
        names = found.chrom1.astype(str).unique()
        if len(names) and not set(map(bare_name, there)) & set(map(bare_name, names)):
            raise InputError(
                f"{path} has loops on {', '.join(names[:5])}, and {reference} on "
                f"{', '.join(dict.fromkeys(there[:5]))}: give lists of one assembly, with the same names."
            )
        for contact_map in maps:
            check_ends(found, contact_map, path)


def _chosen(contact_map: ContactMap, chromosomes: Sequence[str] | None) -> list[str]:
    names = contact_map.find_chromosomes(chromosomes or contact_map.chromsizes)
    return [name for name in names if contact_map.matrix(name).nnz]


def _file_name(name: str) -> str:
    return re.sub(r"[^\w.-]", "_", name) + ".bedpe"


def _bins(loops: pd.DataFrame, resolution: int) -> dict[str, np.ndarray]:
    """Bare chromosome name -> bins of the middles of both anchors, `[N, 2]`; cis loops only."""
    middles = [(loops[f"start{side}"] + loops[f"end{side}"]) // 2 // resolution for side in (1, 2)]
    bins = np.stack(middles, axis=1)
    first, second = (loops[name].astype(str).map(bare_name).to_numpy() for name in ("chrom1", "chrom2"))
    return {name: bins[(first == name) & (second == name)] for name in set(first)}
