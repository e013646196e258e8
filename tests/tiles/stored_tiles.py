"""Writes tiles in memory as a dataset: with targets, any shape, a mix."""

import dataclasses
import pathlib

import numpy as np

from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import shards
from hicfm_jax.tiles.stream.memory import ArrayTiles


def with_targets(tiles: ArrayTiles, *names: str) -> ArrayTiles:
    """The same tiles with random targets of these names."""
    height, width = tiles.tile_shape
    shapes = {"map": (height, width), "track": (height,), "embedding": (8,)}
    rng = np.random.default_rng(0)
    targets = {name: rng.random((len(tiles), *shapes[name]), np.float32) for name in names}
    return dataclasses.replace(tiles, targets=targets)


def store(folder: pathlib.Path, splits: dict[str, ArrayTiles], mix: dict[str, float]) -> pathlib.Path:
    """Writes a dataset whose tiles are exactly those given."""
    first = next(iter(splits.values()))
    features = dataset.features(first.tile_shape, first.dtype, first.target_shapes)
    folder.mkdir()
    files = {}
    for split, tiles in splits.items():
        fields = {field.name: getattr(tiles, field.name) for field in dataclasses.fields(tiles)}
        del fields["expected"], fields["tracks"]  # these datasets have no context, and tracks without names
        fields["chromosomes"] = tiles.chromosomes.tolist()
        fields |= {f"target_{name}": array for name, array in fields.pop("targets").items()}
        rows = ({name: array[i] for name, array in fields.items()} for i in range(len(tiles)))
        shard = folder / f"{split}-shard"
        files[split] = [(shard, shards.write_shard(shard, rows, features))]
    manifest = {
        "format_version": dataset.FORMAT_VERSION,
        "mode": "grid",
        "stride": 16,
        "resolution": 1000,
        "tile_size": list(first.tile_shape),
        "dtype": first.dtype.name,
        "targets": {name: list(shape) for name, shape in first.target_shapes.items()},
        "mix": mix,
        "tiles": {},
        "splits": {
            split: {
                "tiles": len(tiles),
                "assays": dict(zip(tiles.assays, np.bincount(tiles.assay_numbers()).tolist(), strict=True)),
            }
            for split, tiles in splits.items()
        },
    }
    shards.finish_dataset(folder, files, manifest, features)
    return folder
