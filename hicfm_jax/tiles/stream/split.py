"""What the streams ask of tiles, wherever these lie."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from hicfm_jax.contacts.expected import Expected


class Tile(NamedTuple):
    """A stored tile; its arrays are decoded when they are asked for.

    Attributes:
      diag: where the main diagonal enters, in pixels.
      total_count: contacts of the whole map.
      matrix_count: contacts in the tile.
      array: by name: "counts" `[H, W]`, and the targets there are: "map" `[H, W]`, "track" `[H]`,
        "embedding" `[D]`.
      starts: first bin of rows and of columns; may be left out where `expected` is.
      expected: what distance and visibility let expect of the tile's chromosome; None if unknown, as
        for every trans tile.
    """

    diag: int
    total_count: float
    matrix_count: float
    array: Callable[[str], np.ndarray]
    starts: Sequence[int] = (0, 0)
    expected: Expected | None = None


class Tiles(Protocol):
    """The tiles of one split.

    Attributes:
      tile_shape: (H, W) in bins.
      dtype: of the counts.
      target_shapes: of the targets that every tile has, by name.
      assays: names of the maps.
      patch_aligned: whether the main diagonal meets the tiles that it crosses on a patch boundary.
      has_context: whether every tile has an `expected`, so that batches carry a context.
    """

    tile_shape: tuple[int, int]
    dtype: np.dtype
    patch_aligned: bool
    has_context: bool
    target_shapes: Mapping[str, tuple[int, ...]]
    assays: Sequence[str]

    def __len__(self) -> int: ...

    def open(self) -> None:
        """Makes ready to read; raises InputError if that cannot be."""

    def assay_numbers(self) -> np.ndarray:
        """Which of `assays` each tile is from, `[N]`."""

    def chromosomes_by_assay(self) -> dict[str, list[str]]:
        """The chromosomes that the tiles show; an assay of which that is unknown is left out."""

    def total_count_by_assay(self) -> dict[str, float]:
        """Contacts of each whole map; one of unknown depth is left out."""

    def read(self, indices: np.ndarray) -> Sequence[Tile]:
        """Tiles at these positions, in that order; raises InputError for damaged ones."""
