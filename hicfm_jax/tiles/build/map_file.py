"""A contact map by its file: what is needed to open it again, in another process or on another machine."""

import dataclasses
import os
from collections.abc import Mapping, Sequence

from hicfm_jax.contacts import ContactMap, open_contacts
from hicfm_jax.contacts.formats import stem, used_options
from hicfm_jax.errors import InputError


@dataclasses.dataclass(frozen=True)
class MapFile:
    """The arguments of `contacts.open_contacts`.

    Attributes:
      uri: the file, optionally `FILE::/group`.
      resolution: bin width in bp.
      engine, weight, weight_kind, chromsizes: as for `open_contacts`.
    """

    uri: str
    resolution: int | None = None
    engine: str | None = None
    weight: str | None = None
    weight_kind: str | None = None
    chromsizes: str | None = None

    def open(self) -> ContactMap:
        """Opens the map; raises InputError if that fails."""
        options = {name: value for name, value in dataclasses.asdict(self).items() if value is not None}
        return open_contacts(**options)

    def state(self) -> list[int]:
        """Size and time of change of its files: the same while nobody has written to them."""
        paths = [self.uri.partition("::")[0], *([self.chromsizes] if self.chromsizes else [])]
        return [number for path in paths for number in (os.stat(path).st_size, os.stat(path).st_mtime_ns)]


class OpenMaps:
    """Contact maps by assay name, opened when asked for; only the last of them stays open.

    A map keeps its last chromosome pair in memory, so many open ones would add up.
    """

    def __init__(self, sources: Mapping[str, ContactMap | MapFile]):
        """Takes files, or maps that are open already and stay so."""
        self._sources = sources
        self._last: tuple[str, ContactMap] | None = None

    def __getitem__(self, assay: str) -> ContactMap:
        source = self._sources[assay]
        if not isinstance(source, MapFile):
            return source
        if self._last is None or self._last[0] != assay:
            self._last = None  # frees the old map before the new one is opened
            self._last = assay, source.open()
        return self._last[1]


def map_files(inputs: Sequence[str], resolution: int, **options: str | None) -> dict[str, MapFile]:
    """The files of `parse_inputs` with the options that each of their formats has a use for.

    Raises:
      InputError: two of one name, or an option that no file has a use for.
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
            raise InputError(f"--{name}={value} is no choice for any of the inputs: leave it out.")
    return files


def parse_inputs(values: Sequence[str]) -> dict[str, str]:
    """URIs by assay name, from `URI` (named by its file) or `NAME=URI` (no / in NAME).

    Raises:
      InputError: two of one name.
    """
    uris = {}
    for value in values:
        name, named, uri = value.partition("=")
        if not named or "/" in name:  # no name, or the = is part of the path
            name, uri = stem(value), value
        if name in uris:
            raise InputError(f"Two inputs are named {name!r}: name them apart with --input=NAME=FILE.")
        uris[name] = uri
    return uris
