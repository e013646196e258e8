"""Loci of a BED file as bins of the contact maps."""

import contextlib
import os
from collections.abc import Mapping

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError


def read_loci(
    path: str | os.PathLike, contact_maps: Mapping[str, ContactMap]
) -> dict[str, dict[str, list[int]]]:
    """The bins that hold the middles of the loci, by assay and the map's own name of the chromosome.

    A locus counts for every map that has its chromosome; in the file it may be called `1`, `chr1` or
    `Chr1`. Further columns, comments, `track` and `browser` lines are passed over.

    Raises:
      InputError: no such file, a line that is no BED line, a chromosome that no map has, or a locus
        beyond its end.
    """
    try:
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path} cannot be read ({error}): give a BED file of loci.") from error
    loci = {assay: {} for assay in contact_maps}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith(("#", "track", "browser")):
            continue
        where = f"{path}, line {number}"
        fields = line.split()
        if len(fields) < 3 or not (fields[1].isdecimal() and fields[2].isdecimal()):
            raise InputError(f"{where} is {line[:60]!r}: expected chromosome, start and end in bp.")
        middle = (int(fields[1]) + int(fields[2])) // 2
        own = {}
        for assay, contact_map in contact_maps.items():
            with contextlib.suppress(InputError):  # another map may have it
                own[assay] = contact_map.find_chromosome(fields[0])
        if not own:
            raise InputError(
                f"{where} names chromosome {fields[0]!r}, which no map has: use the maps' names."
            )
        for assay, name in own.items():
            end = contact_maps[assay].chromsizes[name]
            if middle >= end:
                raise InputError(
                    f"{where} lies about {middle:,} bp but {name} of {assay} ends at {end:,} bp: "
                    "use loci of this assembly."
                )
            loci[assay].setdefault(name, []).append(middle // contact_maps[assay].resolution)
    if not any(loci.values()):
        raise InputError(f"{path} has no locus: give a BED file with at least one.")
    return loci
