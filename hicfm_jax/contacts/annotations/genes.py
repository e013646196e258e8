"""Density of genes along a genome, from GFF, GTF and BED files."""

import os
import pathlib

import numpy as np

from hicfm_jax.contacts.annotations.intervals import Track, empty_track, interval_lines, matched_chromosomes
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError

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
