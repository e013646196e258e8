"""Writing contact maps as `.npz`: arrays that numpy alone reads."""

import os
import pathlib
import zipfile

import numpy as np

from hicfm_jax.contacts.complete_file import check_space, complete_or_absent
from hicfm_jax.contacts.contact_map import ContactMap


def write_npz(contact_map: ContactMap, path: pathlib.Path) -> None:
    """Writes a map as a compressed `.npz`, one chromosome pair in memory at a time.

    Members: `name`, `resolution` (bp), `chromosomes` [C], `lengths` [C] (bp), `pairs` [P, 2] (numbers i <= j
    of the chromosomes), and for each pair `row_i_j`, `col_i_j`, `count_i_j` [pixels]: bins counted from 0
    within their chromosome, upper triangle where i = j, sorted by row and column.

    Args:
      contact_map: what to write.
      path: where; an existing file is replaced.

    Raises:
      InputError: bad counts in the map.
      OSError: the disk is full or not writable.
    """
    index = {chrom: number for number, chrom in enumerate(contact_map.chromsizes)}
    check_space(path, 12 * sum(contact_map.matrix(*pair).nnz for pair in contact_map.pairs()))
    with complete_or_absent(path) as folder:
        partial = folder / "map.npz"
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as file:
            _add(file, "name", np.array(contact_map.name))
            _add(file, "resolution", np.array(contact_map.resolution))
            _add(file, "chromosomes", np.array(list(index)))
            _add(file, "lengths", np.array(list(contact_map.chromsizes.values()), dtype=np.int64))
            pairs = [(index[chrom1], index[chrom2]) for chrom1, chrom2 in contact_map.pairs()]
            _add(file, "pairs", np.array(pairs, dtype=np.int32).reshape(-1, 2))
            for chrom1, chrom2 in contact_map.pairs():
                matrix = contact_map.matrix(chrom1, chrom2).tocoo()
                ending = f"{index[chrom1]}_{index[chrom2]}"
                _add(file, f"row_{ending}", matrix.row.astype(np.int32))
                _add(file, f"col_{ending}", matrix.col.astype(np.int32))
                _add(file, f"count_{ending}", matrix.data)
        os.replace(partial, path)


def _add(file: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
