"""Lists of loops: BEDPE files."""

import os
import pathlib

import numpy as np
import pandas as pd

from hicfm_jax.contacts.annotations.intervals import UNREADABLE, open_text
from hicfm_jax.contacts.contact_map import ContactMap, bare_name
from hicfm_jax.errors import InputError

PLACES = ("chrom1", "start1", "end1", "chrom2", "start2", "end2")
"""The first columns of every list, named as cooltools and bioframe do."""

_POSITIONS = ("start1", "end1", "start2", "end2")


def read_bedpe(path: str | os.PathLike) -> pd.DataFrame:
    """Reads loops of any program: six columns of places in bp, others after them, with a header or without.

    Lines that begin with `#` are comments. The file may be gzipped.

    Returns:
      The columns `PLACES`, and the others as the header names them.

    Raises:
      InputError: no such file, or a line that is no loop.
    """
    path = pathlib.Path(path)
    try:
        with open_text(path) as file:
            lines = [line.rstrip("\r\n") for line in file]
    except UNREADABLE as error:
        raise InputError(f"{path} cannot be read ({error}): give a BEDPE file.") from error
    rows = [line.split("\t") for line in lines if line and not line.startswith("#")]
    header = rows.pop(0) if rows and not _is_loop(rows[0]) else []
    for row in rows:
        if not _is_loop(row):
            raise InputError(
                f"{path} has the line {' '.join(row)[:80]!r}, expected chromosome, start and end of both "
                "anchors, separated by tabs: give a BEDPE file."
            )
    width = max(map(len, [header, PLACES, *rows]))
    names = [*PLACES, *header[len(PLACES) :]]
    names += [f"column{number}" for number in range(len(names) + 1, width + 1)]
    loops = pd.DataFrame(rows).reindex(columns=range(width))
    loops.columns = names
    return loops.astype({name: np.int64 for name in _POSITIONS})


def check_ends(loops: pd.DataFrame, contact_map: ContactMap, path: str | os.PathLike) -> None:
    """Refuses loops that end beyond a chromosome of a map; those on other chromosomes are not looked at.

    Raises:
      InputError: a loop of `path` ends more than a bin beyond its chromosome.
    """
    names = {bare_name(chrom): chrom for chrom in contact_map.chromsizes}
    for side in (1, 2):
        farthest = loops.groupby(loops[f"chrom{side}"].astype(str))[f"end{side}"].max()
        for name, end in farthest.items():
            chrom = names.get(bare_name(name))
            if chrom and end > contact_map.chromsizes[chrom] + contact_map.resolution:
                raise InputError(
                    f"{path} has a loop that ends at {end:,} bp, but {chrom} of {contact_map.name} is "
                    f"{contact_map.chromsizes[chrom]:,} bp long: give loops of the map's assembly."
                )


def _is_loop(row: list[str]) -> bool:
    return len(row) >= len(PLACES) and all(row[PLACES.index(name)].isdigit() for name in _POSITIONS)


def loop_table(
    contact_map: ContactMap, chrom: str, rows: np.ndarray, columns: np.ndarray, **values: np.ndarray
) -> pd.DataFrame:
    """The columns `PLACES` of loops between bins of a chromosome, `[N]` each, and further columns."""
    length, width = contact_map.chromsizes[chrom], contact_map.resolution
    places = {}
    for number, bins in enumerate((rows, columns), start=1):
        places[f"chrom{number}"] = np.full(len(bins), chrom, object)
        places[f"start{number}"] = bins * width
        places[f"end{number}"] = np.minimum((bins + 1) * width, length)
    return pd.DataFrame({**places, **values})


def write_bedpe(loops: pd.DataFrame, path: str | os.PathLike) -> None:
    """Writes a list with a header line, as cooltools does, also where it has no loops."""
    loops.to_csv(path, sep="\t", index=False, float_format="%.6g")
