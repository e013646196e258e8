"""Writing contact maps to `.cool` and `.mcool` files."""

import contextlib
import errno
import os
import pathlib
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.readers import SUFFIXES
from hicfm_jax.errors import InputError

COARSEST_BINS = 200
"""Zoom levels of a `.mcool` stop before its genome has fewer bins: about one screen tile."""


def write_contacts(
    contact_map: ContactMap,
    path: str | os.PathLike,
    balance: bool = False,
    metadata: Mapping[str, object] | None = None,
) -> list[int]:
    """Writes a map as `.cool`, or as `.mcool` with zoom levels in steps of 1, 2, 5, 10.

    Whole counts are stored as integers, others as float64. The file appears under its name only when
    it is complete.

    Args:
      contact_map: what to write.
      path: where; an existing file is replaced.
      balance: also store ICE weights (column `weight`, multiplicative) at each resolution.
      metadata: what to keep in the file's `metadata` beside the map's name.

    Returns:
      The resolutions written, in bp.

    Raises:
      InputError: another suffix, a folder that is not there, or bad counts in the map.
      OSError: the disk is full or not writable.
    """
    path = pathlib.Path(path)
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise InputError(
            f"{path}: cannot write {suffix or 'a file without a suffix'}, expected {' or '.join(SUFFIXES)}."
        )
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}: make it first.")
    if path.is_dir():
        raise InputError(f"{path} is a directory: give a file name.")

    import cooler
    import h5py

    integers, pixels = True, 0
    for pair in contact_map.pairs():
        matrix = contact_map.matrix(*pair)
        integers &= np.issubdtype(matrix.dtype, np.integer)
        pixels += matrix.nnz
    bins = sum(contact_map.n_bins(chrom) for chrom in contact_map.chromsizes)
    _check_space(path, (24 * bins + pixels * (3 if integers else 8)) * (3 if suffix == ".mcool" else 1))
    # No pixel of any zoom level exceeds the total.
    small = contact_map.total_count <= np.iinfo(np.int32).max
    dtypes = {"count": (np.int32 if small else np.int64) if integers else np.float64}
    cis_only = all(chrom1 == chrom2 for chrom1, chrom2 in contact_map.pairs())
    metadata = {"name": contact_map.name, **(metadata or {})}

    with _complete_or_absent(path) as folder:
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
        if suffix == ".mcool":
            resolutions = _zoom_levels(contact_map)
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


@contextlib.contextmanager
def _complete_or_absent(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder beside `path` to write in, gone afterwards."""
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.name}.") as folder:
        try:
            yield pathlib.Path(folder)
        except (OSError, RuntimeError) as error:
            number = getattr(error, "errno", None) or _hdf5_errno(error)
            if number is None:
                raise
            # HDF5 keeps a file open that it could not flush, and may crash if it still cannot at exit.
            for written in pathlib.Path(folder).iterdir():
                os.truncate(written, 0)
            raise OSError(number, os.strerror(number), str(path)) from error


def _check_space(path: pathlib.Path, needed: int) -> None:
    # Beforehand, because HDF5 may crash the process after a write that found the disk full. About twice
    # what compressed pixels take (1.3 to 1.5 bytes each in real maps); zoom levels need a second copy.
    if shutil.disk_usage(path.parent).free < needed + 500_000:
        raise OSError(errno.ENOSPC, f"up to {needed / 1e6 + 0.5:.1f} MB are needed there", str(path))


def _hdf5_errno(error: Exception) -> int | None:
    found = re.search(r"errno = (\d+)", str(error))
    return int(found.group(1)) if found else None


def _zoom_levels(contact_map: ContactMap) -> list[int]:
    coarsest = max(sum(contact_map.chromsizes.values()) // COARSEST_BINS, contact_map.resolution)
    steps = (step * 10**decade for decade in range(10) for step in (1, 2, 5))
    return [level for level in (contact_map.resolution * step for step in steps) if level <= coarsest]


def _bins(contact_map: ContactMap):
    import cooler
    import pandas as pd

    return cooler.binnify(pd.Series(contact_map.chromsizes), contact_map.resolution)


def _pixels(contact_map: ContactMap) -> Iterator[dict[str, np.ndarray]]:
    """Yields the pixels of one chromosome's rows after the other, sorted by row and column."""
    names = list(contact_map.chromsizes)
    sizes = [contact_map.n_bins(chrom) for chrom in names]
    offset = dict(zip(names, np.concatenate([[0], np.cumsum(sizes)[:-1]]).tolist(), strict=True))
    partners: dict[str, list[str]] = {}
    for chrom1, chrom2 in contact_map.pairs():
        partners.setdefault(chrom1, []).append(chrom2)
    for chrom1 in partners:
        parts = []
        for chrom2 in partners[chrom1]:
            part = contact_map.matrix(chrom1, chrom2).tocoo()
            parts.append((part.row, part.col + np.int64(offset[chrom2]), part.data))
        rows, cols, counts = (np.concatenate(column) for column in zip(*parts, strict=True))
        order = np.lexsort((cols, rows)) if len(parts) > 1 else slice(None)
        yield {
            "bin1_id": rows[order] + np.int64(offset[chrom1]),
            "bin2_id": cols[order],
            "count": counts[order],
        }
