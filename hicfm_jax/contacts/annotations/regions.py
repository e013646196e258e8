"""Genomic regions from text and from BED files."""

import os
import pathlib
import re
from typing import NamedTuple

from hicfm_jax.base_pairs import parse_base_pairs
from hicfm_jax.contacts.annotations.intervals import interval_lines
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.errors import InputError


class Region(NamedTuple):
    """Part of a chromosome, 0-based and half-open in bp, with its name in the file if it has one."""

    chrom: str
    start: int
    end: int
    name: str = ""

    def bins(self, resolution: int) -> tuple[int, int]:
        """The first bin that overlaps, and the one after the last."""
        return self.start // resolution, -(-self.end // resolution)

    def __str__(self) -> str:
        return f"{self.chrom}:{self.start:,}-{self.end:,}"


def parse_region(text: str, contact_map: ContactMap) -> Region:
    """Reads `Chr4`, `Chr4:1,000,000-3,000,000` or `Chr4:1Mb-3Mb`, as cooler and HiGlass write regions.

    Chromosome names may hold `:` and `,` themselves; `4` and `chr4` stand for `Chr4`.

    Raises:
      InputError: no such region, or it ends beyond its chromosome.
    """
    if text in contact_map.chromsizes:
        return Region(text, 0, contact_map.chromsizes[text])
    found = re.fullmatch(r"(.+):(\d[\d,.]*[kKmM]?[bB]?)-((?:\d[\d,.]*[kKmM]?[bB]?)?)", text)
    if not found:
        chrom = contact_map.find_chromosome(text)
        return Region(chrom, 0, contact_map.chromsizes[chrom])
    chrom = contact_map.find_chromosome(found[1])
    try:
        start = parse_base_pairs(found[2])
        end = parse_base_pairs(found[3]) if found[3] else contact_map.chromsizes[chrom]
    except ValueError:
        raise InputError(f"The region {text} is not of the form CHROM:START-END in bp.") from None
    return _checked(Region(chrom, start, end), contact_map, f"The region {text}")


def read_bed(path: str | os.PathLike, contact_map: ContactMap) -> list[Region]:
    """The regions of a BED file, plain or gzipped, in its order.

    Raises:
      InputError: no such file, a line that is no region, or a region that does not fit the map.
    """
    path, regions = pathlib.Path(path), []
    for where, fields, start, end in interval_lines(path, "give a BED file"):
        region = Region(contact_map.find_chromosome(fields[0]), start, end, (fields[3:4] or [""])[0])
        regions.append(_checked(region, contact_map, where))
    if not regions:
        raise InputError(f"{path} has no regions: give a BED file.")
    return regions


def _checked(region: Region, contact_map: ContactMap, where: str) -> Region:
    length = contact_map.chromsizes[region.chrom]
    if not region.start < region.end:
        raise InputError(f"{where} ends at {region.end:,}, which is not after its start {region.start:,}.")
    if region.end > length:
        raise InputError(
            f"{where} ends at {region.end:,}, but {region.chrom} of {contact_map.name} is {length:,} bp long."
        )
    return region
