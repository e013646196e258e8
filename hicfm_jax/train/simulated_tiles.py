"""Tiles of simulated maps, for a run without tiles of its own."""

import itertools

import numpy as np
from ml_collections import ConfigDict

from hicfm_jax.contacts import simulate
from hicfm_jax.contacts.simulation import tair10
from hicfm_jax.contacts.simulation.simulated_tracks import simulate_tracks
from hicfm_jax.tiles.build.targets import Targets, TrackInfo
from hicfm_jax.tiles.stream.memory import ArrayTiles

HELD_OUT = "Chr4"
"""Chromosome of the simulated genome that is not trained on."""

TRACKS = ("heterochromatin", "coverage")
"""Fields of `simulated_tracks.Tracks` that are predicted."""


def simulated_tiles(config: ConfigDict) -> dict[str, ArrayTiles]:
    """Tiles of simulated assays: Chr1, 2, 3 and 5 of some to train, Chr4 of others to validate.

    No assay and no chromosome is in both splits. The depth halves from assay to assay, from `contacts`
    to an eighth, and starts again.
    """
    settings = config.data.simulate
    # Tracks are read off windows on the diagonal.
    mode = "diagonal" if config.task == "epigenome" else "grid"
    chromosomes = {"train": [name for name in tair10.CHROMSIZES if name != HELD_OUT], "val": [HELD_OUT]}
    assays = {"train": settings.train_assays, "val": settings.val_assays}
    print(
        f"config.data.tiles is empty: training on SIMULATED Arabidopsis maps ({assays['train']} assays to "
        f"train, {assays['val']} to validate), not on data.",
        flush=True,
    )
    targets = _simulated_targets(config, sum(assays.values()))
    tiles, seed = {}, 0
    for split, count in assays.items():
        maps = {}
        for index in range(count):
            maps[f"simulated_{seed}"] = simulate(
                contacts=settings.contacts / 2 ** (index % 4), resolution=settings.resolution, seed=seed
            )
            seed += 1
        tiles[split] = ArrayTiles.from_contact_maps(
            maps,
            settings.tile_size,
            settings.stride,
            chromosomes=chromosomes[split],
            mode=mode,
            targets=targets,
        )
    return tiles


def _simulated_targets(config: ConfigDict, assays: int) -> Targets:
    """The truth about simulated maps that a task predicts: tracks of task epigenome, foci of task loop."""
    resolution, names = config.data.simulate.resolution, [f"simulated_{seed}" for seed in range(assays)]
    if config.task == "loop":
        foci = {chrom: _foci(chrom, resolution) for chrom in tair10.CHROMSIZES}
        return Targets(loops=dict.fromkeys(names, foci))
    if config.task != "epigenome":
        return Targets()
    values = {
        name: {chrom: _tracks(chrom, resolution, seed) for chrom in tair10.CHROMSIZES}
        for seed, name in enumerate(names)
    }
    every = np.concatenate([each for chromosomes in values.values() for each in chromosomes.values()], axis=1)
    tracks = [
        TrackInfo(name, "", float(track.mean()), float(track.std()))
        for name, track in zip(TRACKS, every, strict=True)
    ]
    return Targets(tuple(tracks), values)


def _tracks(chrom: str, resolution: int, seed: int) -> np.ndarray:
    """The `TRACKS` of a simulated chromosome, `[2, n_bins]` float32."""
    simulated = simulate_tracks(chrom, resolution, seed)
    return np.stack([getattr(simulated, name) for name in TRACKS])


def _foci(chrom: str, resolution: int) -> np.ndarray:
    """Bins of the middles of the foci within a chromosome, `[N, 2]`."""
    middles = [(start + end) // 2 // resolution for name, start, end in tair10.KEE if name == chrom]
    return np.array(list(itertools.combinations(sorted(middles), 2)), np.int64).reshape(-1, 2)
