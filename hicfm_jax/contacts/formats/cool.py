"""Opening one cooler (a group of a `.cool` or `.mcool` file) and loading it pair by pair.

Writing contact maps as `.cool`, and as `.mcool` with zoom levels.
"""

import functools
import pathlib
from collections.abc import Iterator, Mapping

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.balancing import balance, settle_kind
from hicfm_jax.contacts.chromsizes import choose_resolution, zoom_levels
from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.contacts.formats.cool_pixels import CoolPixels
from hicfm_jax.contacts.formats.reading_process import ReadingProcess
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_space


def open_cool(
    path: str,
    group: str = "",
    resolution: int | None = None,
    weight: str | None = None,
    weight_kind: str | None = None,
) -> ContactMap:
    """A map from a `.cool` or `.mcool` file; see `open_contacts` for the arguments and errors."""
    reader = ReadingProcess(CoolPixels, path)
    held = reader.ask("groups")
    if not held:
        raise InputError(f"{path} is an HDF5 file without a cooler in it: give a .cool or .mcool file.")
    inside = "/" + group.strip("/")
    chosen = {name: width for name, width in held.items() if _within(name, inside)}
    if not chosen:
        raise InputError(f"{path} has no cooler at ::{inside}, expected one of {', '.join(held)}.")
    fixed = {name: width for name, width in chosen.items() if width}
    if not fixed:
        raise InputError(f"{path} has bins of varying width, expected one width: bin it anew.")

    source = choose_resolution(path, fixed.values(), resolution)
    groups = [name for name, width in fixed.items() if width == source]
    if len(groups) > 1:
        raise InputError(
            f"{path} holds {len(groups)} maps at {source} bp: choose one of "
            + ", ".join(f"{path}::{name}" for name in groups[:10])
            + "."
        )
    if weight is None:
        if weight_kind is not None:
            raise InputError(f"weight_kind={weight_kind!r} without a weight: name one with weight=COLUMN.")
        raw = CoolFile(reader, groups[0], source).contact_map()
        return raw if resolution in (None, source) else raw.coarsen(resolution // source)

    where = {width: name for name, width in fixed.items() if weight in reader.ask("weight_names", name)}
    if (resolution or source) not in where:
        if not where:
            columns = ", ".join(reader.ask("weight_names", groups[0])) or "none"
            raise InputError(f"{path} has no weights {weight!r}, its columns of weights: {columns}.")
        raise InputError(
            f"{path} has weights {weight!r} at {', '.join(map(str, sorted(where)))} bp, not at "
            f"{resolution or source} bp, and weights hold for one resolution only: choose one of these."
        )
    return CoolFile(reader, groups[0], source).balanced(weight, weight_kind)


class CoolFile:
    """One cooler of an open file.

    Args:
      reader: of `CoolPixels`.
      group: the HDF5 group that holds the cooler, `/` in a plain `.cool`.
      resolution: its bin width in bp.

    Raises:
      InputError: a damaged file, bins that are not of one width, or a storage mode other than
        `symmetric-upper`.
    """

    def __init__(self, reader: ReadingProcess, group: str, resolution: int):
        self.reader = reader
        self.group = group
        self.resolution = resolution
        self.name = reader.path if group == "/" else f"{reader.path}::{group}"
        self.chromsizes = reader.ask("chromsizes", group)
        self.metadata = reader.ask("metadata", group)
        self._names = list(self.chromsizes)
        self._index = {chrom: index for index, chrom in enumerate(self._names)}
        bins = [-(-size // resolution) for size in self.chromsizes.values()]
        self._bins = dict(zip(self._names, bins, strict=True))

    def contact_map(self) -> ContactMap:
        """A ContactMap of raw counts that reads from this file."""
        return ContactMap(
            self.chromsizes,
            self.resolution,
            self.load,
            self.name,
            total_count=lambda: self._summary[0],
            pairs=lambda: self._summary[1],
            metadata=self.metadata,
        )

    def balanced(self, weight: str, kind: str | None) -> ContactMap:
        """A ContactMap balanced with a column of the bin table."""
        values, stated = self.reader.ask("weights", self.group, weight)
        if stated is None and weight == "weight":
            stated = "multiplicative"  # https://cooler.readthedocs.io/en/latest/schema.html
        kind = settle_kind(self.name, weight, stated, kind)
        ends = np.cumsum(list(self._bins.values()))
        return balance(
            self.contact_map(),
            lambda chrom: values[ends[self._index[chrom]] - self._bins[chrom] : ends[self._index[chrom]]],
            kind,
            weight,
        )

    def load(self, chrom1: str, chrom2: str) -> scipy.sparse.csr_array:
        """Counts of one pair, chrom1 not after chrom2: `[bins of chrom1, bins of chrom2]`."""
        shape = self._bins[chrom1], self._bins[chrom2]
        pieces = list(self.reader.stream("pixels", self.group, self._index[chrom1], self._index[chrom2]))
        if not pieces:
            return scipy.sparse.csr_array(shape, dtype=np.int64)
        rows, cols, counts = (np.concatenate(part) for part in zip(*pieces, strict=True))
        return scipy.sparse.coo_array((counts, (rows, cols)), shape).tocsr()

    @functools.cached_property
    def _summary(self) -> tuple[float, list[Pair]]:
        total, pairs = self.reader.ask("summary", self.group)
        return total, [(self._names[one], self._names[two]) for one, two in pairs]


def _within(name: str, group: str) -> bool:
    return group == "/" or name == group or name.startswith(group + "/")


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

    with atomic_file(path) as result:
        plain = result.with_name("plain.cool") if zoomed else result
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
        groups = ["/"]
        if zoomed:
            resolutions = zoom_levels(contact_map.resolution, contact_map.chromsizes)
            cooler.zoomify_cooler(
                str(plain), str(result), resolutions, chunksize=5_000_000, dtypes=dtypes, metadata=metadata
            )
            groups = [f"/resolutions/{resolution}" for resolution in resolutions]
        if balance:
            for group in groups:
                # Over chromosomes that do not touch, the genome-wide iteration swings for ever.
                cooler.balance_cooler(cooler.Cooler(f"{result}::{group}"), cis_only=cis_only, store=True)
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
