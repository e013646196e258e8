"""Tiles in memory and in `.npz` files, for machines without TensorFlow."""

import dataclasses
import functools
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence

import numpy as np
from etils import epath

from hicfm_jax.cli import called
from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.expected import Expected, TransExpected
from hicfm_jax.errors import InputError
from hicfm_jax.storage import atomic_file
from hicfm_jax.tiles.build import cutting, plan, splits, windows
from hicfm_jax.tiles.build.targets import Targets, TrackInfo
from hicfm_jax.tiles.dataset import FORMAT_VERSION
from hicfm_jax.tiles.stream.batches import AssayInfo, Tile
from hicfm_jax.tiles.stream.context import pack, region_key, unpack
from hicfm_jax.tiles.stream.sampling import crosses
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, PATCH


@dataclasses.dataclass(frozen=True)
class ArrayTiles:
    """Tiles of contact maps, all of one size, in memory, as `batches.Tiles`.

    Attributes:
      counts: raw contacts `[N, H, W]`, uint16 or float32, both triangles.
      diag: where the main diagonal enters each tile, in pixels, `[N]` int32 (sign as in `Batch`).
      total_count: contacts of the whole map of each tile, `[N]` float32.
      matrix_count: contacts in each tile, `[N]` float32.
      chromosomes: names of the rows' and the columns' chromosome, `[N, 2]` str.
      starts: first bin of rows and columns, `[N, 2]` int32.
      assay: name of each tile's map, `[N]` str.
      targets: regression targets of fine-tuning, float32, by name: `map` `[N, H, W]`, `track` `[N, H]` or
        `[N, K, H]`, `embedding` `[N, D]`; any of them.
      expected: expected contacts, by `context.region_key`.
      tracks: description of each of the K tracks; may be empty.
    """

    counts: np.ndarray
    diag: np.ndarray
    total_count: np.ndarray
    matrix_count: np.ndarray
    chromosomes: np.ndarray
    starts: np.ndarray
    assay: np.ndarray
    targets: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    expected: Mapping[tuple[str, ...], Expected | TransExpected] = dataclasses.field(default_factory=dict)
    tracks: Sequence[TrackInfo] = ()

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def tile_shape(self) -> tuple[int, int]:
        return self.counts.shape[1:]

    @property
    def dtype(self) -> np.dtype:
        return self.counts.dtype

    @property
    def stride(self) -> None:
        """Unknown, as tiles may be of several regions."""
        return None

    @property
    def diagonal_offsets(self) -> frozenset[int]:
        return frozenset((self.diag[crosses(self.diag, self.tile_shape)] % PATCH).tolist())

    @functools.cached_property
    def has_context(self) -> bool:
        return all(self._expected(i) is not None for i in range(len(self))) if self.expected else False

    @property
    def target_shapes(self) -> dict[str, tuple[int, ...]]:
        return {name: target.shape[1:] for name, target in self.targets.items()}

    @functools.cached_property
    def assays(self) -> dict[str, AssayInfo]:
        found, totals = {}, dict(zip(self.assay.tolist(), self.total_count.tolist(), strict=True))
        for assay, chromosomes in zip(self.assay.tolist(), self.chromosomes.tolist(), strict=True):
            found.setdefault(assay, {}).update(dict.fromkeys(filter(None, chromosomes)))
        known = {assay: total for assay, total in totals.items() if total != DEFAULT_TOTAL_COUNT}
        return {assay: AssayInfo(list(names), known.get(assay)) for assay, names in found.items()}

    def assay_numbers(self) -> np.ndarray:
        number = {assay: i for i, assay in enumerate(self.assays)}
        return np.array([number[assay] for assay in self.assay.tolist()])

    def open(self) -> None:
        """Does nothing."""

    def read(self, indices: np.ndarray) -> list[Tile]:
        return [
            Tile(
                diag=self.diag[i],
                total_count=self.total_count[i],
                matrix_count=self.matrix_count[i],
                array=functools.partial(self._array, i),
                starts=self.starts[i],
                chromosomes=self.chromosomes[i],
                expected=self._expected(i),
            )
            for i in indices
        ]

    def _array(self, index: int, name: str) -> np.ndarray:
        return (self.counts if name == "counts" else self.targets[name])[index]

    def _expected(self, index: int) -> Expected | TransExpected | None:
        return self.expected.get(region_key(str(self.assay[index]), self.chromosomes[index].tolist()))

    @classmethod
    def from_contact_maps(
        cls,
        contact_maps: Mapping[str, ContactMap],
        tile_size: int | tuple[int, int],
        stride: int,
        min_density: float = 0.01,
        chromosomes: Sequence[str] | None = None,
        *,
        mode: str = "grid",
        trans: bool = False,
        targets: Targets | None = None,
    ) -> "ArrayTiles":
        """Cuts maps of one resolution, by assay name, in the order of a dataset on disk.

        `chromosomes` None takes all, `targets` are stored with the tiles; the other arguments are as for
        `plan.plan_tiles`.

        Raises:
          InputError: unknown chromosome, differing resolutions, or no tile dense enough.
        """
        tiling = windows.Tiling(windows.as_shape(tile_size), stride, min_density, mode, trans)
        plan.check_resolution(contact_maps)
        regions = plan.find_regions(contact_maps, tiling)
        if chromosomes is not None:
            chosen = splits.find_chromosomes(contact_maps, chromosomes, "chromosomes")
            among = functools.partial(splits.is_among, chosen)
            regions = [each for each in regions if all(among(each.assay, name) for name in each.chromosomes)]
        survey = plan.survey(contact_maps, regions)
        records = []
        for assay, chromosomes, *_ in regions:
            kind = tiling, survey.dtype, survey.total_counts[assay]
            tiles = cutting.cut_tiles(contact_maps[assay], assay, chromosomes, *kind, targets=targets)
            records += filter(None, tiles)
        if not records:
            raise InputError(
                f"No tile of {windows.shape_text(tiling.tile_shape)} bins has {min_density:.1%} non-zero "
                "pixels: lower min_density, use smaller tiles or a coarser resolution."
            )
        fields = {field: np.stack([record[field] for record in records]) for field in records[0]}
        names = [field for field in fields if field.startswith("target_")]
        stored = {field.removeprefix("target_"): fields.pop(field) for field in names}
        tracks = targets.tracks if targets else ()
        return cls(**fields, targets=stored, expected=survey.expected, tracks=tracks)


def write_arrays(path: str | os.PathLike, splits: Mapping[str, ArrayTiles]) -> None:
    """Writes tiles by split to one compressed `.npz` file."""
    content = {}
    for split, tiles in splits.items():
        fields = {field.name: getattr(tiles, field.name) for field in dataclasses.fields(tiles)}
        groups = {"targets": fields.pop("targets"), "expected": pack(fields.pop("expected"))}
        fields["tracks"] = np.array([json.dumps(track._asdict()) for track in tiles.tracks], np.str_)
        content |= {f"{split}/{name}": array for name, array in fields.items()}
        for group, arrays in groups.items():
            content |= {f"{split}/{group}/{name}": array for name, array in arrays.items()}
    with atomic_file(pathlib.Path(path)) as partial, partial.open("wb") as file:
        np.savez_compressed(file, format_version=FORMAT_VERSION, **content)


def read_arrays(path: str | os.PathLike) -> dict[str, ArrayTiles]:
    """Reads a file written by `write_arrays`; raises InputError for any other."""
    splits = {}
    try:
        with epath.Path(path).open("rb") as content, np.load(content, allow_pickle=False) as file:
            version = int(file["format_version"])
            for name in file.files:
                split, *field = name.split("/")
                if field and version == FORMAT_VERSION:
                    fields = splits.setdefault(split, {"targets": {}, "expected": {}})
                    (fields[field[0]] if len(field) > 1 else fields)[field[-1]] = file[name]
        for fields in splits.values():
            fields["expected"] = unpack(fields["expected"]) if fields["expected"] else {}
            tracks = fields.get("tracks", np.array([], np.str_)).tolist()
            fields["tracks"] = tuple(TrackInfo(**json.loads(track)) for track in tracks)
        tiles = {split: ArrayTiles(**fields) for split, fields in splits.items()}
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{path} is not a file of tiles ({type(error).__name__}: {error}): "
            f"give one written by MemoryTiles.save or a folder made by {called('make_tiles')}."
        ) from error
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path} has tiles of format version {version}, but this program reads {FORMAT_VERSION}: "
            "make them again."
        )
    return tiles
