"""The header and the index of a `.hic` file, read without a library that could stumble over it.

Layout: https://github.com/aidenlab/hic-format, versions 8 and 9.
"""

import contextlib
import dataclasses
import os
import struct
from collections.abc import Iterator

from hicfm_jax.errors import InputError

VERSIONS = (8, 9)


@dataclasses.dataclass
class HicIndex:
    """What a `.hic` file holds.

    Attributes:
      chromsizes: length of each chromosome in bp, in file order, without the pseudo-chromosome `All`.
      resolutions: bin widths in bp.
      totals: (chrom1, chrom2, resolution) -> the sum of raw counts that the file states. Pairs without
        contacts are absent.
    """

    chromsizes: dict[str, int]
    resolutions: list[int]
    totals: dict[tuple[str, str, int], float]


def read_index(path: str) -> HicIndex:
    """Reads and checks header and index.

    Raises:
      InputError: not a `.hic` file, another version, or damage.
    """
    with _opened(path) as (fields, version):
        return _read(fields, version)


def read_normalizations(path: str, resolution: int) -> list[str]:
    """Names of the normalizations at a resolution.

    Raises:
      InputError: as `read_index`, or version 8, which has no place of its own for that list.
    """
    with _opened(path) as (fields, version):
        if version < 9:
            raise InputError(f"{path} is of version {version}: read its weights with engine='hictk'.")
        fields.read("q")
        fields.text()
        position, length = fields.read("qq")
        if not length:
            return []
        fields.seek(position)
        names = set()
        for _ in range(fields.count(29)):
            name, _, unit, (width, _, _) = fields.text(), fields.read("i"), fields.text(), fields.read("iqq")
            if (unit, width) == ("BP", resolution):
                names.add(name)
        return sorted(names)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tuple["_Fields", int]]:
    """The fields that follow magic and version, and the version."""
    with open(path, "rb") as file:
        if file.read(4) != b"HIC\0":
            raise InputError(
                f"{path} is not a .hic file, which starts with 'HIC': it may be of another format."
            )
        try:
            fields = _Fields(file)
            (version,) = fields.read("i")
            if version not in VERSIONS:
                raise InputError(
                    f"{path} is a .hic file of version {version}, expected 8 or 9: "
                    "make it again with a newer Juicer or hictk."
                )
            yield fields, version
        except InputError:
            raise
        except (struct.error, ValueError, OverflowError, OSError) as error:
            raise InputError(
                f"{path} is a damaged .hic file ({error}): it may be truncated; make or fetch it again."
            ) from error


class _Fields:
    """Little-endian fields, one after the other."""

    def __init__(self, file):
        self.file = file
        self.size = os.fstat(file.fileno()).st_size

    def seek(self, position: int) -> None:
        if not 0 < position < self.size:
            raise ValueError(f"something lies at byte {position} of {self.size}")
        self.file.seek(position)

    def read(self, form: str) -> tuple:
        return struct.unpack("<" + form, self.file.read(struct.calcsize("<" + form)))

    def text(self) -> str:
        found = bytearray()
        while (byte := self.file.read(1)) != b"\0":
            found += byte
            if not byte or len(found) > 1_000_000:
                raise ValueError("a text does not end")
        return found.decode()

    def count(self, smallest: int) -> int:
        """A number of items that take at least `smallest` bytes each."""
        (number,) = self.read("i")
        if not 0 <= number * smallest <= self.size:
            raise ValueError(f"it says {number} items")
        return number


def _read(fields: _Fields, version: int) -> HicIndex:
    (footer,) = fields.read("q")
    fields.text()  # assembly
    if version > 8:
        fields.read("qq")  # where the normalization index lies
    for _ in range(fields.count(2)):
        fields.text(), fields.text()
    chromosomes = [(fields.text(), *fields.read("q" if version > 8 else "i")) for _ in range(fields.count(5))]
    resolutions = [fields.read("i")[0] for _ in range(fields.count(4))]
    names = [name for name, _ in chromosomes]
    if len(set(names)) < len(names) or "" in names or min((size for _, size in chromosomes), default=0) < 0:
        raise ValueError("names or lengths of its chromosomes are none")
    chromsizes = {name: size for name, size in chromosomes if name.lower() != "all"}
    if not chromsizes or min(chromsizes.values()) == 0 or not resolutions or min(resolutions) <= 0:
        raise ValueError("no chromosome or no resolution in bp")

    fields.seek(footer)
    fields.read("q" if version > 8 else "i")
    entries = [(fields.text(), *fields.read("qi")) for _ in range(fields.count(14))]
    if not entries:
        raise ValueError("its index is empty")
    totals, seen = {}, set()
    for key, position, _ in entries:
        one, two = (int(part) for part in key.split("_"))
        if not 0 <= one <= two < len(names) or (one, two) in seen:
            raise ValueError(f"its index lists the pair {key}")
        seen.add((one, two))
        fields.seek(position)
        if fields.read("ii") != (one, two):
            raise ValueError(f"its index has another place for the pair {key}")
        if names[one] in chromsizes and names[two] in chromsizes:
            for resolution, total in _zooms(fields):
                totals[names[one], names[two], resolution] = total
            if missing := [width for width in resolutions if (names[one], names[two], width) not in totals]:
                raise ValueError(f"the pair {key} lacks the resolution {missing[0]}")
    return HicIndex(chromsizes, resolutions, totals)


def _zooms(fields: _Fields) -> list[tuple[int, float]]:
    """(resolution in bp, sum of counts) of one matrix."""
    found = []
    for _ in range(fields.count(38)):
        unit, _ = fields.text(), fields.read("i")
        total, _, _, _, width, _, _ = fields.read("ffffiii")
        blocks = fields.count(16)
        fields.file.seek(16 * blocks, os.SEEK_CUR)
        if not total >= 0:
            raise ValueError(f"a matrix of {total} contacts")
        if (blocks == 0) != (total == 0):
            raise ValueError(f"a matrix of {total} contacts in {blocks} blocks")
        if unit == "BP":
            found.append((width, total))
    return found
