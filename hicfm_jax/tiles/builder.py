"""Contact maps -> a TFDS dataset of tiles on disk, split by chromosome or by assay."""

import dataclasses
import errno
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import records, windows
from hicfm_jax.tiles.arrays import cut_map

SPLITS = ("train", "val", "test")

_SHARD_BYTES = 1 << 31  # of tiles before compression; files come out a third of that or less


@dataclasses.dataclass(frozen=True)
class HeldOut:
    """What is kept from training: either chromosomes or assays, whole ones.

    Attributes:
      val_chromosomes, test_chromosomes: `chr4` and `4` also stand for the maps' `Chr4`.
      val_assays, test_assays: names of maps.
    """

    val_chromosomes: Sequence[str] = ()
    test_chromosomes: Sequence[str] = ()
    val_assays: Sequence[str] = ()
    test_assays: Sequence[str] = ()

    def resolve(self, contact_maps: Mapping[str, ContactMap]) -> "HeldOut":
        """The same, chromosomes as the maps name them.

        Raises:
          InputError: a name that no map has, or that is held out twice.
        """
        val = windows.find_chromosomes(contact_maps, self.val_chromosomes, "val_chromosomes")
        test = windows.find_chromosomes(contact_maps, self.test_chromosomes, "test_chromosomes")
        chromosomes = [*val, *test]
        assays = [*self.val_assays, *self.test_assays]
        if chromosomes and assays:
            raise InputError(
                f"Both chromosomes ({', '.join(chromosomes)}) and assays ({', '.join(assays)}) are held out: "
                "split by one of the two."
            )
        for name in assays:
            if name not in contact_maps:
                raise InputError(
                    f"Assay {name!r} is held out but the inputs are named {', '.join(contact_maps)}: "
                    "use one of these, or name an input with --input=NAME=FILE."
                )
        for names in (chromosomes, assays):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise InputError(f"{', '.join(twice)} is held out twice: name it in val or in test, once.")
        return dataclasses.replace(self, val_chromosomes=val, test_chromosomes=test)

    def split(self, assay: str, chromosome: str) -> str:
        """Name of the split that a tile belongs to."""
        if chromosome in self.test_chromosomes or assay in self.test_assays:
            return "test"
        if chromosome in self.val_chromosomes or assay in self.val_assays:
            return "val"
        return "train"

    def requested(self) -> list[str]:
        val, test = self.val_chromosomes or self.val_assays, self.test_chromosomes or self.test_assays
        return [name for name, wanted in zip(SPLITS, (True, val, test), strict=True) if wanted]


def build_tiles(
    contact_maps: Mapping[str, ContactMap],
    output: str | os.PathLike,
    *,
    tile_size: int = 448,
    stride: int = 224,
    min_density: float = 0.01,
    held_out: HeldOut | None = None,
    sources: Mapping[str, str] | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[dict, bool]:
    """Cuts cis maps on a grid and writes the tiles that are dense enough.

    The dataset is a folder that `tfds.builder_from_directory` reads, with `manifest.json` in it.
    It appears under its name when it is complete, and not before; a killed run leaves a folder
    NAME.partial that the next run replaces. The same arguments give the same bytes, in the order
    map, chromosome, row, column. Each chromosome is loaded twice: to choose the dtype, and to cut.

    Args:
      contact_maps: maps of one resolution by assay name.
      output: folder to make.
      tile_size: bins of a tile's side.
      stride: bins from one tile to the next.
      min_density: fraction of non-zero pixels that a tile needs.
      held_out: the chromosomes or assays of the splits `val` and `test`.
      sources: where each map comes from, by assay, for the manifest; the map's name if absent.
      progress: called with one line from time to time.

    Returns:
      The manifest, and whether the dataset was made now (False: it was there already, made with
      the same arguments).

    Raises:
      InputError: arguments that do not fit the maps, a split without tiles, or another dataset
        under that name.
      OSError: the disk is full or not writable; nothing is left behind.
    """
    output = pathlib.Path(output).resolve()
    if output == pathlib.Path.cwd():
        raise InputError(f"{output} is the current folder: give --output the name of a folder to make.")
    windows.check_tiling(tile_size, stride, min_density)
    resolution = windows.check_resolution(contact_maps)
    held_out = (held_out or HeldOut()).resolve(contact_maps)
    arguments = {
        "format_version": records.FORMAT_VERSION,
        "mode": "grid",
        "resolution": resolution,
        "tile_size": tile_size,
        "stride": stride,
        "min_density": min_density,
        "held_out": {name: list(value) for name, value in dataclasses.asdict(held_out).items()},
        "sources": {
            assay: {
                "uri": str((sources or {}).get(assay, contact_map.name)),
                "total_count": float(contact_map.total_count),
                "chromsizes": dict(contact_map.chromsizes),
            }
            for assay, contact_map in contact_maps.items()
        },
    }
    if os.path.exists(output) and (not output.is_dir() or any(output.iterdir())):
        return _existing(output, arguments), False

    records.import_tfds()  # what is missing is told before the maps are read
    partial = output.with_name(output.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        dtype = windows.count_dtype(contact_maps)
        tally = {assay: {} for assay in contact_maps}
        writer = _Writer(partial, tile_size, dtype, arguments)
        for assay, contact_map in contact_maps.items():
            for name in contact_map.chromsizes:
                split, n_bins = held_out.split(assay, name), contact_map.n_bins(name)
                count = tally[assay][name] = {"split": split, "bins": n_bins, "kept": 0, "too_sparse": 0}
                count["too_short"] = not windows.grid_starts(n_bins, tile_size, stride)
                for tile in cut_map(contact_map, name, assay, tile_size, stride, min_density, dtype):
                    count["too_sparse" if tile is None else "kept"] += 1
                    if tile is not None:
                        writer.add(split, tile)
                        progress(
                            f"{assay} {name}: bin {tile['starts'][0]} of {n_bins}, {count['kept']} tiles kept"
                        )
        splits = _summary(tally)
        for name in held_out.requested():
            if not splits.get(name, {}).get("tiles"):
                raise InputError(
                    f"No tile of {tile_size} bins in split {name!r} has {min_density:.1%} non-zero pixels: "
                    "lower min_density, use smaller tiles or a coarser resolution, or hold out less."
                )
        writer.close()
        manifest = {**arguments, "dtype": dtype.name, "tiles": tally, "splits": splits}
        (partial / records.MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
        partial.rename(output)
    except OSError as error:
        if error.errno not in (errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG):
            raise
        raise InputError(
            f"{output} cannot be made ({error.filename}: {error.strerror}): choose another --output."
        ) from error
    except RuntimeError as error:
        raise _disk_error(error, output) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return manifest, True


def _existing(output: pathlib.Path, arguments: dict) -> dict:
    if not (output / records.MANIFEST).is_file():
        raise InputError(f"{output} exists and is not a dataset of tiles: choose another --output.")
    manifest = records.read_manifest(output)
    arguments = json.loads(json.dumps(arguments))
    differing = [name for name, value in arguments.items() if manifest.get(name) != value]
    if differing:
        raise InputError(
            f"{output} is there already, made with another {', '.join(differing)}: "
            "remove it or choose another --output."
        )
    return manifest


def _summary(tally: dict) -> dict:
    splits = {}
    for assay, chromosomes in tally.items():
        for name, count in chromosomes.items():
            if count["kept"]:
                split = splits.setdefault(count["split"], {"tiles": 0, "chromosomes": [], "assays": []})
                split["tiles"] += count["kept"]
                split["chromosomes"] += [name] if name not in split["chromosomes"] else []
                split["assays"] += [assay] if assay not in split["assays"] else []
    return {name: splits[name] for name in SPLITS if name in splits}


class _Writer:
    def __init__(self, folder: pathlib.Path, tile_size: int, dtype: np.dtype, arguments: dict):
        tfds = records.import_tfds()
        info = tfds.core.DatasetInfo(
            builder=tfds.core.DatasetIdentity(
                name=records.DATASET_NAME,
                version=f"{records.FORMAT_VERSION}.0.0",
                data_dir=os.fspath(folder),
                module_name="",
            ),
            description="Square tiles of raw Hi-C contact counts.",
            features=records.features(tile_size, dtype),
            metadata=tfds.core.MetadataDict(
                format_version=arguments["format_version"], resolution=arguments["resolution"]
            ),
        )
        self._writer = tfds.core.SequentialWriter(
            info, max(1, _SHARD_BYTES // (tile_size**2 * dtype.itemsize)), file_format="array_record"
        )
        self._splits = set()
        self._waiting = {}

    def add(self, split: str, tile: dict) -> None:
        # The TFDS writer rewrites its metadata at every call, hence some tiles at a time.
        self._waiting.setdefault(split, []).append(tile)
        if len(self._waiting[split]) == 64:
            self._flush(split)

    def close(self) -> None:
        for split in list(self._waiting):
            self._flush(split)
        self._writer.close_splits(sorted(self._splits))

    def _flush(self, split: str) -> None:
        if split not in self._splits:
            self._splits.add(split)
            self._writer.initialize_splits([split])
        self._writer.add_examples({split: self._waiting.pop(split)})


def _disk_error(error: RuntimeError, output: pathlib.Path) -> Exception:
    # array_record reports what the file system said as a RuntimeError.
    for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
        if os.strerror(code) in str(error):
            return OSError(
                errno.ENOSPC if code == errno.EFBIG else code, os.strerror(code), os.fspath(output)
            )
    return error
