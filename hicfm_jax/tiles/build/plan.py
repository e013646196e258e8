"""What a dataset of tiles consists of, before anything is cut."""

import dataclasses
import hashlib
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np
import scipy.sparse

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.expected import Expected, find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import cutting, windows
from hicfm_jax.tiles.build import windows as loci
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps
from hicfm_jax.tiles.build.splits import SPLITS, HeldOut
from hicfm_jax.tiles.build.windows import Tiling
from hicfm_jax.tiles.stream import mixing


class Region(NamedTuple):
    """One chromosome pair of one map.

    Attributes:
      assay: name of the map.
      chromosomes: of rows and columns; the same twice for a cis map.
      split: where its tiles go; None for a pair whose chromosomes lie in different splits.
      windows: how many there are, dense enough or not.
    """

    assay: str
    chromosomes: tuple[str, str]
    split: str | None
    windows: int

    @property
    def cis(self) -> bool:
        return self.chromosomes[0] == self.chromosomes[1]

    @property
    def name(self) -> str:
        return f"{self.assay} {' x '.join(dict.fromkeys(self.chromosomes))}"


class Part(NamedTuple):
    """The windows number `first` to `last - 1` of a region."""

    assay: str
    chromosomes: tuple[str, str]
    first: int
    last: int


class Piece(NamedTuple):
    """Windows that are cut in one go and make one file: consecutive parts of one split."""

    number: int
    split: str
    parts: tuple[Part, ...]

    @property
    def windows(self) -> int:
        return sum(part.last - part.first for part in self.parts)


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that settles what a dataset of tiles contains.

    Attributes:
      sources: contact maps by assay name, each a file to open or a map in memory.
      tiling: which windows become tiles.
      held_out: the splits, chromosomes as the maps name them.
      regions: all chromosome pairs, in the order of the records.
      arguments: the fields of the manifest that are known beforehand.
    """

    sources: Mapping[str, ContactMap | MapFile]
    tiling: Tiling
    held_out: HeldOut
    regions: list[Region]
    arguments: dict

    def dtype(self) -> np.dtype:
        """The dtype of the counts; loads every map once."""
        return find_dtype(OpenMaps(self.sources), self.regions)

    def survey(self) -> tuple[np.dtype, dict[tuple[str, str], Expected]]:
        """The dtype of the counts and what to expect of the cis maps; loads every map once."""
        return survey(OpenMaps(self.sources), self.regions)


def plan_tiles(
    sources: Mapping[str, ContactMap | MapFile],
    *,
    tile_size: int | tuple[int, int] = 448,
    stride: int = 224,
    min_density: float = 0.01,
    mode: str = "grid",
    trans: bool = False,
    loci_file: str | os.PathLike | None = None,
    held_out: HeldOut | None = None,
    mix: Mapping[str, float] | None = None,
) -> Plan:
    """Checks what the user asks for against the maps, and lists what there is to cut.

    Args:
      sources: maps of one resolution by assay name, each a file to open or a map in memory.
      tile_size: bins of a tile's side, or (H, W).
      stride, min_density, mode, trans: as in `windows.Tiling`.
      loci_file: BED file of the places that mode `locus` cuts at.
      held_out: the chromosomes or assays of the splits `val` and `test`.
      mix: weights of the assays in training, see `mixing`; kept in the manifest.

    Raises:
      InputError: arguments that do not fit the maps or each other.
    """
    # These know their chromosomes only; matrices are loaded from maps opened later, one at a time.
    maps = {name: each.open() if isinstance(each, MapFile) else each for name, each in sources.items()}
    resolution = check_resolution(maps)
    centres = None if loci_file is None else loci.read_loci(loci_file, maps)
    tiling = Tiling(windows.as_shape(tile_size), stride, min_density, mode, trans, centres)
    held_out = (held_out or HeldOut()).resolve(maps)
    regions = find_regions(maps, tiling, held_out)
    for split in held_out.requested():
        if not any(region.split == split and region.windows for region in regions):
            raise InputError(
                f"Split {split!r} gets no tiles of {windows.shape_text(tiling.tile_shape)} bins at "
                f"{resolution} bp: its chromosomes are shorter than half a tile or have no loci; use "
                "smaller tiles or a finer resolution, or hold out others."
            )
    if mix:
        cut = (region.assay for region in regions if region.split == "train" and region.windows)
        mixing.match_assays(mix, dict.fromkeys(cut))
    arguments = {
        "format_version": dataset.FORMAT_VERSION,
        "mode": mode,
        "trans": trans,
        "resolution": resolution,
        "tile_size": list(tiling.tile_shape),
        "stride": stride if centres is None else None,
        "min_density": min_density,
        "loci": _described(loci_file),
        "held_out": {name: list(value) for name, value in dataclasses.asdict(held_out).items()},
        "sources": {name: _source(sources[name], contact_map) for name, contact_map in maps.items()},
        "mix": dict(mix or {}),
        "targets": {},
    }
    return Plan(sources, tiling, held_out, regions, arguments)


def _described(path: str | os.PathLike | None) -> dict | None:
    if path is None:
        return None
    path = pathlib.Path(path)
    return {"file": path.name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def _source(source: ContactMap | MapFile, contact_map: ContactMap) -> dict:
    described = {
        "uri": source.uri if isinstance(source, MapFile) else contact_map.name,
        "total_count": float(contact_map.total_count),
        "chromsizes": dict(contact_map.chromsizes),
    }
    if isinstance(source, MapFile) and source.weight is not None:
        described |= {"weight": source.weight, "weight_kind": source.weight_kind}
    return described


def check_resolution(contact_maps: Mapping[str, ContactMap]) -> int:
    """Returns the resolution (bp) that all maps share; raises InputError if they differ."""
    if not contact_maps:
        raise InputError("No contact map given: tiles need at least one.")
    resolutions = {name: contact_map.resolution for name, contact_map in contact_maps.items()}
    if len(set(resolutions.values())) > 1:
        found = ", ".join(f"{name} {resolution} bp" for name, resolution in resolutions.items())
        raise InputError(f"Tiles of one dataset share one resolution, but the maps have {found}.")
    return next(iter(resolutions.values()))


def find_regions(
    contact_maps: Mapping[str, ContactMap], tiling: Tiling, held_out: HeldOut | None = None
) -> list[Region]:
    """Everything to cut, in the order of the records: map, then chromosome pair as in the map's file.

    All chromosomes are listed, also those too short for a window; of the pairs of different ones
    (`tiling.trans`) those that may hold contacts and have windows, since an assembly of thousands of
    scaffolds has millions of others.

    Args:
      contact_maps: maps by assay name.
      tiling: which windows become tiles.
      held_out: what `HeldOut.resolve` returned; None puts all into `train`.
    """
    held_out = held_out or HeldOut()
    regions = []
    for assay, contact_map in contact_maps.items():
        pairs = [(name, name) for name in contact_map.chromsizes]
        if tiling.trans:
            order = {name: index for index, name in enumerate(contact_map.chromsizes)}
            tall, wide = (
                {name for name in order if contact_map.n_bins(name) > size // 2} for size in tiling.tile_shape
            )
            for rows, cols in contact_map.pairs():
                if rows != cols and rows in tall and cols in wide:
                    pairs.append((rows, cols))
            pairs.sort(key=lambda pair: (order[pair[0]], order[pair[1]]))
        for pair in pairs:
            windows = len(tiling.positions(contact_map, assay, pair))
            regions.append(Region(assay, pair, held_out.split(assay, pair), windows))
    return regions


def find_dtype(contact_maps, regions: Iterable[Region]) -> np.dtype:
    """The dtype that holds all counts of the regions that are cut, see `cutting.fits_uint16`.

    Args:
      contact_maps: maps by assay name, a mapping or `map_file.OpenMaps`.
      regions: those of one map one after another.
    """
    cut = (region for region in regions if region.windows and region.split)
    return _dtype(all(cutting.fits_uint16(_matrix(contact_maps, region)) for region in cut))


def survey(contact_maps, regions: Iterable[Region]) -> tuple[np.dtype, dict[tuple[str, str], Expected]]:
    """What has to be known of whole maps before tiles are cut from them; each is looked at once.

    Arguments as for `find_dtype`.

    Returns:
      The dtype of `find_dtype`; and of each cis region that is cut, by assay and chromosome, what
      distance and visibility let expect.
    """
    fits, expected = True, {}
    for region in regions:
        if region.windows and region.split and (fits or region.cis):
            matrix = _matrix(contact_maps, region)
            fits = fits and cutting.fits_uint16(matrix)
            if region.cis:
                expected[region.assay, region.chromosomes[0]] = find_expected(matrix)
    return _dtype(fits), expected


def _matrix(contact_maps, region: Region) -> scipy.sparse.csr_array:
    return contact_maps[region.assay].matrix(*region.chromosomes)


def _dtype(fits_uint16: bool) -> np.dtype:
    return np.dtype(np.uint16 if fits_uint16 else np.float32)


def find_pieces(regions: Iterable[Region], most: int) -> list[Piece]:
    """Divides the regions into pieces of `most` windows; only the last of each split has fewer.

    Within a split they follow the order of the regions, so their files are those of the split, and
    no region is come back to later.
    """
    regions = list(regions)
    pieces = []
    for split in SPLITS:
        parts, room = [], most
        for region in regions:
            first = 0
            while region.split == split and first < region.windows:
                last = min(first + room, region.windows)
                parts.append(Part(region.assay, region.chromosomes, first, last))
                room -= last - first
                first = last
                if not room:
                    pieces.append(Piece(len(pieces), split, tuple(parts)))
                    parts, room = [], most
        if parts:
            pieces.append(Piece(len(pieces), split, tuple(parts)))
    return pieces
