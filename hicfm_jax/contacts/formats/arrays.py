"""Reading numpy's own formats: `.npy` matrices, and `.npz` of this project or of scipy.sparse.

Writing contact maps as `.npz`: arrays that numpy alone reads.
"""

import contextlib
import os
import pathlib
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.chromsizes import (
    add_length,
    check_bins,
    choose_resolution,
    need_resolution,
    read_chromsizes,
)
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats.matrices import check_total, map_of_matrices, sparse_from_arrays
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_space


def open_array(
    path: str, resolution: int | None, chromsizes: Mapping[str, int] | str | os.PathLike | None = None
) -> ContactMap:
    """Opens a `.npy` or `.npz` file.

    A `.npy` holds the dense matrix of one chromosome, symmetric or upper triangular; it is mapped, not
    loaded. A `.npz` is what `write_contacts` wrote (a whole genome, loaded pair by pair), or what
    `scipy.sparse.save_npz` wrote (coo, csr or csc, one chromosome). A single chromosome is called what
    `chromsizes` calls its only one, or else like the file without its suffix.

    Args:
      path: the file.
      resolution: bin width in bp; needed but for our own `.npz`, where None takes the stored one and a
        multiple is summed up.
      chromsizes: mapping or two-column file of lengths in bp, for files of one chromosome; without it the
        chromosome is as long as its bins.

    Raises:
      InputError: a damaged file, pickled objects, or a matrix that is no contact map.
    """
    if pathlib.Path(path).suffix.lower() == ".npy":
        with _damage_reported(path):
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        return _one_chromosome(path, matrix, resolution, chromsizes)
    with _damage_reported(path), zipfile.ZipFile(path) as file:
        held = {name.removesuffix(".npy") for name in file.namelist()}
        if "format" in held:
            matrix = _scipy_matrix(path, file, held)
        elif not {"chromosomes", "lengths", "resolution", "pairs"} <= held:
            raise InputError(
                f"{path} holds {str(sorted(held)[:8])[:200]}, expected what write_contacts or "
                "scipy.sparse.save_npz writes to an .npz."
            )
        else:
            return _GenomeFile(path, file).contact_map(resolution)
    return _one_chromosome(path, matrix, resolution, chromsizes)


def single_name(path: str, chromsizes: Mapping[str, int] | None) -> str:
    """What a matrix without a name is called: the only name there is, or the file without its suffix."""
    return next(iter(chromsizes)) if chromsizes and len(chromsizes) == 1 else pathlib.Path(path).stem


def _one_chromosome(path: str, matrix: object, resolution: int | None, chromsizes: object) -> ContactMap:
    width = need_resolution(resolution, path)
    sizes = read_chromsizes(chromsizes)
    name = single_name(path, sizes)
    return map_of_matrices(path, {(name, name): matrix}, width, sizes)


class _GenomeFile:
    """A map that `write_npz` wrote; its docstring says which arrays there are."""

    def __init__(self, path: str, file: zipfile.ZipFile):
        self.path = path
        names, lengths = _member(path, file, "chromosomes", "U"), _member(path, file, "lengths", "iu")
        width = _member(path, file, "resolution", "iu")
        if not (names.ndim == lengths.ndim == 1 and names.size == lengths.size and width.size == 1):
            raise ValueError(f"{names.size} chromosomes with {lengths.size} lengths")
        self.chromsizes: dict[str, int] = {}
        for name, length in zip(names.tolist(), lengths.tolist(), strict=True):
            add_length(self.chromsizes, name, str(length), path)
        self.resolution = width.item()
        if not self.chromsizes or self.resolution <= 0:
            raise ValueError(f"resolution {self.resolution}, {len(self.chromsizes)} chromosomes")
        check_bins(self.chromsizes, self.resolution, path)
        self.index = {chrom: number for number, chrom in enumerate(self.chromsizes)}
        pairs = _member(path, file, "pairs", "iu")
        if pairs.ndim != 2 or pairs.shape[1] != 2:
            raise ValueError(f"pairs of shape {pairs.shape}")
        names = list(self.chromsizes)
        if not all(0 <= one <= two < len(names) for one, two in pairs.tolist()):
            raise ValueError("pairs of unknown or swapped chromosomes")
        self.pairs = {(names[one], names[two]) for one, two in pairs.tolist()}

    def contact_map(self, resolution: int | None) -> ContactMap:
        choose_resolution(self.path, [self.resolution], resolution)
        held = ContactMap(self.chromsizes, self.resolution, self.load, self.path, pairs=lambda: self.pairs)
        return held if resolution in (None, self.resolution) else held.coarsen(resolution // self.resolution)

    def load(self, chrom1: str, chrom2: str) -> scipy.sparse.sparray:
        shape = tuple(-(-self.chromsizes[chrom] // self.resolution) for chrom in (chrom1, chrom2))
        if (chrom1, chrom2) not in self.pairs:
            return scipy.sparse.csr_array(shape, dtype=np.int64)
        ending = f"{self.index[chrom1]}_{self.index[chrom2]}"
        with _damage_reported(self.path), zipfile.ZipFile(self.path) as file:
            kinds = {"row": "iu", "col": "iu", "count": "iuf"}
            arrays = {kind: _member(self.path, file, f"{kind}_{ending}", kinds[kind]) for kind in kinds}
        arrays["data"] = arrays.pop("count")
        where = f"{self.path}, chromosome {chrom1} x {chrom2}"
        counts = sparse_from_arrays("coo", shape, arrays, where)
        check_total(counts, where)
        return counts


def _scipy_matrix(path: str, file: zipfile.ZipFile, held: set[str]) -> scipy.sparse.sparray:
    layout = str(_member(path, file, "format", "SU").astype(str).item())
    shape = _member(path, file, "shape", "iu").tolist()
    arrays = {
        name: _member(path, file, name, "biuf")
        for name in ("data", "row", "col", "indices", "indptr", "coords")
        if name in held
    }
    if "coords" in arrays:  # coo arrays of scipy 1.13 and later
        arrays["row"], arrays["col"] = arrays["coords"]
    return sparse_from_arrays(layout, shape, arrays, path)


def _member(path: str, file: zipfile.ZipFile, name: str, kinds: str) -> np.ndarray:
    """One array of a `.npz`; its size is checked before room is made for it."""
    info = file.getinfo(f"{name}.npy")
    with file.open(info) as member:
        version = np.lib.format.read_magic(member)
        read = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read[version](member)
        if dtype.kind not in kinds:
            raise InputError(
                f"{path} holds {name} of type {dtype}, expected numbers or names: write it again."
            )
        size = dtype.itemsize
        for length in shape:
            size *= int(length)
        if member.tell() + size != info.file_size:
            raise ValueError(f"{name} says {size} bytes, {info.file_size - member.tell()} are there")
    with file.open(info) as member:
        return np.lib.format.read_array(member, allow_pickle=False)


@contextlib.contextmanager
def _damage_reported(path: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except (
        ValueError, TypeError, LookupError, EOFError, OSError, OverflowError, RuntimeError, SyntaxError,
        MemoryError, NotImplementedError, struct.error, tokenize.TokenError, zlib.error, zipfile.BadZipFile,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split())[:200]
        raise InputError(
            f"{path} cannot be read as numpy arrays ({reason}): it may be truncated or of another kind; make "
            "it again."
        ) from error


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
    with atomic_file(path) as partial:
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


def _add(file: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
