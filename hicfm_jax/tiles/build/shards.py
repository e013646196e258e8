"""Record files of tiles, and the dataset that they make."""

import contextlib
import itertools
import json
import os
import pathlib
from collections.abc import Iterable, Mapping, Sequence

from hicfm_jax.storage import atomic_file, disk_errors
from hicfm_jax.tiles import dataset


def write_shard(path: str | os.PathLike, tiles: Iterable[Mapping], features) -> int:
    """Writes tile records with the fields of `features` to one array_record file, and returns their number.

    The file replaces an older one when it is complete; for no tiles, none is made. Raises OSError if the
    disk is full or not writable; nothing is left.
    """
    parse = dataset.example_type().FromString
    from array_record.python import array_record_module

    tiles, count = iter(tiles), 0
    first = next(tiles, None)
    if first is None:
        return 0
    with atomic_file(path) as partial, disk_errors(path):
        # Counts are compressed already: a second time would double the reading time for nothing.
        writer = array_record_module.ArrayRecordWriter(os.fspath(partial), "group_size:1,uncompressed")
        try:
            for tile in itertools.chain([first], tiles):
                # The order of the fields in a serialized tile differs from process to process.
                record = parse(features.serialize_example(dict(tile))).SerializeToString(deterministic=True)
                writer.write(record)
                count += 1
            writer.close()
        finally:
            if writer.is_open():
                with contextlib.suppress(RuntimeError):  # the first error is being raised
                    writer.close()
    return count


def finish_dataset(
    folder: str | os.PathLike,
    shards: Mapping[str, Sequence[tuple[str | os.PathLike, int]]],
    manifest: Mapping,
    features,
) -> None:
    """Makes a folder that `tfds.builder_from_directory` and `source.DiskTiles` read.

    `shards` are by split `(file made by write_shard, tiles in it)` in the order of the records, without
    empty ones. They are moved into the folder and named as TFDS names them. Everything that needs space on
    the disk is written before, and the manifest gets its name last. Raises OSError if the disk is full or
    not writable; no shard was moved.
    """
    tfds = dataset.import_tfds()
    folder = pathlib.Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with atomic_file(folder / dataset.MANIFEST) as partial:
        partial.write_text(json.dumps(manifest, indent=2) + "\n")
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
