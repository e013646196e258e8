"""`.hic` files, read with hictk or hic-straw and written with hictk."""

import errno
import os
import pathlib
from collections.abc import Mapping

import numpy as np

from hicfm_jax.contacts.balancing import balance, weight_kind_of
from hicfm_jax.contacts.chromsizes import check_bins, check_number, choose_resolution, zoom_levels
from hicfm_jax.contacts.contact_map import ContactMap, check_same
from hicfm_jax.contacts.formats.cool import COUNT, sorted_pixels
from hicfm_jax.contacts.formats.hic_engines import ENGINES
from hicfm_jax.contacts.formats.reading_process import ReadingProcess, lazy_map
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_space


def open_hic(
    path: str,
    resolution: int | None = None,
    engine: str | None = None,
    weight: str | None = None,
    weight_kind: str | None = None,
) -> ContactMap:
    """Opens a `.hic` file; see `open_contacts` for the arguments and errors."""
    if engine not in (None, *ENGINES):
        raise InputError(f"engine={engine!r} reads no .hic files: choose {' or '.join(ENGINES)}.")
    reader = ReadingProcess(ENGINES[engine or "hictk"], path)
    chromsizes, resolutions, pairs = reader.ask("layout")
    source = choose_resolution(path, resolutions, resolution)
    check_bins(chromsizes, source, path)
    raw = lazy_map(reader, chromsizes, source, path, source, pairs=lambda: pairs)
    if weight in (None, "NONE"):
        return raw if resolution in (None, source) else raw.coarsen(resolution // source)
    if resolution not in (None, source):
        raise InputError(
            f"{path} has no weights at {resolution} bp, and weights apply to one resolution only: choose one "
            f"that it holds, {', '.join(map(str, sorted(resolutions)))} bp."
        )
    kind = weight_kind_of(path, weight, "divisive", weight_kind)
    names = reader.ask("weight_names", source)
    if weight not in names:
        raise InputError(
            f"{path} has no weights {weight!r} at {source} bp, the normalizations it has: "
            f"{', '.join(names) or 'none'}."
        )
    weights = reader.ask("weights", source, weight)
    return balance(raw, weights.__getitem__, kind, weight)


def check_hic(path: str, chromsizes: Mapping[str, int]) -> None:
    """Raises InputError for chromosomes that a `.hic` file cannot hold; a note if it takes minutes."""
    if reserved := [chrom for chrom in chromsizes if chrom.lower() == "all"]:
        raise InputError(f"{path}: .hic reserves the name {reserved[0]!r} for the whole genome: rename it.")
    check_number(path, chromsizes)
    longest = max(chromsizes, key=chromsizes.get)
    if chromsizes[longest] > np.iinfo(np.uint32).max:
        raise InputError(
            f"{path}: hictk writes lengths up to {np.iinfo(np.uint32).max} bp, and {longest[:40]!r} has "
            f"{chromsizes[longest]}: write .pairs or .npz."
        )


def write_hic(contact_map: ContactMap, path: pathlib.Path) -> list[int]:
    """Writes a map as `.hic` (version 9) with zoom levels in steps of 1, 2, 5, 10.

    The format stores counts in single precision. Sums above 16,777,216 in a pixel of a coarser level are
    rounded to 7 digits. Returns the resolutions written, in bp.

    Raises:
      InputError: counts that single precision would change, or no hictkpy.
      OSError: the disk is full or not writable.
    """
    try:
        import hictkpy
    except ImportError as error:
        raise InputError(f"{path} needs hictkpy to be written: pip install 'hicfm_jax[hic]'.") from error
    import pandas as pd

    hictkpy.logging.setLevel("ERROR")  # below that it reports every block
    number = 0
    for block in contact_map.blocks():
        counts = contact_map.block(block).data
        number += counts.size
        changed = counts[counts.astype(np.float32) != counts]
        if changed.size:
            raise InputError(
                f"{path}: .hic stores counts in single precision, which would change {changed[0]} of "
                f"{str(block).removeprefix('chromosome ')}: write .mcool, or whole counts up to 16777216."
            )
    levels = zoom_levels(contact_map.resolution, contact_map.chromsizes)
    # Hictk stores all pixels in a temporary file first.
    check_space(path, 8 * number)

    try:
        with atomic_file(path) as partial:
            writer = hictkpy.hic.FileWriter(
                str(partial), contact_map.chromsizes, levels, tmpdir=str(partial.parent), compression_lvl=6
            )
            for columns in sorted_pixels(contact_map):
                pixels = pd.DataFrame({name: columns[name] for name in ("bin1_id", "bin2_id", COUNT)})
                if len(pixels):
                    writer.add_pixels(pixels.astype({COUNT: np.float64}))
            writer.finalize().close()
            check_same(open_hic(str(partial), contact_map.resolution), contact_map, path)
    except RuntimeError as error:
        # Hictk raises this for a failed write, whatever the reason.
        if "iostream error" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    return levels
