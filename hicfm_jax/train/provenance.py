"""What data a checkpoint is made of, written into it so that nobody judges it on what it has seen."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from hicfm_jax.checkpoints.folder import read_meta
from hicfm_jax.contacts.contact_map import bare_name
from hicfm_jax.convert.files import is_original_file
from hicfm_jax.tiles.stream.source import Source

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
      simulated maps are left out. `unknown`: files of the original that any of them started from, which
      do not say what they have seen. `total_counts`: contacts of each map that this run trains on.
    """
    before = [_said_by(path) for path in (workdir, init_from) if os.fspath(path)]
    own = {split: {} for split in _SPLITS}
    totals = {}
    if config.data.tiles:
        own |= {split: tiles.chromosomes(split) for split in _SPLITS if split in tiles.splits}
        totals = tiles.total_counts("train")
    return {
        "seen": _united([own, *(said.get("seen", {}) for said in before)]),
        "unknown": sorted({file for said in before for file in said.get("unknown", ())}),
        "total_counts": totals,
    }


def trained_before_on(config: ConfigDict, tiles: Source, init_from: str | os.PathLike) -> list[str]:
    """Chromosomes to validate on that share their name with one that `init_from` was trained on.

    Whatever the assay, because another assay of a genome has the same loci: `leaf Chr4 (as root chr4)`.
    """
    if not config.data.tiles or "val" not in tiles.splits or not os.fspath(init_from):
        return []
    trained = _said_by(init_from).get("seen", {}).get("train", {})
    before = {bare_name(name): f"{assay} {name}" for assay, name in _pairs(trained)}
    return [
        f"{assay} {name} (as {before[bare_name(name)]})"
        for assay, name in _pairs(tiles.chromosomes("val"))
        if bare_name(name) in before
    ]


def _pairs(by_assay: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    return [(assay, name) for assay, names in by_assay.items() for name in names]


def _said_by(path: str | os.PathLike) -> Mapping[str, Any]:
    if is_original_file(path):
        return {"unknown": [os.path.basename(path)]}
    said = read_meta(path)
    # Converted from such a file.
    return said if "seen" in said or not said.get("original") else {"unknown": [os.path.basename(path)]}


def _united(parts: list[Seen]) -> Seen:
    seen: Seen = {}
    for part in parts:
        for split, assays in part.items():
            by_assay = seen.setdefault(split, {})
            for assay, name in _pairs(assays):
                known = by_assay.setdefault(assay, [])
                if name not in known:
                    known.append(name)
    return seen
