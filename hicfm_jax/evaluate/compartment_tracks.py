"""Compartments of a map as tracks, oriented by gene density."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.intervals import Track, empty_track, interval_lines, matched_chromosomes
from hicfm_jax.contacts.annotations.tracks import check_pybigtools, write_bigwig
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.track_baselines import EIGENVECTORS, eigenvectors
from hicfm_jax.progress import doing

_GFF = (".gff", ".gff3", ".gtf")


def read_gene_density(path: str | os.PathLike, contact_map: ContactMap) -> Track:
    """Number of genes by the bin of their middle, float32 `[n_bins]` for each chromosome of the map.

    Of a GFF or GTF file (`.gff`, `.gff3`, `.gtf`) the features `gene` are taken, of any other, which is read
    as BED, all lines. Files may be gzipped (`.gz`). `4` and `chr4` stand for `Chr4`; chromosomes that the
    file lacks are NaN, and those that the map lacks are ignored.

    Raises:
      InputError: no such file, an invalid line, no gene, or another assembly.
    """
    path = pathlib.Path(path)
    gff = path.name.lower().removesuffix(".gz").endswith(_GFF)
    middles: dict[str, list[int]] = {}
    for _, fields, start, end in interval_lines(path, "give a GFF, GTF or BED file of genes", gff):
        if not gff or fields[2] == "gene":
            middles.setdefault(fields[0], []).append((start + end) // 2)
    if not middles:
        raise InputError(f"{path} has no genes: give a GFF file with features 'gene', or a BED file.")
    density = empty_track(contact_map)
    for chrom, theirs in matched_chromosomes(path, middles, contact_map).items():
        found, length = np.array(middles[theirs]), contact_map.chromsizes[chrom]
        if found.max() >= length:
            raise InputError(
                f"{path} has a gene at {found.max():,} bp of {theirs}, which ends at {length:,} bp in "
                f"{contact_map.name}: give genes of the map's assembly."
            )
        bins = np.bincount(found // contact_map.resolution, minlength=contact_map.n_bins(chrom))
        density[chrom][:] = bins
    return density


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
