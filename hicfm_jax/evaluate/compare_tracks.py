"""Comparison of predicted tracks with measured ones, and with baselines from the map."""

import dataclasses
import os
import pathlib
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import scipy  # imports .stats, which takes long, at its first use

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.annotations.intervals import Track
from hicfm_jax.contacts.annotations.tracks import read_tracks
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.scores.map_tracks import track_correlation
from hicfm_jax.evaluate.track_baselines import track_baselines
from hicfm_jax.storage import atomic_file, file_name

TABLE_OF_SCORES = "tracks.csv"

Tracks = Mapping[str, Track]


@dataclasses.dataclass(frozen=True)
class TrackScore:
    """Agreement of one predicted track with the measured one, on one chromosome.

    Attributes:
      prediction: its name, or that of a baseline.
      track: name of the track.
      chromosome: where it is compared.
      pearson, spearman: correlation of the values of the bins; NaN where one of the two is constant.
      bins: number of bins that the measured track and all predictions have.
      baseline: whether it is a baseline.
    """

    prediction: str
    track: str
    chromosome: str
    pearson: float
    spearman: float
    bins: int
    baseline: bool = False


@dataclasses.dataclass(frozen=True)
class TrackComparison:
    """Scores, the tracks that were compared, and remarks for the user."""

    scores: list[TrackScore]
    predictions: dict[str, Tracks]
    truth: Tracks
    chromosomes: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def mean(self, prediction: str, chromosome: str | None = None, track: str | None = None) -> float:
        """Mean Pearson correlation over tracks and chromosomes, undefined ones left out."""
        found = [
            score.pearson
            for score in self.scores
            if score.prediction == prediction
            and chromosome in (None, score.chromosome)
            and track in (None, score.track)
            and np.isfinite(score.pearson)
        ]
        return float(np.mean(found)) if found else float("nan")


def compare_tracks(
    predictions: Mapping[str, Tracks],
    truth: Tracks,
    contact_map: ContactMap,
    chromosomes: Sequence[str] | None = None,
    *,
    fit_on: Sequence[str] | None = None,
    gene_track: str | None = None,
) -> TrackComparison:
    """Correlates predicted tracks with measured ones on each chromosome.

    All predictions of a track, baselines included, are compared on the same bins.

    Args:
      predictions: name -> track -> chromosome -> values `[n_bins]`, NaN where there is none. Tracks are
        compared by name.
      truth: the measured tracks.
      contact_map: the map from which they were predicted.
      chromosomes: to compare; None: those on which every prediction has values.
      fit_on: chromosomes for baselines of `track_baselines`, other than those compared; None or empty: no
        baselines.
      gene_track: measured track that orients the eigenvectors; None: the first whose name starts with
        "gene", if there is one.

    Raises:
      InputError: no track in common, no chromosome with values, one without contacts, or chromosomes both
        fitted and compared.
    """
    names = _common_names(predictions, truth)
    measured = {name: truth[name] for name in names}
    fit_on = contact_map.find_chromosomes(fit_on or ())
    chromosomes = _chosen(chromosomes, contact_map, [*predictions.values(), truth], names, fit_on)
    if empty := [chrom for chrom in chromosomes if not contact_map.matrix(chrom).nnz]:
        raise InputError(
            f"{contact_map.name} has no contacts on {', '.join(empty)}: give the map of the tracks, or "
            "choose other chromosomes."
        )
    compared, notes = dict(predictions), []
    if fit_on:
        density = _gene_density(truth, gene_track)
        if density is None:
            notes.append(
                "No measured track is of genes: there are no baselines of eigenvectors (--gene_track)."
            )
        baselines = track_baselines(contact_map, measured, fit_on, chromosomes, density)
        compared |= {f"{name} (baseline)": tracks for name, tracks in baselines.items()}
    scores = []
    for name in names:
        for chrom in chromosomes:
            values = {prediction: tracks[name][chrom] for prediction, tracks in compared.items()}
            for prediction, agreement in _agreements(values, truth[name][chrom]).items():
                baseline = prediction not in predictions
                scores.append(TrackScore(prediction, name, chrom, *agreement, baseline))
    return TrackComparison(scores, compared, measured, tuple(chromosomes), tuple(notes))


def _common_names(predictions: Mapping[str, Tracks], truth: Tracks) -> list[str]:
    names = [name for name in truth if all(name in tracks for tracks in predictions.values())]
    if not names:
        predicted = dict.fromkeys(name for tracks in predictions.values() for name in tracks)
        raise InputError(
            f"The predictions have the tracks {', '.join(predicted)} and the reference {', '.join(truth)}: "
            "give a reference with the same names."
        )
    return names


def _chosen(
    chromosomes: Sequence[str] | None,
    contact_map: ContactMap,
    everything: Sequence[Tracks],
    names: Sequence[str],
    fit_on: Sequence[str],
) -> list[str]:
    """The chromosomes to compare; None takes those with values that are not for fitting."""
    with_values = [
        chrom
        for chrom in contact_map.chromsizes
        if all(any(np.isfinite(tracks[name][chrom]).any() for name in names) for tracks in everything)
    ]
    if chromosomes is None:
        found = [chrom for chrom in with_values if chrom not in fit_on]
    else:
        found = contact_map.find_chromosomes(chromosomes)
    if both := [chrom for chrom in found if chrom in fit_on]:
        raise InputError(
            f"The baselines would be fitted on {', '.join(both)}, which is to be evaluated: choose other "
            "chromosomes for one of the two."
        )
    if not found or set(found) - set(with_values):
        raise InputError(
            f"Every prediction and the reference have values on {', '.join(with_values) or 'no chromosome'}: "
            "choose chromosomes that were predicted and measured."
        )
    return found


def _gene_density(truth: Tracks, gene_track: str | None) -> Track | None:
    if gene_track is None:
        gene_track = next((name for name in truth if name.lower().startswith("gene")), None)
    elif gene_track not in truth:
        raise InputError(f"The reference has no track {gene_track!r}: choose from {', '.join(truth)}.")
    return None if gene_track is None else truth[gene_track]


def _agreements(predicted: Mapping[str, np.ndarray], true: np.ndarray) -> dict[str, tuple[float, float, int]]:
    """Pearson and Spearman correlation, and number of bins, over the bins that all have."""
    known = np.isfinite(true)
    for values in predicted.values():
        known = known & np.isfinite(values)
    found = {}
    for name, values in predicted.items():
        pair = values[known].astype(np.float64), true[known].astype(np.float64)
        pearson, bins = track_correlation(*pair)
        spearman, _ = track_correlation(*map(scipy.stats.rankdata, pair))
        found[name] = pearson, spearman, bins
    return found


def evaluate_track_files(
    predictions: Mapping[str, str | os.PathLike],
    truth: str | os.PathLike,
    uri: str | os.PathLike,
    resolution: int | None,
    folder: str | os.PathLike,
    chromosomes: Sequence[str] | None = None,
    *,
    fit_on: Sequence[str] | None = None,
    gene_track: str | None = None,
) -> str:
    """Compares tracks in files, writes `tracks.csv` and a picture of each chromosome; returns a summary.

    Args:
      predictions: name -> folder of `infer.py --task=epigenome`, table, bedGraph or bigWig.
      truth: table, bedGraph or bigWig of measured tracks.
      uri, resolution: of the map from which the tracks were predicted, see `contacts.open_contacts`.
      folder: to write to; older files of these names are replaced.
      chromosomes, fit_on, gene_track: see `compare_tracks`; without `fit_on`, the baselines are fitted on the
        chromosomes that are not compared.

    Raises:
      InputError: see `read_tracks` and `compare_tracks`.
      OSError: the disk is full or not writable.
    """
    from hicfm_jax.evaluate.report import check_folder, prediction_figures

    target = check_folder(folder)
    contact_map = open_contacts(uri, resolution)
    found = {name: read_tracks(path, contact_map) for name, path in predictions.items()}
    if fit_on is None and chromosomes:
        compared = set(contact_map.find_chromosomes(chromosomes))
        fit_on = [chrom for chrom in contact_map.chromsizes if chrom not in compared]
    measured = read_tracks(truth, contact_map)
    comparison = compare_tracks(
        found, measured, contact_map, chromosomes, fit_on=fit_on, gene_track=gene_track
    )
    target.mkdir(parents=True, exist_ok=True)
    write_track_scores(comparison, target / TABLE_OF_SCORES)
    shown = next(iter(predictions))
    for chrom in comparison.chromosomes:
        predicted, true = (
            {name: tracks[name][chrom] for name in comparison.truth}
            for tracks in (comparison.predictions[shown], comparison.truth)
        )
        figure = prediction_figures.draw_tracks(contact_map, chrom, predicted, true)
        prediction_figures.save(target / f"{file_name(chrom)}.png", figure)
    return f"{track_summary(comparison)}\nWrote {folder}."


def write_track_scores(comparison: TrackComparison, path: str | os.PathLike) -> None:
    """One line for each prediction, track and chromosome; undefined correlations are empty."""
    table = pd.DataFrame(map(dataclasses.asdict, comparison.scores)).astype({"baseline": int})
    with atomic_file(pathlib.Path(path)) as partial:
        table.to_csv(partial, index=False, float_format="%.6g")


def track_summary(comparison: TrackComparison) -> str:
    """Pearson correlations as a table for a terminal: tracks by predictions, and means by chromosome."""
    rows = {track: {"track": track} for track in comparison.truth}
    rows |= {f"mean, {chrom}": {"chromosome": chrom} for chrom in comparison.chromosomes} | {"mean": {}}
    table = pd.DataFrame(
        {name: [comparison.mean(name, **of) for of in rows.values()] for name in comparison.predictions},
        index=list(rows),
    )
    shown = table.rename_axis(columns="Pearson r").to_string(float_format="%.3f", na_rep="-")
    return "\n".join([shown, *comparison.notes])
