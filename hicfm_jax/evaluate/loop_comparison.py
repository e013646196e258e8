"""Lists of loops against another list, beside those of loop callers."""

import contextlib
import logging
import os
import pathlib
import re
import types
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np
import pandas as pd
import scipy.sparse
import scipy.sparse.csgraph
import scipy.spatial

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.annotations.loop_list import PLACES, check_ends, loop_table, read_bedpe, write_bedpe
from hicfm_jax.contacts.contact_map import bare_name
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.contacts.formats.cool import balanced_cooler
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.scores.diagonals import coarsen
from hicfm_jax.evaluate.scores.foci import REAL_FROM, call_foci, focus_enrichment
from hicfm_jax.storage import atomic_file

WITHIN = 2  # bins; anchors of matching loops are at most this far apart
POOLED = "pooled"

MOST_BINS = 1000  # between the anchors of a dot, or 10 Mb where that is more
FALSE_DISCOVERIES = 0.1
DENSE_BINS = 5000  # some ten arrays of 200 MB
_NEAR = 10_000_000  # bp
_OUT_OF_REACH = 10**9  # contacts
_KERNELS = ("donut", "vertical", "horizontal", "lowleft")


def dots(contact_map: ContactMap, chromosomes: Sequence[str]) -> pd.DataFrame:
    """Loops of `cooltools.dots`, HiCCUPS' algorithm (Rao et al. 2014), with its defaults.

    Where cooltools recommends no kernels for the bin width, those of the nearest width are taken. Anchors
    are up to `MOST_BINS` bins apart.

    Returns:
      The columns `PLACES`, and `score`: observed over expected of the donut.
    """
    from cooltools import expected_cis
    from cooltools.api import dotfinder

    width = contact_map.resolution
    outer, inner = next(sizes for least, sizes in _KERNEL_SIZES if width >= least)
    kernels = {name: dotfinder.get_kernel(outer, inner, name) for name in _KERNELS}
    with balanced_cooler(_selected(contact_map, chromosomes)) as clr, _adapted(dotfinder):
        found = dotfinder.dots(
            clr,
            expected_cis(clr, nproc=1),
            kernels=kernels,
            max_loci_separation=max(_NEAR, MOST_BINS * width),
            lambda_bin_fdr=FALSE_DISCOVERIES,
            clustering_radius=max(20_000, 2 * width),
            nproc=1,
        )
    found["score"] = found["count"] / found["la_exp.donut.value"]
    return found[[*PLACES, "score"]].reset_index(drop=True)


_KERNEL_SIZES = ((18_000, (3, 1)), (8_000, (5, 2)), (0, (7, 4)))
"""By least bin width in bp: half the outer and inner side, as `cooltools.dotfinder.recommend_kernels`."""


@contextlib.contextmanager
def _adapted(dotfinder: types.ModuleType) -> Iterator[None]:
    """Makes cooltools 0.7 work with pandas 3, and quiet.

    Where no count of a histogram is significant, it expects NaN from `idxmin`, which raises in pandas 3.
    The row of a count out of reach is the threshold instead.
    """
    original, level = dotfinder.determine_thresholds, logging.getLogger().level

    def determine_thresholds(histograms, fdr):
        longer = {
            name: table.reindex([*table.index, _OUT_OF_REACH], fill_value=0)
            for name, table in histograms.items()
        }
        thresholds, q_values = original(longer, fdr)
        return thresholds, {name: table.iloc[:-1] for name, table in q_values.items()}

    dotfinder.determine_thresholds = determine_thresholds
    logging.getLogger().setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        dotfinder.determine_thresholds = original
        logging.getLogger().setLevel(level)


def ring_foci(contact_map: ContactMap, chromosomes: Sequence[str]) -> pd.DataFrame:
    """Loops whose 3 x 3 bins stand out from the ring around them, see `evaluate.scores.foci`.

    The whole matrix is dense: longer chromosomes are coarsened to `DENSE_BINS`, and a place is then the bin
    of the map in the middle of a coarse one.

    Returns:
      The columns `PLACES`, and `score`: the enrichment over the ring.
    """
    tables = []
    for chrom in chromosomes:
        factor = -(-contact_map.n_bins(chrom) // DENSE_BINS)
        counts = coarsen(contact_map.matrix(chrom), factor)
        foci = call_foci(focus_enrichment(counts, find_expected(counts)), REAL_FROM)
        bins = (side * factor + factor // 2 for side in (foci.rows, foci.columns))
        tables.append(loop_table(contact_map, chrom, *bins, score=foci.enrichment))
    return pd.concat(tables, ignore_index=True)


CALLERS: dict[str, Callable[[ContactMap, Sequence[str]], pd.DataFrame]] = {
    "cooltools.dots": dots,
    "ring foci": ring_foci,
}
"""Baselines by name."""


def _selected(contact_map: ContactMap, chromosomes: Sequence[str]) -> ContactMap:
    """The cis contacts of some chromosomes."""
    pairs = [(chrom, chrom) for chrom in chromosomes]
    sizes = {chrom: contact_map.chromsizes[chrom] for chrom in chromosomes}
    return ContactMap(sizes, contact_map.resolution, contact_map.matrix, pairs=lambda: pairs)


def match_loops(test: np.ndarray, reference: np.ndarray) -> int:
    """Most pairs of loops of two lists that match, each loop in one pair at most.

    The lists are bins of both anchors, `[N, 2]` and `[M, 2]`; each anchor may be `WITHIN` bins off.
    """
    if not len(test) or not len(reference):
        return 0
    trees = [scipy.spatial.cKDTree(np.sort(loops, axis=1)) for loops in (test, reference)]
    near = trees[0].sparse_distance_matrix(trees[1], WITHIN + 0.5, p=np.inf, output_type="coo_matrix")
    # All of them count alike, those at the same place too, whose distance is 0.
    links = scipy.sparse.csr_array((np.ones(near.nnz, bool), (near.row, near.col)), near.shape)
    return int((scipy.sparse.csgraph.maximum_bipartite_matching(links, perm_type="column") >= 0).sum())


def score_loops(
    test: pd.DataFrame,
    reference: pd.DataFrame,
    resolution: int,
    chromosomes: Sequence[str] | None = None,
) -> pd.DataFrame:
    """Scores a list of cis loops on each chromosome, and on all together.

    Args:
      test, reference: with the columns of `loop_list.PLACES`; `Chr4`, `chr4` and `4` are one.
      resolution: bin width in bp; the middle of each anchor may be `WITHIN` bins off.
      chromosomes: to evaluate; all of the reference if not given.

    Returns:
      One row a chromosome, and one named `POOLED`: `chromosome`, `loops`, `reference`, `matched`,
      `precision` (NaN without loops), `recall` (NaN without loops of the reference), `f1`.
    """
    sides = [_bins(loops, resolution) for loops in (test, reference)]
    names = {bare_name(name): name for name in chromosomes or reference.chrom1.astype(str).unique()}
    rows = []
    for bare, name in names.items():
        own = [side.get(bare, np.zeros((0, 2), np.int64)) for side in sides]
        rows.append((name, *map(len, own), match_loops(*own)))
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
    names = (re.sub(r"[^\w.-]", "_", name) + ".bedpe" for name in made)
    paths = [folder / "loops.csv", *(folder / name for name in names)]
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


def _bins(loops: pd.DataFrame, resolution: int) -> dict[str, np.ndarray]:
    """Bare chromosome name -> bins of the middles of both anchors, `[N, 2]`; cis loops only."""
    middles = [(loops[f"start{side}"] + loops[f"end{side}"]) // 2 // resolution for side in (1, 2)]
    bins = np.stack(middles, axis=1)
    first, second = (loops[name].astype(str).map(bare_name).to_numpy() for name in ("chrom1", "chrom2"))
    return {name: bins[(first == name) & (second == name)] for name in set(first)}
