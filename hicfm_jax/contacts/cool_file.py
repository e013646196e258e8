"""Opening one cooler (a group of a `.cool` or `.mcool` file) and loading it pair by pair."""

import functools

import numpy as np
import scipy.sparse

from hicfm_jax.contacts.contact_map import ContactMap, Pair
from hicfm_jax.contacts.cool_pixels import CoolPixels
from hicfm_jax.contacts.reading_process import ReadingProcess
from hicfm_jax.contacts.resolutions import choose_resolution
from hicfm_jax.contacts.weights import balance, settle_kind
from hicfm_jax.errors import InputError


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
