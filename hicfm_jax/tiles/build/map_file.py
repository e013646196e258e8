"""A contact map by its file, to open in other processes and machines."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.formats import stem, used_options
from hicfm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class MapFile:
    """The arguments of `contacts.open_contacts`."""

    uri: str  # optionally `FILE::/group`
    resolution: int | None = None  # bp
    engine: str | None = None
    weight: str | None = None
    weight_kind: str | None = None
    chromsizes: str | None = None

    def open(self) -> ContactMap:
        """Opens the map; raises InputError if that fails."""
        options = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return open_contacts(**options)

    def state(self) -> list[int]:
        """Size and time of change of its files, to notice a changed file."""
        files = map(os.stat, filter(None, (self.uri.partition("::")[0], self.chromsizes)))
        return [number for file in files for number in (file.st_size, file.st_mtime_ns)]


class OpenMaps:
    """Contact maps by assay name, opened on access; only the last one stays open.

    A map keeps its last chromosome pair in memory, so many open ones would add up.
    """

    def __init__(
        self, sources: Mapping[str, ContactMap | MapFile], opened: Mapping[str, ContactMap] | None = None
    ):
        """Takes files, or maps in memory; `opened` are files that need not be opened the first time."""
        self._sources, self._opened = sources, dict(opened or {})
        self._last: tuple[str, ContactMap] | None = None

    def __getitem__(self, assay: str) -> ContactMap:
        source = self._sources[assay]
        if not isinstance(source, MapFile):
            return source
        if self._last is None or self._last[0] != assay:
            self._last = None  # frees the old map before the new one is opened
            self._last = assay, self._opened.pop(assay, None) or source.open()
        return self._last[1]

    def close(self) -> None:
        """Frees all maps of files."""
        self._last = None
        self._opened.clear()


def map_files(inputs: Sequence[str], resolution: int, **options: str | None) -> dict[str, MapFile]:
    """The files of `parse_inputs`, each with the options that its format uses.

    Raises InputError for two inputs of one name, or an option that no input uses.
    """
    files = {}
    given = {name: value for name, value in options.items() if value is not None}
    for assay, uri in parse_inputs(inputs).items():
        used = used_options(uri)
        if "weight" in given and "weight" not in used:
            raise InputError(
                f"Input {assay!r} ({uri}) has no weights to balance with, and balanced and raw maps do not "
                "mix: leave --weight out, or this input."
            )
        files[assay] = MapFile(uri, resolution, **{name: given[name] for name in given if name in used})
    for name, value in given.items():
        if not any(name in used_options(file.uri) for file in files.values()):
            raise InputError(f"--{name}={value} does not apply to any of the inputs: leave it out.")
    return files


def parse_inputs(values: Sequence[str]) -> dict[str, str]:
    """URIs by assay name, from `URI` (named by its file) or `NAME=URI` (no / in NAME).

    Raises InputError for two inputs of one name.
    """
    uris = {}
    for value in values:
        name, named, uri = value.partition("=")
        if not named or "/" in name:  # no name, or the = is part of the path
            name, uri = stem(value), value
        if name in uris:
            raise InputError(
                f"Two inputs are named {name!r}: give them different names with --input=NAME=FILE."
            )
        uris[name] = uri
    return uris
