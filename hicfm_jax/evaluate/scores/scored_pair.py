"""A map and its reference on one chromosome: the argument of scores."""

import dataclasses
import functools

import numpy as np

from hicfm_jax.contacts.expected import Expected, find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.scores import correlation, foci, map_tracks, whole_map
from hicfm_jax.evaluate.scores.diagonals import Matrix, coarsen

WHOLE_BINS = 3200
"""Chromosomes with more bins are coarsened for the scores that need all pixels at once."""


@dataclasses.dataclass(frozen=True, eq=False)
class PreparedMap:
    """One chromosome of a map, with bins of `resolution` bp. What is derived from it is computed once.

    `counts` is an upper triangle `[n, n]`; dense ones support only scores of `ScoredPair.counts`.
    """

    counts: Matrix
    resolution: int
    _coarse: dict[int, "PreparedMap"] = dataclasses.field(default_factory=dict)

    def coarsened(self, factor: int) -> "PreparedMap":
        """The map in bins `factor` times as wide."""
        if factor == 1:
            return self
        if factor not in self._coarse:
            self._coarse[factor] = PreparedMap(coarsen(self.counts, factor), self.resolution * factor)
        return self._coarse[factor]

    @functools.cached_property
    def expected(self) -> Expected:
        """Decay and biases of the map."""
        return find_expected(self.counts)

    @property
    def whole(self) -> "PreparedMap":
        """The map in at most `WHOLE_BINS` bins."""
        return self.coarsened(-(-self.counts.shape[0] // WHOLE_BINS))

    @property
    def for_foci(self) -> "PreparedMap":
        """The map in the bins in which foci are called."""
        return self.coarsened(max(foci.bin_factor(self.resolution), self.whole.resolution // self.resolution))

    @functools.cached_property
    def insulation(self) -> np.ndarray:
        """log2 insulation scores, in the bins of `map_tracks.insulation_factor`."""
        fine = self.coarsened(map_tracks.insulation_factor(self.resolution))
        return map_tracks.log_insulation(fine.counts, fine.expected, map_tracks.diamond_bins(fine.resolution))

    @functools.cached_property
    def compartments(self) -> np.ndarray:
        """Compartment track, in the bins of `whole`."""
        return map_tracks.compartment_track(self.whole.counts, self.whole.expected)

    @functools.cached_property
    def enrichment(self) -> foci.Enrichment:
        """Enrichment of every pixel over the map's own decay and biases, in the bins of `for_foci`."""
        return foci.focus_enrichment(self.for_foci.counts, self.for_foci.expected)

    @functools.cached_property
    def foci(self) -> foci.Foci:
        """Foci of the map as a reference."""
        return foci.call_foci(self.enrichment, foci.REAL_FROM)


@dataclasses.dataclass(frozen=True, eq=False)
class ScoredPair:
    """A map to score, its reference, and the farthest diagonal to score by distance: the argument of scores.

    Maps of different shapes raise InputError.
    """

    map: PreparedMap
    reference: PreparedMap
    max_diagonal: int = correlation.MAX_DIAGONAL

    def __post_init__(self):
        one, two = (matrix.shape for matrix in self.counts)
        if one != two or one[0] != one[1]:
            raise InputError(f"Maps of shapes {one} and {two} cannot be compared: give two of one shape.")

    @property
    def counts(self) -> tuple[Matrix, Matrix]:
        """Counts of both maps, `[n, n]` each."""
        return self.map.counts, self.reference.counts

    @property
    def whole(self) -> tuple[Matrix, Matrix]:
        """Counts of both maps in at most `WHOLE_BINS` bins."""
        return self.map.whole.counts, self.reference.whole.counts

    @functools.cached_property
    def spearman(self) -> tuple[np.ndarray, np.ndarray]:
        """Spearman's correlation on each diagonal, see `spearman_by_distance`."""
        return correlation.spearman_by_distance(*self.counts, self.max_diagonal)

    def spearman_over(self, first: int, last: int | None = None) -> tuple[float, int]:
        """Mean of `spearman` over the diagonals from `first` to `last` inclusive, and their pixels."""
        return correlation.weighted_mean(*(values[first - 1 : last] for values in self.spearman))

    def image_score(self, index: int) -> tuple[float, int]:
        """SSIM (0) or PSNR (1), and the pixels."""
        return self._image_scores[index], self.reference.whole.counts.shape[0] ** 2

    def focus_score(self, name: str) -> tuple[float, int]:
        """A field of `FocusRecovery`, and the foci of the reference."""
        return getattr(self._focus_recovery, name), len(self.reference.foci)

    @functools.cached_property
    def _image_scores(self) -> tuple[float, float]:
        return whole_map.image_scores(*self.whole)

    @functools.cached_property
    def _focus_recovery(self) -> foci.FocusRecovery:
        # Decay and biases are the reference's for all maps.
        enrichment = foci.focus_enrichment(self.map.for_foci.counts, self.reference.for_foci.expected)
        return foci.focus_recovery(enrichment, self.reference.enrichment, self.reference.foci)
