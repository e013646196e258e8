"""Writing contact maps as `.hic` with zoom levels."""

import errno
import os
import pathlib

import numpy as np

from hicfm_jax.contacts.complete_file import check_space, complete_or_absent
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.resolutions import zoom_levels
from hicfm_jax.errors import InputError


def write_hic(contact_map: ContactMap, path: pathlib.Path) -> list[int]:
    """Writes a map as `.hic` (version 9) with zoom levels in steps of 1, 2, 5, 10.

    The format keeps counts in single precision. Counts that are changed by it are refused; sums of more than
    16,777,216 in a pixel of a coarser level are rounded to 7 digits.

    Args:
      contact_map: what to write.
      path: where; an existing file is replaced.

    Returns:
      The resolutions written, in bp.

    Raises:
      InputError: counts that single precision cannot hold, a chromosome called `All`, or no hictkpy.
      OSError: the disk is full or not writable.
    """
    try:
        import hictkpy
    except ImportError as error:
        raise InputError(f"{path} needs hictkpy to be written: pip install -e '.[hic]'.") from error
    import pandas as pd

    hictkpy.logging.setLevel("ERROR")  # it tells of every block
    if reserved := [chrom for chrom in contact_map.chromsizes if chrom.lower() == "all"]:
        raise InputError(f"{path}: .hic keeps the name {reserved[0]!r} for the whole genome: rename it.")
    pixels = 0
    for pair in contact_map.pairs():
        counts = contact_map.matrix(*pair).data
        pixels += counts.size
        changed = counts[counts.astype(np.float32) != counts]
        if changed.size:
            raise InputError(
                f"{path}: .hic keeps counts in single precision, which would change {changed[0]} of "
                f"{' x '.join(pair)}: write .mcool, or whole counts up to 16777216."
            )
    levels = zoom_levels(contact_map.resolution, contact_map.chromsizes)
    # Hictk keeps all pixels in a temporary file beside the one it makes.
    check_space(path, 8 * pixels)

    bins = [contact_map.n_bins(chrom) for chrom in contact_map.chromsizes]
    offset = dict(zip(contact_map.chromsizes, np.cumsum([0, *bins]).tolist(), strict=False))
    try:
        with complete_or_absent(path) as folder:
            partial = folder / "map.hic"
            writer = hictkpy.hic.FileWriter(
                str(partial), contact_map.chromsizes, levels, tmpdir=str(folder), compression_lvl=6
            )
            for chrom1, chrom2 in contact_map.pairs():
                part = contact_map.matrix(chrom1, chrom2).tocoo()
                if part.nnz:
                    columns = {
                        "bin1_id": part.row + np.int64(offset[chrom1]),
                        "bin2_id": part.col + np.int64(offset[chrom2]),
                        "count": part.data.astype(np.float64),
                    }
                    writer.add_pixels(pd.DataFrame(columns))
            writer.finalize().close()
            os.replace(partial, path)
    except RuntimeError as error:
        # Hictk's word for a failed write, whatever the reason.
        if "iostream error" not in str(error):
            raise
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path)) from error
    return levels
