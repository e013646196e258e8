"""A build in a separate process, to be killed."""

import multiprocessing
import pathlib

from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import builder
from hicfm_jax.tiles.build.splits import HeldOut
from tests.tiles.toy_maps import dense_to_map, random_matrix

dataset.import_tfds()  # slow, and done once: the processes are forked from a server that has it


def server():
    """Starts processes that have imported this module already; none of them was a test."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def build(output: pathlib.Path) -> None:
    """Builds a dataset of many small pieces."""
    builder.PIECE_WINDOWS = 8
    maps = {
        assay: dense_to_map(
            {
                "A": random_matrix(150, seed),
                "B": random_matrix(100, seed + 1),
                "C": random_matrix(60, seed + 2),
            }
        )
        for assay, seed in (("leaf", 0), ("root", 10))
    }
    held_out = HeldOut(val_chromosomes=["leaf:B"])
    builder.build_tiles(maps, output, tile_size=32, stride=16, min_density=0.2, trans=True, held_out=held_out)
