"""Single cells from `.scool` files, lists of maps, and single maps."""

import os
from collections.abc import Iterator, Mapping

from hicfm_jax.contacts.contact_map import ContactMap
from hicfm_jax.contacts.formats import open_contacts, stem, suffixes
from hicfm_jax.contacts.formats.scool import CELLS, ScoolCells
from hicfm_jax.errors import InputError
from hicfm_jax.storage import check_text

LIST_SUFFIXES = (".list", ".txt")
"""Of text files with the URI of a map in each line."""


def open_cells(uri: str | os.PathLike, resolution: int | None = None) -> Mapping[str, ContactMap]:
    """The maps of several cells by name. Each is opened when it is asked for.

    Args:
      uri: a `.scool` file (all its cells), a cell of one (`FILE::/cells/NAME`), any other map of
        `open_contacts` (one cell), or a text file that lists maps: a URI in each line, relative to the
        folder of the list, and optionally a tab and the cell's name. Without one, a cell is called by its
        file. Lines that begin with `#` are left out.
      resolution: bin width in bp, see `open_contacts`.

    Raises:
      InputError: no such file, a damaged one, or a list that names no map or one cell twice; when a cell is
        asked for, what `open_contacts` raises.
    """
    path, _, group = os.fspath(uri).partition("::")
    if path.lower().endswith(".scool") and os.path.isfile(path) and not group.strip("/").partition("/")[2]:
        if group.strip("/") not in ("", CELLS.strip("/")):
            raise InputError(f"{path} has no cells at ::{group}: give {path} alone for all cells.")
        return ScoolCells(path, resolution)
    listed = _read_list(path) if path.lower().endswith(LIST_SUFFIXES) else None
    if listed is None:
        return _ListedCells({cell_name(os.fspath(uri)): os.fspath(uri)}, resolution)
    return _ListedCells(listed, resolution)


def cell_name(uri: str) -> str:
    """`a` for `maps/a.cool` and for `maps.scool::/cells/a`."""
    path, _, group = uri.partition("::")
    return group.rstrip("/").rpartition("/")[2] if path.lower().endswith(".scool") and group else stem(path)


class _ListedCells(Mapping[str, ContactMap]):
    """Maps by the name of the cell, opened when they are asked for."""

    def __init__(self, uris: Mapping[str, str], resolution: int | None):
        self._uris, self._resolution = dict(uris), resolution

    def __getitem__(self, name: str) -> ContactMap:
        return open_contacts(self._uris[name], self._resolution)

    def __iter__(self) -> Iterator[str]:
        return iter(self._uris)

    def __len__(self) -> int:
        return len(self._uris)


def _read_list(path: str) -> dict[str, str] | None:
    """Name -> URI of each line; None for a `.txt` whose first line is no map, which may hold contacts."""
    known, uris = tuple(suffixes()), {}
    if path.lower().endswith(".list"):
        check_text(path)
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                uri, *names = (word.strip() for word in line.split("\t"))
                if not uri or uri.startswith("#"):
                    continue
                where = f"{path}, line {number}"
                if not uri.partition("::")[0].lower().endswith(known) or len(names) > 1:
                    if not uris and not path.lower().endswith(".list"):
                        return None
                    raise InputError(
                        f"{where}, is {uri[:100]!r}, expected a map ({', '.join(known)}) and optionally a "
                        "tab and a name."
                    )
                name = names[0] if names else cell_name(uri)
                if name in uris:
                    raise InputError(
                        f"{where}: the cell {name!r} occurs twice: give it another name after a tab."
                    )
                uris[name] = os.path.join(os.path.dirname(path), uri)
    except (OSError, UnicodeDecodeError) as error:
        if not path.lower().endswith(".list"):
            return None  # for the reader of contacts to say
        raise InputError(f"{path} cannot be read: {error}.") from error
    if not uris:
        raise InputError(f"{path} lists no maps: give a URI in each line.")
    return uris
