"""Loop callers to compare with: cooltools' dots, and foci over their ring."""

import contextlib
import logging
import types
import warnings
from collections.abc import Callable, Iterator, Sequence

import pandas as pd

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.loop_list import PLACES, loop_table
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.contacts.formats.cool import balanced_cooler
from hicfm_jax.evaluate.scores.diagonals import coarsen
from hicfm_jax.evaluate.scores.foci import REAL_FROM, call_foci, focus_enrichment

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
