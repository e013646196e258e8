"""Single-cell cooler files, `.scool`: many maps on one table of bins."""

import json
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping

import numpy as np

from hicfm_jax.contacts.cached_map import cached_beside
from hicfm_jax.contacts.chromsizes import choose_resolution
from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats.binned_contacts import BinnedContacts
from hicfm_jax.contacts.formats.cool import (
    CoolReader,
    bin_table,
    check_cool,
    open_group,
    pixel_layout,
    sorted_pixels,
)
from hicfm_jax.contacts.formats.reading_process import ReadingProcess
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file, check_space

CELLS = "/cells/"
"""Group of the cells in the file; https://cooler.readthedocs.io/en/latest/schema.html."""


class ScoolReader(CoolReader):
    """The cells of one file. Its generator methods are called in a `ReadingProcess`."""

    def groups(self) -> Iterator[dict[str, int | None]]:
        """The cells in the order of their names: group -> bin width in bp.

        All cells share the bins of the first one, so that the others need not be opened.
        """
        names = {name.rpartition("/")[2] for name in self._coolers(self._file, set()) if CELLS in name}
        cells = sorted(names)
        if not cells:
            raise InputError(f"{self.path} has no cells at ::{CELLS[:-1]}: give a .scool file.")
        width = int(self._file[CELLS + cells[0]].attrs["bin-size"])
        yield {CELLS + cell: width for cell in cells}

    def genome(self, group: str) -> Iterator[tuple[np.ndarray, ...]]:
        """All pixels of a cell, in parts: bins numbered over the genome, and counts."""
        _, offset, _ = self._open(group)
        yield from self._parts(group, 0, offset[-1])


def open_scool(
    path: str,
    resolution: int | None = None,
    group: str = "",
    weight: str | None = None,
    weight_kind: str | None = None,
) -> ContactMap:
    """Opens one cell, `FILE::/cells/NAME`, the only one, or `FILE::/cells`, the sum of all cells.

    See `open_contacts` for arguments and errors.
    """
    reader = ReadingProcess(ScoolReader, path)
    widths = reader.ask("groups")
    if len(widths) > 1 and not group:
        listed = ", ".join(f"{path}::{cell}" for cell in list(widths)[:10])
        raise InputError(
            f"{path} holds {len(widths)} cells: choose one of {listed}, or their sum, {path}::{CELLS[:-1]}."
        )
    if len(widths) == 1 or group.strip("/") != CELLS.strip("/"):
        return open_group(reader, widths, resolution, group, weight, weight_kind)
    if weight is not None:
        raise InputError(f"{path}::{group} is the sum of all cells, which has no weights: leave weight out.")
    first, width = next(iter(widths.items()))
    choose_resolution(path, [width], resolution)
    sizes, _ = reader.ask("layout", first)
    binned = BinnedContacts(sizes, width, np.float64)
    for cell in widths:
        for bin1, bin2, count in reader.stream("genome", cell):
            binned.add(bin1, bin2, count.astype(np.float64))
    binned.finish(path)
    stored = binned.as_map(f"{path}::{CELLS[:-1]}")
    return stored if resolution in (None, width) else stored.coarsen(resolution // width)


class ScoolCells(Mapping[str, ContactMap]):
    """The cells of a file by name, each opened when it is asked for, all by one reading process.

    Args:
      path: the file.
      resolution: bin width in bp, see `open_contacts`.

    Raises:
      InputError: a damaged file, one without cells, or a resolution that it does not have.
    """

    def __init__(self, path: str, resolution: int | None = None):
        self._reader, self._resolution = ReadingProcess(ScoolReader, path), resolution
        self._widths = {name.removeprefix(CELLS): width for name, width in self._reader.ask("groups").items()}

    def __getitem__(self, name: str) -> ContactMap:
        group = CELLS + name
        return open_group(self._reader, {group: self._widths[name]}, self._resolution, group)

    def __iter__(self) -> Iterator[str]:
        return iter(self._widths)

    def __len__(self) -> int:
        return len(self._widths)


def write_cells(
    cells: Iterable[tuple[str, ContactMap]],
    path: str | os.PathLike,
    metadata: Mapping[str, object] | None = None,
) -> list[str]:
    """Writes maps as the cells of a `.scool`, one after another; the file appears when it is complete.

    Args:
      cells: name and map of each cell, all on the same chromosomes and resolution. Whole counts are stored
        as integers, others as float64; each cell's own metadata beside them.
      path: the file; an existing one is replaced.
      metadata: of the whole file.

    Returns:
      The names of the cells written.

    Raises:
      InputError: no cells, a name that occurs twice or has a `/`, bins that differ, or bad counts.
      OSError: the disk is full or not writable.
    """
    import cooler
    import h5py

    path, layout, written = pathlib.Path(path), None, {}
    with atomic_file(path) as result:
        for name, contact_map in cells:
            if not name or "/" in name or name in written:
                why = "occurs twice" if name in written else "cannot be stored"
                raise InputError(f"{path}: the cell name {name!r} {why}: give each cell a name without '/'.")
            own = contact_map.chromsizes, contact_map.resolution
            if layout is None:
                layout = own
                check_cool(str(path), own[0])
                bins = bin_table(contact_map)
            elif own != layout or list(own[0]) != list(layout[0]):
                raise InputError(
                    f"{path}: {contact_map.name} has other chromosomes or another bin width than the first "
                    "cell: write it to a file of its own."
                )
            contact_map = cached_beside(contact_map, result)
            dtypes, size = pixel_layout(contact_map)
            check_space(path, size)
            cooler.create_scool(
                str(result),
                bins,
                {name: sorted_pixels(contact_map)},
                dtypes=dtypes,
                ordered=True,
                metadata={**contact_map.metadata, "name": contact_map.name},
                mode="a" if written else "w",
            )
            written[name] = None
        if layout is None:
            raise InputError(f"{path}: there are no cells to write.")
        with h5py.File(result, "r+") as file:
            # Cooler gives the file the metadata of its last cell, and guesses the width from the bins,
            # wrongly where all chromosomes are shorter than one.
            file.attrs["metadata"] = json.dumps(dict(metadata or {}))
            for group in (file, *(file[CELLS + name] for name in written)):
                group.attrs.update({"bin-type": "fixed", "bin-size": layout[1]})
    return list(written)
