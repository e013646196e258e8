"""Where a run's tiles come from: a dataset, a file of arrays, or simulated maps."""

from ml_collections import ConfigDict

from hicfm_jax.contacts import simulate
from hicfm_jax.contacts.arabidopsis import CHROMSIZES
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.arrays import ArrayTiles
from hicfm_jax.tiles.source import open_source

HELD_OUT = "Chr4"
"""Chromosome of the simulated genome that no training map shows."""


def create_source(config: ConfigDict):
    """Opens `config.data.tiles`; when that is empty, simulates maps of *Arabidopsis thaliana*.

    Returns:
      What `tiles.source.open_source` returns, with a `train` and a `val` split.

    Raises:
      InputError: nothing to train on or nothing held out to validate on.
    """
    source = open_source(config.data.tiles or simulated_tiles(config))
    for split, what in (
        ("train", "to train on"),
        ("val", "to validate on, since the training map cannot judge itself"),
    ):
        if not source.num_tiles(split):
            raise InputError(
                f"{config.data.tiles} has no tiles {what}: make them with "
                "scripts/make_tiles.py --val_chromosomes=NAME (or --val_assays=NAME)."
            )
    return source


def simulated_tiles(config: ConfigDict) -> dict[str, ArrayTiles]:
    """Tiles of simulated assays: Chr1, 2, 3 and 5 of some to train, Chr4 of others to validate.

    Neither an assay nor a chromosome is on both sides. Depths fall from `contacts` by a factor of 2
    from assay to assay, down to an eighth, and start again.
    """
    settings = config.data.simulate
    chromosomes = {"train": [name for name in CHROMSIZES if name != HELD_OUT], "val": [HELD_OUT]}
    assays = {"train": settings.train_assays, "val": settings.val_assays}
    print(
        f"config.data.tiles is empty: training on SIMULATED Arabidopsis maps ({assays['train']} assays to "
        f"train, {assays['val']} to validate), not on data.",
        flush=True,
    )
    tiles, seed = {}, 0
    for split, count in assays.items():
        maps = {}
        for index in range(count):
            maps[f"simulated_{seed}"] = simulate(
                contacts=settings.contacts / 2 ** (index % 4), resolution=settings.resolution, seed=seed
            )
            seed += 1
        tiles[split] = ArrayTiles.from_contact_maps(
            maps, settings.tile_size, settings.stride, chromosomes=chromosomes[split]
        )
    return tiles
