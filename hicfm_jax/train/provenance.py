"""Maps and chromosomes that a checkpoint was trained on, stored in its metadata."""

import os
from collections.abc import Iterable, Mapping
from typing import Any

from ml_collections import ConfigDict

from hicfm_jax.checkpoints.folder import read_meta
from hicfm_jax.contacts.contact_map import SIMULATED, bare_name
from hicfm_jax.contacts.species import may_share_chromosomes
from hicfm_jax.convert.files import is_original_file
from hicfm_jax.tiles.stream.source import Source

_SPLITS = ("train", "val")
Seen = dict[str, dict[str, list[str]]]


def provenance(
    config: ConfigDict, tiles: Source, workdir: str | os.PathLike, init_from: str | os.PathLike
) -> dict[str, Any]:
    """Metadata about the data of a run, for each of its checkpoints.

    Those in `workdir`, if the run resumes, and those of `init_from` ("" for none) are kept.

    Returns:
      `seen`: chromosomes by split ("train", "val") and assay, of this run and of those it started from,
      without simulated maps. `unknown`: files of the original that any of these started from, whose
      training data are not known. `seen_maps`: `Source.maps` of the assays in `seen`. `total_counts` and
      `maps`: contacts of each map that this run trains on, and `Source.maps` of these.
    """
    before = [_stored_in(path) for path in (workdir, init_from) if os.fspath(path)]
    own = {split: {} for split in _SPLITS}
    totals, maps, seen_maps = {}, {}, {}
    for meta in before:
        seen_maps |= _seen_maps(meta)
    if config.data.tiles:
        own = {split: tiles.chromosomes(split) for split in _SPLITS}
        totals, maps = tiles.total_counts("train"), tiles.maps("train")
        seen_maps |= tiles.maps("val") | maps
    return {
        "seen": _united([own, *(meta.get("seen", {}) for meta in before)]),
        "unknown": sorted({file for meta in before for file in meta.get("unknown", ())}),
        "total_counts": totals,
        "maps": maps,
        "seen_maps": seen_maps,
    }


def trained_before_on(config: ConfigDict, tiles: Source, init_from: str | os.PathLike) -> list[str]:
    """Validation chromosomes that have the name of one that `init_from` was trained on.

    Of any assay of the genome, as far as lengths tell, because another one has the same loci: `leaf Chr4 (as
    root chr4)`. Simulated maps tell nothing of measured ones.
    """
    if not config.data.tiles or not os.fspath(init_from):
        return []
    meta, own = _stored_in(init_from), tiles.maps("val")
    trained, stored = _pairs(meta.get("seen", {}).get("train", {})), _seen_maps(meta)
    found = {}
    for assay, name in _pairs(tiles.chromosomes("val")):
        for before, other in trained:
            facts = own.get(assay, {}), stored.get(before, {})
            if facts[1].get(SIMULATED) and not facts[0].get(SIMULATED):
                continue
            genomes = (each.get("longest", []) for each in facts)
            if bare_name(name) == bare_name(other) and may_share_chromosomes(*genomes):
                found[assay, name] = f"{assay} {name} (as {before} {other})"
    return list(found.values())


def _pairs(by_assay: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    return [(assay, name) for assay, names in by_assay.items() for name in names]


def _seen_maps(meta: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    return meta.get("seen_maps") or meta.get("maps", {})  # early versions stored those of the last run


def _stored_in(path: str | os.PathLike) -> Mapping[str, Any]:
    meta = {} if is_original_file(path) else read_meta(path)
    converted = "seen" not in meta and meta.get("original")
    return {"unknown": [os.path.basename(path)]} if converted or is_original_file(path) else meta


def _united(parts: list[Seen]) -> Seen:
    seen: Seen = {}
    for part in parts:
        for split, assays in part.items():
            by_assay = seen.setdefault(split, {})
            for assay, names in assays.items():
                by_assay[assay] = list(dict.fromkeys([*by_assay.get(assay, ()), *names]))
    return seen
