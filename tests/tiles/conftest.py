"""Maps and a tile dataset for the tests of this folder."""

import pytest

from hicfm_jax.contacts import ContactMap
from hicfm_jax.tiles.build import builder
from hicfm_jax.tiles.build.splits import HeldOut
from tests.tiles.toy_maps import dense_to_map, random_matrix


@pytest.fixture(scope="session")
def toy_maps() -> dict[str, ContactMap]:
    """Two assays of three chromosomes; `tiny` is shorter than half a 64-tile."""
    return {
        assay: dense_to_map(
            {
                "A": random_matrix(200, seed),
                "B": random_matrix(150, seed + 1),
                "tiny": random_matrix(20, seed + 2),
            },
            name=assay,
        )
        for assay, seed in (("leaf", 0), ("root", 10))
    }


@pytest.fixture(scope="session")
def toy_dataset(toy_maps, tmp_path_factory):
    """Folder of 64-tiles of `toy_maps` at stride 16 (many), chromosome B held out; and its manifest."""
    folder = tmp_path_factory.mktemp("tiles") / "toy"
    manifest, _ = builder.build_tiles(
        toy_maps,
        folder,
        tile_size=64,
        stride=16,
        min_density=0.3,
        held_out=HeldOut(val_chromosomes=["B"]),
    )
    return folder, manifest
