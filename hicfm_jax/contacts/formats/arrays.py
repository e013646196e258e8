"""Numpy files: `.npy` matrices, and `.npz` of this project or of scipy.sparse."""

import functools
import os
import pathlib
import zipfile
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
from hicfm_jax.contacts.contact_map import ContactMap, Pair, check_counts, check_same
from hicfm_jax.contacts.formats.matrices import MatrixReader, map_of_matrices, single_name
from hicfm_jax.contacts.formats.reading_process import ReadingProcess, lazy_map
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_inflated, check_space

Chromsizes = Mapping[str, int] | str | os.PathLike | None


def open_array(path: str, resolution: int | None, chromsizes: Chromsizes = None) -> ContactMap:
    """Opens the matrix of one chromosome, symmetric or upper triangular.

    Args:
      path: a dense matrix in a `.npy` file, which is mapped rather than loaded, or an `.npz` file of
        `scipy.sparse.save_npz`.
      resolution: bin width in bp.
      chromsizes: mapping or two-column file of lengths in bp. If it has one name, that is the chromosome's,
        otherwise the file's name. Without it the chromosome is as long as its bins.

    Raises:
      InputError: a damaged file, pickled objects, or a matrix that is not a contact map.
    """
    width, sizes = need_resolution(resolution, path), read_chromsizes(chromsizes)
    name = single_name(path, sizes)
    return map_of_matrices(ReadingProcess(ArrayReader, path), {(name, name): None}, width, sizes)


def open_npz(path: str, resolution: int | None = None, chromsizes: Chromsizes = None) -> ContactMap:
    """Opens an `.npz` file of `write_npz`, a whole genome, or of scipy.sparse; errors as of `open_array`.

    For a whole genome, resolution None takes the stored one, a multiple is summed up, and chromsizes are not
    used.
    """
    reader = ReadingProcess(GenomeReader, path)
    if reader.ask("is_scipy"):
        return open_array(path, resolution, chromsizes)
    sizes, width, pairs = reader.ask("layout")
    choose_resolution(path, [width], resolution)
    total = {"total_count": lambda: reader.ask("total")}
    stored = lazy_map(reader, sizes, width, path, pairs=lambda: pairs, **total)
    return stored if resolution in (None, width) else stored.coarsen(resolution // width)


class ArrayReader(MatrixReader):
    """A `.npy` file, or an `.npz` file of scipy.sparse."""

    MEMORY_PER_BYTE = 40  # of a compressed file

    def __init__(self, path: str):
        if path.lower().endswith(".npy"):
            matrix = np.load(path, mmap_mode="r", allow_pickle=False)
        else:
            check_inflated(path)
            matrix = scipy.sparse.load_npz(path)
            if matrix.format != "coo":  # which is always checked
                matrix.check_format(full_check=True)
        super().__init__({None: matrix})


class GenomeReader:
    """An `.npz` file of `write_npz`. The generator methods are called in a `ReadingProcess`."""

    MEMORY_PER_BYTE = 40  # of a compressed file

    def __init__(self, path: str):
        self.path = path
        check_inflated(path)
        self._file = np.load(path, allow_pickle=False)
        self._names = names = set(self._file.files)
        if "format" not in names and not {"chromosomes", "lengths", "resolution", "pairs"} <= names:
            raise InputError(
                f"{path} holds {str(sorted(names)[:8])[:200]}, expected the arrays of an .npz of "
                "write_contacts or scipy.sparse.save_npz."
            )

    def is_scipy(self) -> Iterator[bool]:
        """Whether scipy.sparse wrote the file."""
        yield "format" in self._names

    def layout(self) -> Iterator[tuple[dict[str, int], int, list[Pair]]]:
        """Chromosome lengths in bp, bin width in bp, and the pairs that are stored."""
        sizes: dict[str, int] = {}
        for name, length in zip(self._file["chromosomes"], self._file["lengths"], strict=True):
            add_length(sizes, str(name), str(length), self.path)
        resolution = int(self._file["resolution"])
        if not sizes or resolution <= 0:
            raise ValueError(f"resolution {resolution}, {len(sizes)} chromosomes")
        check_bins(sizes, resolution, self.path)
        numbers = self._file["pairs"]
        if numbers.dtype.kind not in "iu" or not ((numbers >= 0) & (numbers < len(sizes))).all():
            raise ValueError("pairs of unknown chromosomes")
        names = list(sizes)
        yield sizes, resolution, [(names[one], names[two]) for one, two in numbers.tolist()]

    def pixels(self, chrom1: str, chrom2: str) -> Iterator[tuple[np.ndarray, ...]]:
        """Rows, columns and counts of a pair."""
        ending = f"{self._numbers[chrom1]}_{self._numbers[chrom2]}"
        if f"row_{ending}" in self._names:
            rows, cols, counts = (self._file[f"{kind}_{ending}"] for kind in ("row", "col", "count"))
            if rows.dtype.kind + cols.dtype.kind not in ("ii", "uu") or counts.dtype.kind not in "iuf":
                raise ValueError(f"row_{ending}, col_{ending} or count_{ending} are no numbers")
            yield rows, cols, counts

    def total(self) -> Iterator[float]:
        """Sum of all counts."""
        total = 0.0
        for name in sorted(self._names):
            if name.startswith("count_"):
                counts = self._file[name]
                check_counts(counts, self.path)
                total += counts.sum(dtype=np.float64).item()
        yield total

    @functools.cached_property
    def _numbers(self) -> dict[str, int]:
        return {name: number for number, name in enumerate(self._file["chromosomes"].tolist())}


def write_npz(contact_map: ContactMap, path: pathlib.Path) -> None:
    """Writes a map as a compressed `.npz`, one chromosome pair in memory at a time.

    Members: `name`, `resolution` (bp), `chromosomes` [C], `lengths` [C] (bp), `pairs` [P, 2] (numbers i <= j
    of the chromosomes), and for each pair `row_i_j`, `col_i_j`, `count_i_j` [pixels]: bins counted from 0
    within their chromosome, upper triangle where i = j, sorted by row and column. A map with standard
    deviations also has `sd_i_j`, which `open_npz` does not read.

    Raises:
      InputError: bad counts in the map.
      OSError: the disk is full or not writable.
    """
    index = {chrom: number for number, chrom in enumerate(contact_map.chromsizes)}
    check_space(
        path,
        (12 if contact_map.sd is None else 20)
        * sum(contact_map.block(block).nnz for block in contact_map.blocks()),
    )
    with atomic_file(path) as partial:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED, compresslevel=4) as file:
            _add(file, "name", np.array(contact_map.name))
            _add(file, "resolution", np.array(contact_map.resolution))
            _add(file, "chromosomes", np.array(list(index)))
            _add(file, "lengths", np.array(list(contact_map.chromsizes.values()), dtype=np.int64))
            pairs = []
            deviations = contact_map.sd.pixels() if contact_map.sd is not None else None
            for pair, rows, cols, counts in contact_map.pixels():
                pairs.append([index[chrom] for chrom in pair])
                members = {"row": rows.astype(np.int32), "col": cols.astype(np.int32), "count": counts}
                if deviations is not None:
                    members["sd"] = next(deviations)[-1]
                for kind, values in members.items():
                    _add(file, f"{kind}_{pairs[-1][0]}_{pairs[-1][1]}", values)
            _add(file, "pairs", np.array(pairs, dtype=np.int32).reshape(-1, 2))
        check_same(open_npz(str(partial)), contact_map, path)


def _add(file: zipfile.ZipFile, name: str, array: np.ndarray) -> None:
    with file.open(f"{name}.npy", "w", force_zip64=True) as member:
        np.lib.format.write_array(member, array, allow_pickle=False)
