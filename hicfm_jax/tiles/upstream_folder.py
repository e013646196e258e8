"""Conversion between the original's folders of tiles and our datasets.

Such a folder has a `train.txt` and a `val.txt`, which list sub-folders of pickled tiles line by line
(`parse_text` in the original's `pretrain/main_worker.py`).
"""

import contextlib
import os
import pathlib
import re
from collections.abc import Iterator, Mapping

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import atomic_folder, local_path
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import shards
from hicfm_jax.tiles.build.splits import SPLITS
from hicfm_jax.tiles.upstream_tile import TARGETS, read_tile, write_tile


def import_folder(
    folder: str | os.PathLike,
    output: str | os.PathLike,
    *,
    resolution: int | None = None,
    progress: NullProgress | None = None,
) -> dict:
    """Makes a dataset from a folder of the original.

    Every listed sub-folder becomes an assay of its name, with its files in the order of their
    numbers. Every file is read twice: to check it and choose the dtype, and to store it. The
    dataset appears under its name when it is complete.

    Args:
      folder: has a `train.txt` and optionally `val.txt`, `test.txt`.
      output: dataset to make.
      resolution: bin width in bp, for the manifest; the tiles do not store it.
      progress: shows the progress, in tiles.

    Returns:
      The manifest.

    Raises:
      InputError: a file that is missing, is not a tile, or differs from the others in shape or
        targets; or `output` exists.
      OSError: the disk is full or not writable; nothing is left.
    """
    progress = progress or NullProgress()
    listed = _listed_tiles(pathlib.Path(folder))
    dataset.import_tfds()  # raises now if it is missing, before the tiles are read
    with contextlib.closing(progress), atomic_folder(_free(output)) as partial:
        progress.start(2 * sum(len(paths) for assays in listed.values() for paths in assays.values()))
        survey = _Survey()
        splits, files = {}, {}
        for split, assays in listed.items():
            chromosomes = {}
            for assay, paths in assays.items():
                for path in paths:
                    tile = read_tile(path, assay)
                    survey.add(path, tile)
                    chromosomes |= dict.fromkeys(filter(None, tile["chromosomes"]))
                    progress.advance(1, f"checking {assay}")
            counted = {assay: len(paths) for assay, paths in assays.items()}
            splits[split] = {
                "tiles": sum(counted.values()),
                "chromosomes": list(chromosomes),
                "assays": counted,
            }
        features = dataset.features(survey.tile_shape, survey.dtype, survey.targets)
        for split, assays in listed.items():
            files[split] = []
            for number, (assay, paths) in enumerate(assays.items()):
                shard = partial / f"{split}-{number}"
                tiles = _read_again(paths, assay, survey.dtype, progress)
                files[split].append((shard, shards.write_shard(shard, tiles, features)))
        manifest = {
            "format_version": dataset.FORMAT_VERSION,
            "mode": "imported",
            "trans": survey.trans,
            "resolution": resolution,
            "tile_size": list(survey.tile_shape),
            "stride": None,
            "min_density": None,
            "loci": None,
            "held_out": {},
            "sources": {
                assay: {"uri": os.fspath(folder), "total_count": None, "chromsizes": {}}
                for assays in listed.values()
                for assay in assays
            },
            "dtype": survey.dtype.name,
            "targets": {name: list(shape) for name, shape in survey.targets.items()},
            "mix": {},
            "tiles": {},
            "trans_tiles": {},
            "splits": splits,
        }
        shards.finish_dataset(partial, files, manifest, features)
    return manifest


def export_folder(
    folder: str | os.PathLike,
    output: str | os.PathLike,
    *,
    progress: NullProgress | None = None,
) -> dict[str, dict[str, int]]:
    """Makes a folder of the original from a dataset; `import_folder` gives the same tiles again.

    Args:
      folder: dataset made by `scripts/make_tiles.py` or `import_folder`.
      output: folder to make; appears when it is complete.
      progress: shows the progress, in tiles.

    Returns:
      Tiles by split and assay.

    Raises:
      InputError: no readable dataset, an assay whose name no folder can have, or `output` exists.
      OSError: the disk is full or not writable; nothing is left.
    """
    progress = progress or NullProgress()
    splits = dataset.read_manifest(folder)["splits"]
    for assay in {assay for split in splits.values() for assay in split["assays"]}:
        if pathlib.PurePath(assay).name != assay or assay != " ".join(assay.split()):
            raise InputError(
                f"{folder}: the assay {assay!r} cannot name a folder: make the tiles under another name."
            )
    with contextlib.closing(progress), atomic_folder(_free(output)) as partial:
        progress.start(sum(split["tiles"] for split in splits.values()))
        for name, split in splits.items():
            (partial / f"{name}.txt").write_text("".join(f"{name}/{assay}\n" for assay in split["assays"]))
            for assay in split["assays"]:
                (partial / name / assay).mkdir(parents=True)
            for number, tile in enumerate(_stored_tiles(folder, name)):
                write_tile(partial / name / tile["assay"] / f"{number:07d}.pkl", tile)
                progress.advance(1, f"writing {name}")
    return {name: dict(split["assays"]) for name, split in splits.items()}


class _Survey:
    """The common properties of the tiles of one dataset, found tile by tile."""

    def __init__(self):
        self.tile_shape, self.targets, self.dtype, self.trans = None, None, np.dtype(np.uint16), False

    def add(self, path: pathlib.Path, tile: Mapping) -> None:
        counts = tile["counts"]
        targets = {field.removeprefix("target_"): tile[field].shape for field in TARGETS if field in tile}
        if self.tile_shape is None:
            self.tile_shape, self.targets = counts.shape, targets
        for what, found, expected in (
            ("the shape", counts.shape, self.tile_shape),
            ("the targets", targets, self.targets),
        ):
            if found != expected:
                raise InputError(
                    f"{path} has {what} {found or 'none'} and the tiles before it {expected or 'none'}: "
                    "make one dataset of each kind."
                )
        if counts.max() > np.iinfo(np.uint16).max or (counts != np.floor(counts)).any():
            self.dtype = np.dtype(np.float32)
        self.trans |= tile["chromosomes"][0] != tile["chromosomes"][1]


def _listed_tiles(folder: pathlib.Path) -> dict[str, dict[str, list[pathlib.Path]]]:
    """Paths of the tiles by split and assay; the original itself has no `test`."""
    if not (folder / "train.txt").is_file():
        raise InputError(f"{folder} has no train.txt: give a folder with this file and sub-folders of tiles.")
    listed, listed_in = {}, {}
    for split in SPLITS:
        file = folder / f"{split}.txt"
        if not file.is_file():
            continue
        try:
            lines = [line.strip() for line in file.read_text().splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise InputError(f"{file} is not text ({error}): list one sub-folder a line.") from error
        if not lines:
            raise InputError(f"{file} is empty: list one sub-folder a line, or remove the file.")
        listed[split] = {}
        for line in lines:
            sub_folder = pathlib.Path(os.path.normpath(folder / line))
            if not sub_folder.is_dir():
                raise InputError(
                    f"{file} lists {line!r}, but there is no folder {sub_folder}: correct the list."
                )
            if sub_folder in listed_in or sub_folder.name in listed[split]:
                other = listed_in.get(sub_folder, file)
                raise InputError(
                    f"{file} lists {line!r}, but {other} lists it or a folder of the same name: "
                    "list each name once."
                )
            paths = sorted(sub_folder.glob("*.pkl"), key=_by_numbers)
            if not paths:
                raise InputError(
                    f"{file} lists {line!r}, but {sub_folder} has no .pkl file: correct the list."
                )
            listed_in[sub_folder] = file
            listed[split][sub_folder.name] = paths
    return listed


def _by_numbers(path: pathlib.Path) -> list:
    # chr1_448_0 comes after chr1_224_0 and before chr1_1120_0.
    return [int(part) if i % 2 else part for i, part in enumerate(re.split(r"(\d+)", path.name))]


def _read_again(
    paths: list[pathlib.Path], assay: str, dtype: np.dtype, progress: NullProgress
) -> Iterator[dict]:
    for path in paths:
        tile = read_tile(path, assay)
        yield tile | {"counts": tile["counts"].astype(dtype)}
        progress.advance(1, f"writing {assay}")


def _stored_tiles(folder: str | os.PathLike, split: str) -> Iterator[dict]:
    tfds = dataset.import_tfds()
    try:
        for tile in tfds.builder_from_directory(folder).as_data_source(split):
            names = [name.decode() for name in tile["chromosomes"]]
            yield tile | {"assay": tile["assay"].decode(), "chromosomes": names}
    except (RuntimeError, ValueError, KeyError, IndexError) as error:
        raise dataset.damaged(folder, error) from error


def _free(output: str | os.PathLike) -> pathlib.Path:
    output = local_path(output).resolve()
    if os.path.lexists(output) and (not output.is_dir() or any(output.iterdir())):
        raise InputError(f"{output} exists: remove it or choose another --output.")
    return output
