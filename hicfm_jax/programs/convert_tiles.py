"""Converts a folder of the original's pickled tiles to a dataset, or a dataset to such a folder.

    hicfm convert-tiles FOLDER tiles/theirs
    hicfm convert-tiles tiles/leaf FOLDER

A folder with train.txt is imported, one with manifest.json is exported.
"""

import pathlib

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.errors import InputError
from hicfm_jax.progress import Progress
from hicfm_jax.tiles.dataset import MANIFEST
from hicfm_jax.tiles.upstream_folder import export_folder, import_folder

_INPUT = flags.DEFINE_string("input", None, "Folder with train.txt, or dataset of tiles.", required=True)
_OUTPUT = flags.DEFINE_string("output", None, "Dataset or folder to make.", required=True)
_RESOLUTION = flags.DEFINE(
    BASE_PAIRS,
    "resolution",
    None,
    "Bin width in bp, for the dataset's manifest; the original's tiles do not store it.",
)


def _table(splits: dict[str, dict[str, int]]) -> str:
    rows = [(split, assay, tiles) for split, assays in splits.items() for assay, tiles in assays.items()]
    return "\n".join(
        f"{split:8}{tiles:>10}  {assay}" for split, assay, tiles in [("split", "assay", "tiles"), *rows]
    )


def main() -> None:
    folder = pathlib.Path(_INPUT.value)
    if not folder.is_dir():
        raise InputError(f"--input={folder} is not a folder: give one with train.txt or {MANIFEST} in it.")
    if (folder / MANIFEST).is_file():
        if _RESOLUTION.value:
            raise InputError(
                f"--resolution is for tiles of the original, but {folder} is a dataset: leave it out."
            )
        splits = export_folder(folder, _OUTPUT.value, progress=Progress())
    else:
        manifest = import_folder(folder, _OUTPUT.value, resolution=_RESOLUTION.value, progress=Progress())
        splits = {name: split["assays"] for name, split in manifest["splits"].items()}
    print(_table(splits))
    print(f"Wrote {_OUTPUT.value}")
