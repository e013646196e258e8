"""Writing tile records: one array_record file at a time, then the dataset that the files make.

The folder NAME.partial of a build under way: its lock, what it was begun with, finished pieces.
"""

import contextlib
import errno
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence

from hicfm_jax import storage
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.stream import context

UNFINISHED = ".unfinished"
"""Ends the name of a file that is being written."""


def write_shard(path: str | os.PathLike, tiles: Iterable[Mapping], features) -> int:
    """Writes tile records to one array_record file; it appears under its name when it is complete.

    Args:
      path: file to make, in a folder that exists; an older one is replaced.
      tiles: records with the fields of `features`.
      features: what `dataset.features` gave.

    Returns:
      How many tiles were written; for none, no file is made.

    Raises:
      OSError: the disk is full or not writable; nothing is left behind.
    """
    dataset.import_tfds()
    parse = dataset.import_tensorflow().train.Example.FromString
    from array_record.python import array_record_module

    path = pathlib.Path(path)
    # On a cluster, two workers may be given the same file; they write the same bytes.
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}{UNFINISHED}")
    writer, count = None, 0
    try:
        with disk_errors(path):
            for tile in tiles:
                # The fields of a serialized tile come in an order that differs from process to process.
                record = parse(features.serialize_example(dict(tile))).SerializeToString(deterministic=True)
                # Counts are compressed already: a second time costs half of the reading and gains nothing.
                writer = writer or array_record_module.ArrayRecordWriter(
                    os.fspath(unfinished), "group_size:1,uncompressed"
                )
                writer.write(record)
                count += 1
            if writer:
                writer.close()
                unfinished.replace(path)
    finally:
        if writer and writer.is_open():
            with contextlib.suppress(RuntimeError):  # what went wrong is on its way already
                writer.close()
        unfinished.unlink(missing_ok=True)
    return count


def finish_dataset(
    folder: str | os.PathLike,
    shards: Mapping[str, Sequence[tuple[str | os.PathLike, int]]],
    manifest: Mapping,
    features,
) -> None:
    """Makes a folder that `tfds.builder_from_directory` and `pipeline.DiskTiles` read.

    The shards are moved into the folder and named as TFDS names them. What needs room on the disk
    is written before, and the manifest gets its name last of all.

    Args:
      folder: the dataset; made if it is not there. Give it its final name when this returns.
      shards: by split, `(file that write_shard made, tiles in it)` in the order of the records;
        without empty ones.
      manifest: the content of `manifest.json`.
      features: what `dataset.features` gave, as for the shards.

    Raises:
      OSError: the disk is full or not writable; no shard was moved then.
    """
    tfds = dataset.import_tfds()
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    unfinished = folder / (dataset.MANIFEST + UNFINISHED)
    unfinished.write_text(json.dumps(manifest, indent=2) + "\n")
    info = tfds.core.DatasetInfo(
        builder=tfds.core.DatasetIdentity(
            name=dataset.DATASET_NAME,
            version=f"{dataset.FORMAT_VERSION}.0.0",
            data_dir=os.fspath(folder),
            module_name="",
        ),
        description="Tiles of raw Hi-C contact counts.",
        features=features,
        metadata=tfds.core.MetadataDict(
            format_version=manifest["format_version"], resolution=manifest["resolution"]
        ),
    )
    info.set_file_format("array_record")
    splits = [
        tfds.core.SplitInfo(
            name=split,
            shard_lengths=[count for _, count in files],
            num_bytes=sum(os.path.getsize(path) for path, _ in files),
            filename_template=tfds.core.ShardedFileTemplate(
                data_dir=folder,
                dataset_name=dataset.DATASET_NAME,
                split=split,
                filetype_suffix="array_record",
            ),
        )
        for split, files in shards.items()
    ]
    info.set_splits(tfds.core.SplitDict(splits))
    info.write_to_directory(folder)
    for split in splits:
        for (path, _), final in zip(shards[split.name], split.filepaths, strict=True):
            os.replace(path, final)
    unfinished.replace(folder / dataset.MANIFEST)


@contextlib.contextmanager
def disk_errors(path: str | os.PathLike) -> Iterator[None]:
    """Turns the RuntimeError in which array_record tells of a disk's error into that OSError."""
    try:
        yield
    except RuntimeError as error:
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EACCES, errno.EROFS):
            if os.strerror(code) in str(error):
                code = errno.ENOSPC if code == errno.EFBIG else code
                raise OSError(code, os.strerror(code), os.fspath(path)) from error
        raise


PIECES = "pieces"
DATASET = "dataset"
_LOCK = "lock"
_STATE = "begun_with.json"


@contextlib.contextmanager
def locked(folder: pathlib.Path) -> Iterator[None]:
    """Makes the folder and keeps other builds out of it, also those of other machines.

    The operating system takes the lock from a killed build.

    Raises:
      InputError: another build is at work there, or the folder holds something else.
      OSError: the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    strangers = sorted(
        {path.name for path in folder.iterdir()} - {_LOCK, _STATE, context.FILE, PIECES, DATASET}
    )
    strangers = [name for name in strangers if not name.endswith(UNFINISHED)]
    if strangers:
        raise InputError(
            f"{folder}, where an unfinished build would be kept, holds {strangers[0]}: "
            "move it or choose another --output."
        )
    in_use = f"{folder} is in use by another build of the same tiles: wait for it or choose another --output."
    with storage.locked(folder / _LOCK, in_use):
        yield


def read_state(folder: pathlib.Path) -> dict | None:
    """What the build in `folder` was begun with; None if there is none or it got no further."""
    try:
        state = json.loads((folder / _STATE).read_text())
    except (OSError, ValueError):
        return None
    return state if isinstance(state, dict) else None


def prepare(folder: pathlib.Path) -> None:
    """Clears away what is of no use to a build that goes on: files half written or half assembled."""
    shutil.rmtree(folder / DATASET, ignore_errors=True)
    (folder / PIECES).mkdir(exist_ok=True)
    for path in folder.rglob("*" + UNFINISHED):
        path.unlink()


def begin(folder: pathlib.Path, state: dict, expected: context.ByChromosome) -> None:
    """Throws finished pieces away and notes what the new build is begun with, and its maps' context."""
    (folder / _STATE).unlink(missing_ok=True)
    shutil.rmtree(folder / PIECES)
    (folder / PIECES).mkdir()
    unfinished = folder / (context.FILE + UNFINISHED)
    context.write_context(unfinished, expected)
    unfinished.replace(folder / context.FILE)
    unfinished = folder / (_STATE + UNFINISHED)
    unfinished.write_text(json.dumps(state))
    unfinished.replace(folder / _STATE)


def discard(folder: pathlib.Path) -> None:
    """Removes the folder."""
    shutil.rmtree(folder, ignore_errors=True)
