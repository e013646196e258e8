"""All scores of maps on one chromosome."""

import math

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.comparison import Score
from hicfm_jax.evaluate.scores import SCORES, SPEARMAN_RANGES, compartments, foci, insulation, scc
from hicfm_jax.evaluate.scores.correlation import (
    log_mse,
    spearman_by_distance,
    stratified_pearson,
    weighted_mean,
)
from hicfm_jax.evaluate.scores.diagonals import coarsen, track_correlation
from hicfm_jax.evaluate.scores.foci import focus_recovery
from hicfm_jax.evaluate.scores.genome_disco import genome_disco
from hicfm_jax.evaluate.scores.image_scores import data_range, image_scores

WHOLE_BINS = 3200
"""Chromosomes with more bins are summed up to wider ones where a score needs all pixels at once."""


class ChromosomeScorer:
    """Scores maps against one chromosome of a reference, whose own tracks and foci are found once.

    Args:
      reference: counts `[n, n]`, upper triangle.
      resolution: bin width in bp.
      max_diagonal: of the scores by distance, in bins.

    Attributes:
      whole_factor: bins of the map in one bin of SSIM, PSNR, compartments and GenomeDISCO.
      focus_factor: bins of the map in one bin of the foci.
      insulation_factor, insulation_window: bins of the map in one bin of the insulation, and the
        diamond's side in those.
      foci: the reference's.
      data_range: of SSIM and PSNR.
    """

    def __init__(self, reference: scipy.sparse.sparray, resolution: int, max_diagonal: int):
        self.reference = reference
        self.max_diagonal = max_diagonal
        self.scc_half_width = scc.half_width(resolution)
        self.insulation_factor = insulation.bin_factor(resolution)
        self.insulation_window = insulation.default_window(resolution * self.insulation_factor)
        self.whole_factor = -(-reference.shape[0] // WHOLE_BINS)
        self.focus_factor = max(foci.bin_factor(resolution), self.whole_factor)

        self._insulation = self._insulation_track(reference)
        self._whole = coarsen(reference, self.whole_factor)
        self._compartments = compartments.compartment_track(self._whole, find_expected(self._whole))
        self.data_range = data_range(self._whole)
        for_foci = coarsen(reference, self.focus_factor)
        self._focus_model = find_expected(for_foci)
        self._enrichment = foci.focus_enrichment(for_foci, self._focus_model)
        self.foci = foci.call_foci(self._enrichment, foci.REAL_FROM)

    def score(self, test: scipy.sparse.sparray) -> tuple[dict[str, Score], np.ndarray]:
        """All scores of a map, and Spearman's correlation on each diagonal from 1 on.

        Args:
          test: counts `[n, n]`, upper triangle.
        """
        reference, limit = self.reference, self.max_diagonal
        spearman, pixels = spearman_by_distance(test, reference, limit)
        found = {
            "r": stratified_pearson(test, reference, limit),
            "log_r": stratified_pearson(test, reference, limit, log=True),
            "mse": log_mse(test, reference),
            "scc": scc.scc(test, reference, limit, self.scc_half_width),
            "spearman": weighted_mean(spearman, pixels),
        }
        for name, (first, last) in SPEARMAN_RANGES.items():
            found[name] = weighted_mean(spearman[first - 1 : last], pixels[first - 1 : last])
        found["insulation_r"] = track_correlation(self._insulation_track(test), self._insulation)
        found.update(self._whole_scores(coarsen(test, self.whole_factor)))
        found.update(self._focus_scores(coarsen(test, self.focus_factor)))
        return {name: Score(*found[name]) for name in SCORES}, spearman

    def _insulation_track(self, matrix: scipy.sparse.sparray) -> np.ndarray:
        coarse = coarsen(matrix, self.insulation_factor)
        return insulation.log_insulation(coarse, find_expected(coarse), self.insulation_window)

    def _whole_scores(self, test: scipy.sparse.csr_array) -> dict[str, tuple[float, float]]:
        ssim, psnr = image_scores(test, self._whole, self.data_range)
        track = compartments.compartment_track(test, find_expected(test))
        pixels = test.shape[0] ** 2
        return {
            "ssim": (ssim, pixels),
            "psnr": (psnr, pixels),
            "compartment_r": compartments.compartment_correlation(track, self._compartments),
            "genome_disco": genome_disco(test, self._whole),
        }

    def _focus_scores(self, test: scipy.sparse.csr_array) -> dict[str, tuple[float, float]]:
        names = ("recovery", "strength", "precision", "recall", "f1")
        enrichment = foci.focus_enrichment(test, self._focus_model)
        found = focus_recovery(enrichment, self._enrichment, self.foci)
        values = {name: getattr(found, name) if found else math.nan for name in names}
        return {f"focus_{name}": (value, len(self.foci)) for name, value in values.items()}
