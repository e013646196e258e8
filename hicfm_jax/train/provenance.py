"""What data a checkpoint is made of, written into it so that nobody judges it on what it has seen."""

import os
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from hicfm_jax.convert.checkpoint_folder import FOLDER, read_meta
from hicfm_jax.convert.original_file import is_original_file
from hicfm_jax.tiles.stream import Source

_SPLITS = ("train", "val")
Seen = dict[str, dict[str, list[str]]]


def provenance(
    config: ConfigDict, tiles: Source, workdir: str | os.PathLike, init_from: str | os.PathLike
) -> dict[str, Any]:
    """What every checkpoint of a run says of its data.

    Args:
      config: of the run.
      tiles: that it trains and validates on.
      workdir: of the run; one that is taken up again keeps what it said of its beginning.
      init_from: where its first parameters come from, or "".

    Returns:
      `seen`: by split ("train", "val"), assay and chromosomes, of this run and of those before it;
      simulated maps are left out, and what published files saw is not known. `total_counts`: contacts of
      each map that this run trains on.
    """
    simulated = not config.data.tiles
    own = {} if simulated else {split: tiles.chromosomes(split) for split in _SPLITS if split in tiles.splits}
    before = [_seen_by(workdir)]
    if init_from and not is_original_file(init_from):
        before.append(_seen_by(init_from))
    totals = {} if simulated else tiles.total_counts("train")
    return {"seen": _united([own, *before]), "total_counts": totals}


def trained_before_on(provenance: Mapping[str, Any]) -> list[str]:
    """Held-out chromosomes that something before this run was trained on, as `assay chromosome`."""
    seen = provenance["seen"]
    return [
        f"{assay} {chromosome}"
        for assay, chromosomes in seen.get("val", {}).items()
        for chromosome in chromosomes
        if chromosome in seen.get("train", {}).get(assay, ())
    ]


def _seen_by(path: str | os.PathLike) -> Seen:
    if not os.path.isdir(os.path.join(path, FOLDER)) and not os.path.isdir(os.path.join(path, "params")):
        return {}
    return read_meta(path).get("seen", {})


def _united(parts: list[Seen]) -> Seen:
    seen: Seen = {}
    for part in parts:
        for split, assays in part.items():
            for assay, chromosomes in assays.items():
                known = seen.setdefault(split, {}).setdefault(assay, [])
                known.extend(name for name in chromosomes if name not in known)
    return seen
