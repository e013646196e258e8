"""The input stream from tiles in memory: no TensorFlow, the same batches as from disk."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import sampling, windows
from hicfm_jax.types import DEFAULT_TOTAL_COUNT, Batch


@dataclasses.dataclass(frozen=True)
class ArrayTiles:
    """Tiles of contact maps, all of one size, in memory.

    Attributes:
      counts: raw contacts `[N, T, T]`, uint16 or float32, both triangles.
      diag: where the main diagonal enters each tile, in pixels, `[N]` int32 (sign as in `Batch`).
      total_count: contacts of the whole map of each tile, `[N]` float32.
      matrix_count: contacts in each tile, `[N]` float32.
      chromosomes: names of the rows' and the columns' chromosome, `[N, 2]` str.
      starts: first bin of rows and columns, `[N, 2]` int32.
      assay: which map each tile is from, `[N]` str.
    """

    counts: np.ndarray
    diag: np.ndarray
    total_count: np.ndarray
    matrix_count: np.ndarray
    chromosomes: np.ndarray
    starts: np.ndarray
    assay: np.ndarray

    def __len__(self) -> int:
        return len(self.counts)

    @property
    def tile_size(self) -> int:
        return self.counts.shape[-1]

    @classmethod
    def from_contact_maps(
        cls,
        contact_maps: Mapping[str, ContactMap],
        tile_size: int,
        stride: int,
        min_density: float = 0.01,
        chromosomes: Sequence[str] | None = None,
    ) -> "ArrayTiles":
        """Cuts maps on a grid; order: map, chromosome, row, column, as in a dataset on disk.

        Args:
          contact_maps: maps of one resolution by assay name.
          tile_size: bins of a tile's side, T.
          stride: bins from one tile to the next.
          min_density: fraction of non-zero pixels that a tile needs.
          chromosomes: names to use; None for all.

        Raises:
          InputError: unknown chromosome, differing resolutions, or no tile dense enough.
        """
        windows.check_tiling(tile_size, stride, min_density)
        windows.check_resolution(contact_maps)
        if chromosomes is not None:
            chromosomes = windows.find_chromosomes(contact_maps, chromosomes, "chromosomes")
        dtype = windows.count_dtype(contact_maps, chromosomes)
        records = []
        for assay, contact_map in contact_maps.items():
            for name in windows.chromosomes_of(contact_map, chromosomes):
                records += filter(
                    None, cut_map(contact_map, name, assay, tile_size, stride, min_density, dtype)
                )
        if not records:
            raise InputError(
                f"No tile of {tile_size} bins has {min_density:.1%} non-zero pixels: "
                "lower min_density, use smaller tiles or a coarser resolution."
            )
        return cls(**{field: np.stack([record[field] for record in records]) for field in records[0]})


def cut_map(
    contact_map: ContactMap,
    chromosome: str,
    assay: str,
    tile_size: int,
    stride: int,
    min_density: float,
    dtype: np.dtype,
) -> Iterator[dict | None]:
    """The tiles of one chromosome's grid as records with the fields of `ArrayTiles`.

    These records are also what is stored on disk. An unknown or zero `total_count` becomes
    `DEFAULT_TOTAL_COUNT`, as in the original. Where a tile is too sparse, None is yielded.
    """
    total_count = np.float32(contact_map.total_count or DEFAULT_TOTAL_COUNT)
    positions = windows.grid_positions(contact_map.n_bins(chromosome), tile_size, stride)
    for window in windows.cut_windows(contact_map.matrix(chromosome), positions, tile_size):
        if not windows.dense_enough(window.counts, min_density):
            yield None
            continue
        yield {
            "counts": window.counts.astype(dtype),
            "diag": np.int32(window.diag),
            "total_count": total_count,
            "matrix_count": np.float32(window.counts.sum(dtype=np.float64)),
            "chromosomes": [chromosome, chromosome],
            "starts": np.array([window.row_start, window.col_start], np.int32),
            "assay": assay,
        }


def train_stream(
    tiles: ArrayTiles,
    *,
    batch_size: int,
    window: tuple[int, int],
    seed: int,
    start_step: int = 0,
    min_density: float = 0.05,
    max_redraws: int = 8,
    flips: bool = False,
    host_index: int = 0,
    host_count: int = 1,
) -> Iterator[Batch]:
    """Endless training batches; batch `k` depends on (seed, k) alone.

    Args:
      tiles: what to draw from.
      batch_size: examples of the global batch.
      window: (H, W) in bins, multiples of 16, not larger than a tile.
      seed: non-negative integer.
      start_step: the first batch to yield; any step costs the same.
      min_density: fraction of non-zero pixels that a crop should have; where no candidate reaches
        it, the densest is taken (the original draws forever).
      max_redraws: further candidate positions in the same tile.
      flips: reverse both axes and (square windows) transpose, each with probability 1/2.
      host_index, host_count: which contiguous part of the global batch to yield.

    Raises:
      InputError: a window or batch that does not fit the tiles.
    """
    sampling.check_stream(tiles.tile_size, len(tiles), window, batch_size)
    share = sampling.host_slice(batch_size, host_index, host_count)

    def batches():
        step = start_step
        while True:
            indices = sampling.batch_indices(seed, step, len(tiles), batch_size)[share]
            crops = sampling.train_crops(
                seed,
                step,
                batch_size,
                tiles.diag[indices],
                tiles.tile_size,
                window,
                max_redraws,
                flips,
                share,
            )
            yield _batch(tiles, indices, crops, window, min_density)
            step += 1

    return batches()


def evaluation_stream(
    tiles: ArrayTiles,
    *,
    batch_size: int,
    window: tuple[int, int],
    seed: int,
    min_density: float = 0.05,
    max_redraws: int = 8,
    host_index: int = 0,
    host_count: int = 1,
) -> Iterator[Batch]:
    """Every tile once, in order, cut at a place fixed by (seed, tile); no flips.

    The last batch is filled up with repeats of the first tile, whose `mask` is 0. Arguments as for
    `train_stream`.
    """
    sampling.check_stream(tiles.tile_size, len(tiles), window, batch_size)
    share = sampling.host_slice(batch_size, host_index, host_count)

    def batches():
        for first in range(0, len(tiles), batch_size):
            indices, mask = sampling.evaluation_indices(first, len(tiles), batch_size)
            indices, mask = indices[share], mask[share]
            crops = sampling.evaluation_crops(
                seed, indices, tiles.diag[indices], tiles.tile_size, window, max_redraws
            )
            yield _batch(tiles, indices, crops, window, min_density).replace(mask=mask)

    return batches()


def _batch(tiles, indices, crops: sampling.Crops, window, min_density) -> Batch:
    needed = sampling.needed_pixels(min_density, window)
    counts = np.empty((len(indices), *window), tiles.counts.dtype)
    diag = np.empty(len(indices), np.int32)
    for i, index in enumerate(indices):
        cuts = [tiles.counts[index, r : r + window[0], c : c + window[1]] for r, c in crops.starts[i]]
        best = 0
        if len(cuts) > 1 and np.count_nonzero(cuts[0]) < needed:
            filled = np.minimum([np.count_nonzero(cut) for cut in cuts], needed)
            best = int(np.argmax(filled))
        cut = cuts[best]
        cut = cut[::-1, ::-1] if crops.flips[i, 0] else cut
        counts[i] = cut.T if crops.flips[i, 1] else cut
        diag[i] = crops.diag[i, best]
    return Batch(
        counts=counts,
        total_count=tiles.total_count[indices],
        diag=diag,
        matrix_count=tiles.matrix_count[indices],
        mask=np.ones(len(indices), np.float32),
    )
