"""Batches of a run: from a dataset, a file of arrays, or simulated maps."""

import itertools
from collections.abc import Iterator, Sequence

import numpy as np
from ml_collections import ConfigDict

from hicfm_jax.batch import Batch
from hicfm_jax.cli import called
from hicfm_jax.config import micro_batch_size
from hicfm_jax.contacts import simulate
from hicfm_jax.contacts.simulation import tair10
from hicfm_jax.contacts.simulation.simulated_tracks import simulate_tracks
from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import TRACKS
from hicfm_jax.tiles.build.targets import Targets, TrackInfo
from hicfm_jax.tiles.stream.batches import WindowPlace
from hicfm_jax.tiles.stream.memory import ArrayTiles
from hicfm_jax.tiles.stream.mixing import parse_mix
from hicfm_jax.tiles.stream.sampling import steps_per_epoch
from hicfm_jax.tiles.stream.shallow_windows import Thinning
from hicfm_jax.tiles.stream.source import Source, open_source
from hicfm_jax.types import PATCH


class Inputs:
    """The streams of a run.

    Attributes:
      source: source of the tiles.
      steps_per_epoch: optimizer steps with as many samples as there are training tiles.
      num_validation: number of held-out tiles.
    """

    def __init__(self, config: ConfigDict, source: Source, part: tuple[int, int] = (0, 1)):
        """`part`: index and number of the parts of a batch, see `sharding.batch_part`."""
        self._config, self.source, self._part = config, source, part
        self.steps_per_epoch = steps_per_epoch(source.num_tiles("train"), config.train.global_batch_size)
        self.num_validation = source.num_tiles("val")
        self._thinning = None
        data = config.data
        if fractions := tuple(data.thin) or tuple(data.split):
            self._thinning = Thinning(
                *fractions,
                config.train.seed,
                replicate=config.task == "reproducibility",
                processes=data.thin_processes,
                split=bool(data.split),
            )

    @classmethod
    def create(cls, config: ConfigDict, part: tuple[int, int] = (0, 1)) -> "Inputs":
        """Opens `config.data.tiles`; when that is empty, simulates maps of *Arabidopsis thaliana*.

        Raises InputError if there is nothing to train on, or nothing held out to validate on.
        """
        source = open_source(config.data.tiles or simulated_tiles(config))
        for split, use in (("train", "train on"), ("val", "validate on")):
            if not source.num_tiles(split):
                raise InputError(
                    f"{config.data.tiles or 'The simulation'} has no tiles to {use}; make them with "
                    f"{called('make_tiles')} --val_chromosomes=NAME (or --val_assays=NAME)."
                )
            if config.model.residual != "none" and not source.tiles(split).has_context:
                raise InputError(
                    f"{config.data.tiles} has tiles without the context of their chromosome, which "
                    "model.residual needs: they were made by an earlier version; make them again, under "
                    "another --output."
                )
        if config.task == "epigenome" and config.model.residual != "none":
            _check_centered(config, source)
        inputs = cls(config, source, part)
        # The streams check their arguments: here, before a workdir is made.
        inputs.train(0), inputs.validation()
        return inputs

    def train(self, start_step: int) -> Iterator[Batch]:
        """Endless global batches from `start_step` on, this process's part of each."""
        return self._train(start_step, self._part)

    def first_batch(self) -> Batch:
        """The whole first global batch, the same on every process."""
        return next(self._train(0, (0, 1)))

    def target_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of one example of each entry of `Batch.targets`, by name; {} in pretraining."""
        if self._config.task == "pretrain":
            return {}
        return {name: value.shape[1:] for name, value in self.first_batch().targets.items()}

    def validation(self) -> Iterator[Batch]:
        """Every held-out tile once, in micro-batches; this process's part of each."""
        size, part = micro_batch_size(self._config), self._part
        batches = self.source.evaluation_stream("val", **self._batches(size, part))
        if not self._thinning:
            return batches
        return self._thinning.evaluation(batches, size, part[0] * size // part[1])

    def places(self, indices: Sequence[int]) -> list[WindowPlace]:
        """Where the windows of the held-out tiles at these positions are."""
        found = self.source.evaluation_places("val", np.array(indices, int), **self._draw())
        if self._config.data.tiles:
            return found
        return [place._replace(resolution=self._config.data.simulate.resolution) for place in found]

    def _train(self, start_step: int, part: tuple[int, int]) -> Iterator[Batch]:
        data, size = self._config.data, self._config.train.global_batch_size
        mix = parse_mix(data.mix) or None
        batches = self.source.train_stream(
            "train", start_step=start_step, mix=mix, flips=data.flips, **self._batches(size, part)
        )
        if not self._thinning:
            return batches
        return self._thinning.train(batches, start_step, part[0] * size // part[1])

    def _batches(self, batch_size: int, part: tuple[int, int]) -> dict:
        return dict(batch_size=batch_size, host_index=part[0], host_count=part[1], **self._draw())

    def _draw(self) -> dict:
        data = self._config.data
        return dict(
            window=tuple(self._config.model.input_size),
            seed=self._config.train.seed,
            min_density=data.min_density,
            max_redraws=data.max_redraws,
            keep_diagonal=bool(data.thin or data.split),  # else the two triangles would be thinned separately
        )


def _check_centered(config: ConfigDict, source: Source) -> None:
    """Raises InputError unless every window is a whole tile whose middle is on the main diagonal."""
    (height, width), tiles = config.model.input_size, source.tiles("train")
    centered = tiles.diagonal_offsets == frozenset([(width // 2 - height // 2) % PATCH])
    if tiles.tile_shape != (height, width) or not centered:
        mode, found = "diagonal" if height == width else "locus", " x ".join(map(str, tiles.tile_shape))
        raise InputError(
            f"{source.name} has tiles of {found} bins, but model.residual reads tracks off whole tiles with "
            f"their middle on the diagonal: make them with --mode={mode} --tile_size={height},{width}."
        )


def with_tracks(config: ConfigDict, inputs: Inputs) -> ConfigDict:
    """The config with names, means and standard deviations of the tracks that its tiles have.

    What the config sets itself stays. Tracks without names in the tiles are numbered, unless there are as
    many as the original has. Statistics are of the values themselves: on a logarithmic scale there are none.

    Raises:
      InputError: the config names other tracks than the tiles have.
    """
    if config.task != "epigenome":
        return config
    count = inputs.target_shapes().get("track", (len(TRACKS),))[0]
    config, stored = config.copy_and_resolve_references(), inputs.source.tracks
    model, names = config.model, tuple(track.name for track in stored)
    if names and model.tracks and names != tuple(model.tracks):
        raise InputError(
            f"config.model.tracks is {', '.join(model.tracks)}, but {inputs.source.name} has the tracks "
            f"{', '.join(names)}: leave it empty."
        )
    if not names and count != len(TRACKS):
        names = tuple(f"track_{number}" for number in range(1, count + 1))
    model.tracks = tuple(model.tracks) or names
    if stored and not model.track_sds and config.targets.track_scaling == "none":
        model.track_means = tuple(track.mean for track in stored)
        model.track_sds = tuple(track.sd for track in stored)
    return config


HELD_OUT = "Chr4"
"""Chromosome of the simulated genome that is not trained on."""

SIMULATED_TRACKS = ("heterochromatin", "coverage")
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
        for name, track in zip(SIMULATED_TRACKS, every, strict=True)
    ]
    return Targets(tuple(tracks), values)


def _tracks(chrom: str, resolution: int, seed: int) -> np.ndarray:
    """The `SIMULATED_TRACKS` of a chromosome, `[2, n_bins]` float32."""
    simulated = simulate_tracks(chrom, resolution, seed)
    return np.stack([getattr(simulated, name) for name in SIMULATED_TRACKS])


def _foci(chrom: str, resolution: int) -> np.ndarray:
    """Bins of the middles of the foci within a chromosome, `[N, 2]`."""
    middles = [(start + end) // 2 // resolution for name, start, end in tair10.KEE if name == chrom]
    return np.array(list(itertools.combinations(sorted(middles), 2)), np.int64).reshape(-1, 2)
