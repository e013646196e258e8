"""Density of genes along a genome, from GFF, GTF and BED files."""

import itertools
import os
import pathlib

import numpy as np

from hicfm_jax.contacts.annotations.intervals import (
    UNREADABLE,
    Track,
    data_lines,
    empty_track,
    matched_chromosomes,
    open_text,
)
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
    columns, expected = ((3, 4), "nine columns of GFF") if gff else ((1, 2), "chromosome, start and end")
    middles: dict[str, list[int]] = {}
    try:
        with open_text(path) as file:
            lines = itertools.takewhile(lambda line: not line.startswith("##FASTA"), file)
            for number, fields in data_lines(lines):
                if len(fields) < (8 if gff else 3) or not all(
                    fields[column].isdecimal() for column in columns
                ):
                    line = "\t".join(fields).strip()
                    raise InputError(
                        f"{path}, line {number}, is {line[:60]!r}, expected {expected}, separated by "
                        "tabs: give a GFF, GTF or BED file of genes."
                    )
                if not gff or fields[2] == "gene":
                    start, end = (int(fields[column]) for column in columns)
                    middles.setdefault(fields[0], []).append((start - gff + end) // 2)
    except InputError:
        raise
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read ({error}): give a GFF, GTF or BED file of genes.") from error
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
