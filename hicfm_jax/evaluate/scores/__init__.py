"""The table of scores.

To add a score, write its function in a file of this folder and add a line to `SCORES`.
"""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from hicfm_jax.evaluate.scores import correlation, map_tracks, scc, whole_map
from hicfm_jax.evaluate.scores.scored_pair import ScoredPair


@dataclasses.dataclass(frozen=True)
class Score:
    """One score of a map against a reference.

    Attributes:
      name: column of `metrics.csv`.
      title: in tables.
      text: definition in one line, for readers of a report.
      function: the value, NaN where it is undefined, and its weight in a mean over chromosomes.
      pooled_by: what that weight counts, in words: pixels, bins or foci.
      unit: of the value, "" for a ratio.
      better: "higher" or "lower".
      digits: decimals in tables.
      coarsened: whether it is computed on `ScoredPair.whole`, which has wider bins on a long chromosome.
      trans: the same for the contacts between two chromosomes: a function of the counts of the map and of the
        reference, `[n, m]` float64 each. None: there is none.
    """

    name: str
    title: str
    text: str
    function: Callable[[ScoredPair], tuple[float, float]]
    pooled_by: str = "pixels"
    unit: str = ""
    better: str = "higher"
    digits: int = 3
    coarsened: bool = False
    trans: Callable[[np.ndarray, np.ndarray], tuple[float, float]] | None = None


# fmt: off
SCORES = {score.name: score for score in (
    Score("r", "r", "Pearson correlation on each diagonal, averaged by their pixels",
          lambda pair: correlation.stratified_pearson(*pair.counts, pair.max_diagonal),
          trans=correlation.pearson_between),
    Score("log_r", "log r", "the same of log10(1 + count)",
          lambda pair: correlation.stratified_pearson(*pair.counts, pair.max_diagonal, log=True),
          trans=lambda counts, reference: correlation.pearson_between(counts, reference, log=True)),
    Score("mse", "MSE", "mean squared error of log10(1 + count) off the main diagonal",
          lambda pair: correlation.log_mse(*pair.counts), better="lower", digits=4,
          trans=correlation.log_mse_between),
    Score("scc", "SCC", "stratum-adjusted correlation coefficient of HiCRep",
          lambda pair: scc.scc(*pair.counts, pair.max_diagonal, scc.half_width(pair.reference.resolution))),
    Score("spearman", "Spearman", "Spearman correlation on each diagonal, averaged by their pixels",
          lambda pair: pair.spearman_over(1)),
    Score("spearman_near", "Spearman near", "the same on diagonals 1 to 9",
          lambda pair: pair.spearman_over(1, 9)),
    Score("spearman_middle", "Spearman middle", "the same on diagonals 10 to 49",
          lambda pair: pair.spearman_over(10, 49)),
    Score("spearman_far", "Spearman far", "the same from diagonal 50 on",
          lambda pair: pair.spearman_over(50)),
    Score("ssim", "SSIM", "structural similarity of log10(1 + count)",
          lambda pair: pair.image_score(0), coarsened=True),
    Score("psnr", "PSNR", "peak signal-to-noise ratio of log10(1 + count)",
          lambda pair: pair.image_score(1), unit="dB", digits=1, coarsened=True),
    Score("insulation_r", "insulation", "correlation of log2 insulation scores",
          lambda pair: map_tracks.track_correlation(pair.map.insulation, pair.reference.insulation), "bins"),
    Score("compartment_r", "compartments", "|correlation| of first eigenvectors",
          lambda pair: map_tracks.compartment_correlation(
              pair.map.compartments, pair.reference.compartments
          ), "bins", coarsened=True),
    Score("genome_disco", "GenomeDISCO", "concordance after a random walk of 3 steps",
          lambda pair: whole_map.genome_disco(*pair.whole), "bins", coarsened=True),
    Score("focus_recovery", "foci", "strength times fraction of true calls",
          lambda pair: pair.focus_score("recovery"), "foci"),
    Score("focus_strength", "focus strength", "fraction of the foci's log enrichment",
          lambda pair: pair.focus_score("strength"), "foci"),
    Score("focus_precision", "focus precision", "fraction of called foci that are real",
          lambda pair: pair.focus_score("precision"), "foci"),
    Score("focus_recall", "focus recall", "fraction of real foci that are called",
          lambda pair: pair.focus_score("recall"), "foci"),
    Score("focus_f1", "focus F1", "harmonic mean of precision and recall",
          lambda pair: pair.focus_score("f1"), "foci"),
)}
# fmt: on
"""All scores by name, in the order of the columns of `metrics.csv`."""

CRITERIA = ("r", "log_r", "mse")
"""Scores that the baselines' widths can be chosen by, `--tune_by`; each has a function `trans`."""

CAPTIONS = ("r", "log_r", "mse", "focus_recovery")
"""Scores below the maps of `report.png`."""

SUMMARY = ("r", "log_r", "mse", "scc", "ssim", "insulation_r", "compartment_r", "focus_recovery")
"""Scores of the summary in the terminal."""


def titles(scores: Iterable[Score]) -> str:
    """`SSIM, PSNR and compartments`."""
    *first, last = (score.title for score in scores)
    return f"{', '.join(first)} and {last}" if first else last
