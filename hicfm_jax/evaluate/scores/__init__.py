"""The scores of a map: their names in `metrics.csv`, what they are, and which way is better."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class ScoreName:
    """One column of the results.

    Attributes:
      title: for tables.
      text: one line for readers of a report.
      higher_is_better: else lower is.
      pooled_by: what chromosomes are weighted by in the pooled value.
    """

    title: str
    text: str
    higher_is_better: bool = True
    pooled_by: str = "pixels"


SPEARMAN_RANGES = {"spearman_near": (1, 9), "spearman_middle": (10, 49), "spearman_far": (50, None)}
"""Diagonals, both ends included; None is the last one."""

SCORES = {
    "r": ScoreName("r", "Pearson correlation on each diagonal, averaged by their pixels"),
    "log_r": ScoreName("log r", "the same of log10(1 + count)"),
    "mse": ScoreName("MSE", "mean squared error of log10(1 + count) off the main diagonal", False),
    "scc": ScoreName("SCC", "stratum-adjusted correlation coefficient of HiCRep"),
    "spearman": ScoreName("Spearman", "Spearman correlation on each diagonal, averaged by their pixels"),
    "spearman_near": ScoreName("Spearman near", "the same on diagonals 1 to 9"),
    "spearman_middle": ScoreName("Spearman middle", "the same on diagonals 10 to 49"),
    "spearman_far": ScoreName("Spearman far", "the same from diagonal 50 on"),
    "ssim": ScoreName("SSIM", "structural similarity of log10(1 + count)"),
    "psnr": ScoreName("PSNR", "peak signal-to-noise ratio of log10(1 + count), dB"),
    "insulation_r": ScoreName("insulation", "correlation of log2 insulation scores", pooled_by="bins"),
    "compartment_r": ScoreName("compartments", "|correlation| of first eigenvectors", pooled_by="bins"),
    "genome_disco": ScoreName("GenomeDISCO", "concordance after a random walk of 3 steps", pooled_by="bins"),
    "focus_recovery": ScoreName("foci", "strength times share of true calls", pooled_by="foci"),
    "focus_strength": ScoreName("focus strength", "share of the foci's log enrichment", pooled_by="foci"),
    "focus_precision": ScoreName("focus precision", "share of called foci that are real", pooled_by="foci"),
    "focus_recall": ScoreName("focus recall", "share of real foci that are called", pooled_by="foci"),
    "focus_f1": ScoreName("focus F1", "harmonic mean of precision and recall", pooled_by="foci"),
}
