"""The plan of a tile dataset: regions to cut, splits, and pieces of work."""

import dataclasses
import itertools
import os
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import SIMULATED
from hicfm_jax.contacts.expected import Expected, TransExpected, TransSums, find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import cutting, windows
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps
from hicfm_jax.tiles.build.splits import SPLITS, HeldOut
from hicfm_jax.tiles.build.targets import TargetFiles, Targets, file_checksum, read_targets
from hicfm_jax.tiles.build.windows import Tiling
from hicfm_jax.tiles.stream import mixing
from hicfm_jax.tiles.stream.context import region_key


class ChromosomePair(NamedTuple):
    """One chromosome pair of one map."""

    assay: str
    chromosomes: tuple[str, str]  # of rows and columns
    split: str | None  # None for chromosomes of different splits
    windows: int  # dense enough or not

    @property
    def cis(self) -> bool:
        return self.chromosomes[0] == self.chromosomes[1]

    @property
    def is_cut(self) -> bool:
        return bool(self.windows and self.split)


class Part(NamedTuple):
    """The windows number `first` to `last - 1` of a region."""

    assay: str
    chromosomes: tuple[str, str]
    first: int
    last: int


class Piece(NamedTuple):
    """Consecutive windows of one split that make one file."""

    number: int
    split: str
    parts: tuple[Part, ...]

    @property
    def windows(self) -> int:
        return sum(part.last - part.first for part in self.parts)


class Survey(NamedTuple):
    """What cutting needs to know of whole maps."""

    dtype: np.dtype  # of the counts, uint16 or float32 (see `cutting.fits_uint16`)
    expected: dict[tuple[str, ...], Expected | TransExpected]  # of each region that is cut, by `region_key`
    total_counts: dict[str, float]  # contacts of each map


@dataclasses.dataclass(frozen=True)
class Plan:
    """Everything that determines the contents of a tile dataset."""

    sources: Mapping[str, ContactMap | MapFile]  # by assay name
    maps: OpenMaps  # the same, opened for planning
    tiling: Tiling
    held_out: HeldOut  # chromosomes as the maps name them
    regions: list[ChromosomePair]  # all chromosome pairs, in the order of the records
    targets: Targets  # what is stored with the tiles
    arguments: dict  # the fields of the manifest that are known before the maps are read

    def survey(self) -> Survey:
        """Loads every chromosome pair once."""
        return survey(self.maps, self.regions)

    def described(self, total_counts: Mapping[str, float]) -> dict:
        """`arguments` with the contacts of each map."""
        sources = self.arguments["sources"].items()
        return self.arguments | {
            "sources": {name: source | {"total_count": total_counts[name]} for name, source in sources}
        }


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
    target_files: TargetFiles | None = None,
) -> Plan:
    """Checks the arguments against the maps, and lists the regions to cut.

    Args:
      sources: maps of one resolution by assay name, each a file to open or a map in memory.
      tile_size: bins of a tile's side, or (H, W).
      stride, min_density, mode, trans: as in `windows.Tiling`.
      loci_file: BED file of the places for mode `locus`.
      held_out: the chromosomes or assays of the splits `val` and `test`.
      mix: weights of the assays in training, see `mixing`; stored in the manifest.
      target_files: files of tracks and loops to store with the tiles.

    Raises:
      InputError: arguments that do not fit the maps or each other.
    """
    # Only their chromosomes are needed here; matrices are loaded later, one at a time.
    maps = {name: each.open() if isinstance(each, MapFile) else each for name, each in sources.items()}
    resolution = check_resolution(maps)
    centers = None if loci_file is None else windows.read_loci(loci_file, maps)
    tiling = Tiling(windows.as_shape(tile_size), stride, min_density, mode, trans, centers)
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
    target_files = target_files or TargetFiles()
    if target_files.loops and trans:
        raise InputError("Loops are of cis maps, but trans is set: leave out one of them.")
    targets = read_targets(target_files, maps, _chromosomes_to_train(regions))
    arguments = {
        "format_version": dataset.FORMAT_VERSION,
        "mode": mode,
        "trans": trans,
        **({"trans_context": True} if trans else {}),  # early versions stored none
        "resolution": resolution,
        "tile_size": list(tiling.tile_shape),
        "stride": stride if centers is None else None,
        "min_density": min_density,
        "loci": loci_file and file_checksum(loci_file),
        "held_out": {name: list(value) for name, value in dataclasses.asdict(held_out).items()},
        "sources": {name: _describe_source(sources[name], contact_map) for name, contact_map in maps.items()},
        "mix": dict(mix or {}),
        "targets": {name: list(shape) for name, shape in targets.shapes(tiling.tile_shape).items()},
        **({"tracks": [track._asdict() for track in targets.tracks]} if targets.tracks else {}),
        **target_files.described(),
    }
    return Plan(sources, OpenMaps(sources, maps), tiling, held_out, regions, targets, arguments)


def _chromosomes_to_train(regions: Iterable[ChromosomePair]) -> dict[str, list[str]]:
    found = {}
    for region in regions:
        if region.cis and region.is_cut and region.split == "train":
            found.setdefault(region.assay, []).append(region.chromosomes[0])
    return found


def _describe_source(source: ContactMap | MapFile, contact_map: ContactMap) -> dict:
    uri = source.uri if isinstance(source, MapFile) else contact_map.name
    # `Plan.described` fills in the total.
    fields = {"uri": uri, "total_count": None, "chromsizes": dict(contact_map.chromsizes)}
    if contact_map.metadata.get(SIMULATED) is True:
        fields |= {SIMULATED: True}
    if isinstance(source, MapFile) and source.weight is not None:
        fields |= {"weight": source.weight, "weight_kind": source.weight_kind}
    return fields


def check_resolution(contact_maps: Mapping[str, ContactMap]) -> int:
    """Returns the common resolution (bp) of all maps; raises InputError if they differ."""
    if not contact_maps:
        raise InputError("No contact map given: tiles need at least one.")
    resolutions = {name: contact_map.resolution for name, contact_map in contact_maps.items()}
    if len(set(resolutions.values())) > 1:
        found = ", ".join(f"{name} {resolution} bp" for name, resolution in resolutions.items())
        raise InputError(f"Tiles of one dataset have one resolution, but the maps have {found}.")
    return next(iter(resolutions.values()))


def find_regions(
    contact_maps: Mapping[str, ContactMap], tiling: Tiling, held_out: HeldOut | None = None
) -> list[ChromosomePair]:
    """All regions, in the order of the records: map, then chromosome pair as in the map's file.

    All chromosomes are listed, even those too short for a window. Pairs of different chromosomes
    (`tiling.trans`) are listed if they may have contacts and have windows, since an assembly of
    thousands of scaffolds has millions of others. `held_out` is resolved; None puts all into `train`.
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
            count = len(tiling.positions(contact_map, assay, pair))
            regions.append(ChromosomePair(assay, pair, held_out.split(assay, pair), count))
    return regions


def survey(contact_maps: Mapping[str, ContactMap] | OpenMaps, regions: Iterable[ChromosomePair]) -> Survey:
    """Surveys whole maps; loads each chromosome pair once. `regions` of one map are consecutive."""
    fits, expected, total_counts = True, {}, {}
    for assay, of_map in itertools.groupby(regions, lambda region: region.assay):
        contact_map, cut = contact_maps[assay], [each for each in of_map if each.is_cut]
        trans, sums = [each.chromosomes for each in cut if not each.cis], TransSums(contact_map)
        for region in cut:
            matrix = contact_map.matrix(*region.chromosomes)
            fits = fits and cutting.fits_uint16(matrix)
            if region.cis:
                expected[region_key(assay, region.chromosomes)] = find_expected(matrix)
            else:
                sums.add(region.chromosomes, matrix)
        fitted = sums.expected(trans) if trans else {}
        expected |= {region_key(assay, pair): each for pair, each in fitted.items()}
        total_counts[assay] = float(contact_map.total_count)  # loads only pairs that were not loaded
    return Survey(np.dtype(np.uint16 if fits else np.float32), expected, total_counts)


def find_pieces(regions: Iterable[ChromosomePair], most: int) -> list[Piece]:
    """Divides the regions into pieces of `most` windows; only the last of each split is smaller.

    Within a split, pieces follow the order of the regions, so their files are those of the split in
    order, and each region is cut in one stretch.
    """
    regions = list(regions)
    pieces = []
    for split in SPLITS:
        parts, room = [], 0
        for region in regions:
            first = 0
            while region.split == split and first < region.windows:
                if not room:
                    parts, room = [], most
                    pieces.append((split, parts))
                last = min(first + room, region.windows)
                parts.append(Part(region.assay, region.chromosomes, first, last))
                room -= last - first
                first = last
    return [Piece(number, split, tuple(parts)) for number, (split, parts) in enumerate(pieces)]
