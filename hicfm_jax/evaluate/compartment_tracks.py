"""Compartments of a map as tracks, oriented by gene density."""

import pathlib
from collections.abc import Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.intervals import Track, empty_track
from hicfm_jax.contacts.annotations.tracks import check_pybigtools, write_bigwig
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.track_baselines import EIGENVECTORS, eigenvectors
from hicfm_jax.progress import doing

FEWEST_BINS = 10
"""With contacts, of a chromosome whose eigenvectors mean something."""


def compartment_tracks(
    contact_map: ContactMap, genes: Track, chromosomes: Sequence[str] | None = None
) -> tuple[dict[str, Track], list[str]]:
    """E1, E2 and E3 of each chromosome (see `eigenvectors`), and notes on those that are left out.

    Args:
      contact_map: raw counts.
      genes: gene density of each bin, as of `read_gene_density`.
      chromosomes: to compute; None means all. Others are NaN.

    Raises:
      InputError: an unknown chromosome, or none that has contacts, structure and genes.
    """
    check_pybigtools("E1.bw")
    tracks, notes = {name: empty_track(contact_map) for name in EIGENVECTORS}, []
    chosen = (
        list(contact_map.chromsizes) if chromosomes is None else contact_map.find_chromosomes(chromosomes)
    )
    for chrom in chosen:
        matrix = contact_map.matrix(chrom)
        off_diagonal = matrix.tocoo()
        rows = off_diagonal.row[off_diagonal.row != off_diagonal.col]
        if np.unique(rows).size < FEWEST_BINS or not np.nanstd(genes[chrom]) > 0:
            notes.append(f"{chrom} is left out: it has too few contacts, or genes of one density.")
            continue
        with doing(f"Computing the compartments of {chrom}"):
            for name, values in zip(EIGENVECTORS, eigenvectors(matrix, genes[chrom]), strict=True):
                tracks[name][chrom][:] = values
    if len(notes) == len(chosen):
        raise InputError(f"{contact_map.name} has no compartments: {notes[0]}")
    return tracks, notes[:5] + [f"{len(notes) - 5} more are left out."] * (len(notes) > 5)


def write_compartments(
    tracks: dict[str, Track], contact_map: ContactMap, folder: pathlib.Path
) -> list[pathlib.Path]:
    """Writes each track as `NAME.bw` into a folder, which is made; returns the files."""
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / f"{name}.bw" for name in tracks]
    for path, track in zip(files, tracks.values(), strict=True):
        write_bigwig(path, contact_map, track)
    return files
