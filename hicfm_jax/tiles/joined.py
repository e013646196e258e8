"""Several datasets as one, such as species whose maps have different resolutions."""

from collections.abc import Sequence

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.pipeline import BackgroundSource
from hicfm_jax.tiles.stream import Source
from hicfm_jax.tiles.tile import Tile, Tiles


class JoinedTiles(BackgroundSource):
    """The tiles of all sources, one source after the other; a mix may name the assays of all."""

    def __init__(self, sources: Sequence[Source]):
        """Raises InputError if shapes, targets or names of assays do not go together."""
        super().__init__()
        self.name = ",".join(source.name for source in sources)
        self.splits = list(dict.fromkeys(split for source in sources for split in source.splits))
        self.mix = {}  # shares within one of the sources say nothing of the others
        self._tiles = {
            split: JoinedSplit(
                self.name, [source.tiles(split) for source in sources if split in source.splits]
            )
            for split in self.splits
        }

    def tiles(self, split: str) -> "JoinedSplit":
        return self._tiles[split]


class JoinedSplit:
    """Tiles of one split, see `tile.Tiles`."""

    def __init__(self, name: str, parts: Sequence[Tiles]):
        self._parts = parts
        self.tile_shape, self.target_shapes = parts[0].tile_shape, parts[0].target_shapes
        for part in parts[1:]:
            if (part.tile_shape, part.target_shapes) != (self.tile_shape, self.target_shapes):
                raise InputError(
                    f"{name} cannot be joined, its tiles differ: {self.tile_shape} bins with targets "
                    f"{self.target_shapes}, {part.tile_shape} with {part.target_shapes}; make one kind."
                )
        self.patch_aligned = all(part.patch_aligned for part in parts)
        self.has_context = all(part.has_context for part in parts)
        self.dtype = np.result_type(*(part.dtype for part in parts))
        self.assays = [assay for part in parts for assay in part.assays]
        twice = sorted({assay for assay in self.assays if self.assays.count(assay) > 1})
        if twice:
            raise InputError(
                f"{name} cannot be joined: {', '.join(twice)} is in several of them; name their inputs apart."
            )
        self._ends = np.cumsum([len(part) for part in parts])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def open(self) -> None:
        for part in self._parts:
            part.open()

    def assay_numbers(self) -> np.ndarray:
        firsts = np.cumsum([0, *(len(part.assays) for part in self._parts)])
        numbers = [part.assay_numbers() + first for part, first in zip(self._parts, firsts, strict=False)]
        return np.concatenate(numbers)

    def chromosomes_by_assay(self) -> dict[str, list[str]]:
        return {assay: names for part in self._parts for assay, names in part.chromosomes_by_assay().items()}

    def total_count_by_assay(self) -> dict[str, float]:
        return {assay: total for part in self._parts for assay, total in part.total_count_by_assay().items()}

    def read(self, indices: np.ndarray) -> list[Tile]:
        """Tiles at these positions, in that order."""
        tiles = np.empty(len(indices), object)
        owners = np.searchsorted(self._ends, indices, side="right")
        for number in np.unique(owners):
            part, mine = self._parts[number], np.flatnonzero(owners == number)
            found = part.read(indices[mine] - (self._ends[number] - len(part)))
            for place, tile in zip(mine, found, strict=True):
                tiles[place] = tile
        return tiles.tolist()
