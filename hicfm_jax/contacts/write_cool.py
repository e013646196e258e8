"""Writing contact maps as `.cool`, and as `.mcool` with zoom levels."""

import os
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.contacts.complete_file import check_space, complete_or_absent
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.resolutions import zoom_levels

PIXELS_AT_ONCE = 2_000_000
"""That are handed to cooler, which needs some 100 bytes for each."""


def write_cool(
    contact_map: ContactMap,
    path: pathlib.Path,
    balance: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> list[int]:
    """Writes `.cool`, or by its suffix `.mcool` with zoom levels in steps of 1, 2, 5, 10.

    Whole counts are stored as integers, others as float64.

    Args:
      contact_map: what to write.
      path: where; an existing file is replaced.
      balance: also store ICE weights (column `weight`, multiplicative) at each resolution.
      metadata: what to keep in the file's `metadata` beside the map's own and its name.

    Returns:
      The resolutions written, in bp.

    Raises:
      InputError: bad counts in the map.
      OSError: the disk is full or not writable.
    """
    import cooler
    import h5py

    zoomed = path.suffix.lower() == ".mcool"
    integers, pixels = True, 0
    for pair in contact_map.pairs():
        matrix = contact_map.matrix(*pair)
        integers &= np.issubdtype(matrix.dtype, np.integer)
        pixels += matrix.nnz
    bins = sum(contact_map.n_bins(chrom) for chrom in contact_map.chromsizes)
    # Beforehand, because HDF5 may crash the process after a write that found the disk full. About twice
    # what compressed pixels take (1.3 to 1.5 bytes each in real maps); zoom levels need a second copy.
    check_space(path, (24 * bins + pixels * (3 if integers else 8)) * (3 if zoomed else 1))
    # No pixel of any zoom level exceeds the total.
    small = contact_map.total_count <= np.iinfo(np.int32).max
    dtypes = {"count": (np.int32 if small else np.int64) if integers else np.float64}
    cis_only = all(chrom1 == chrom2 for chrom1, chrom2 in contact_map.pairs())
    metadata = {**contact_map.metadata, "name": contact_map.name, **(metadata or {})}

    with complete_or_absent(path) as folder:
        plain = folder / "plain.cool"
        cooler.create_cooler(
            str(plain),
            _bins(contact_map),
            _pixels(contact_map),
            dtypes=dtypes,
            ordered=True,
            metadata=metadata,
        )
        with h5py.File(plain, "r+") as file:
            # Cooler guesses the width from the bins, wrongly where all chromosomes are shorter than one.
            file.attrs.update({"bin-type": "fixed", "bin-size": contact_map.resolution})
        resolutions = [contact_map.resolution]
        result, groups = plain, ["/"]
        if zoomed:
            resolutions = zoom_levels(contact_map.resolution, contact_map.chromsizes)
            result = folder / "zoomed.mcool"
            cooler.zoomify_cooler(
                str(plain), str(result), resolutions, chunksize=5_000_000, dtypes=dtypes, metadata=metadata
            )
            groups = [f"/resolutions/{resolution}" for resolution in resolutions]
        if balance:
            for group in groups:
                # Over chromosomes that do not touch, the genome-wide iteration swings for ever.
                cooler.balance_cooler(cooler.Cooler(f"{result}::{group}"), cis_only=cis_only, store=True)
        os.replace(result, path)
    return resolutions


def _bins(contact_map: ContactMap):
    import cooler
    import pandas as pd

    return cooler.binnify(pd.Series(contact_map.chromsizes), contact_map.resolution)


def _pixels(contact_map: ContactMap) -> Iterator[dict[str, np.ndarray]]:
    """Yields the pixels sorted by row and column, some rows of one chromosome at a time."""
    names = list(contact_map.chromsizes)
    sizes = [contact_map.n_bins(chrom) for chrom in names]
    offset = dict(zip(names, np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist(), strict=True))
    partners: dict[str, list[str]] = {}
    for chrom1, chrom2 in contact_map.pairs():
        partners.setdefault(chrom1, []).append(chrom2)
    if not partners:
        # Cooler leaves a pixel of its own making in a file that nothing is written to.
        yield {"bin1_id": np.empty(0, int), "bin2_id": np.empty(0, int), "count": np.empty(0, int)}
    for chrom1 in partners:
        held = [(offset[chrom2], contact_map.matrix(chrom1, chrom2)) for chrom2 in partners[chrom1]]
        before = sum(matrix.indptr.astype(np.int64) for _, matrix in held)
        starts = np.flatnonzero(np.diff(before[:-1] // PIXELS_AT_ONCE, prepend=-1)).tolist()
        for first, last in zip(starts, [*starts[1:], len(before) - 1], strict=True):
            parts = []
            for start, matrix in held:
                part = matrix[first:last].tocoo()
                parts.append((part.row, part.col + np.int64(start), part.data))
            rows, cols, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
            order = np.lexsort((cols, rows)) if len(parts) > 1 else slice(None)
            yield {
                "bin1_id": rows[order] + np.int64(offset[chrom1] + first),
                "bin2_id": cols[order],
                "count": counts[order],
            }
