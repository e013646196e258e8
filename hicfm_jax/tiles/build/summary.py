"""What a dataset of tiles came to, for its manifest and for people.

What a build would write, without writing it.
"""

import os
import sys
import zlib
from collections import Counter
from collections.abc import Iterable, Mapping

from hicfm_jax.contacts import ContactMap
from hicfm_jax.progress import NullProgress
from hicfm_jax.tiles.build import cutting
from hicfm_jax.tiles.build.map_file import MapFile, OpenMaps
from hicfm_jax.tiles.build.plan import Region, plan_tiles
from hicfm_jax.tiles.build.splits import SPLITS
from hicfm_jax.types import PATCH

ACROSS = "across_splits"
"""Among the trans tallies of a map, the pairs whose chromosomes belong to different splits."""

_CONFIG = "pretrain_arabidopsis.py:small_batch"
_COLUMNS = ("kept", "too_sparse", "too_short")


def summarize(regions: Iterable[Region], counts: Mapping[tuple, tuple[int, int]], arguments: Mapping) -> dict:
    """The fields `tiles`, `trans_tiles` and `splits` of a manifest.

    Args:
      regions: all of the plan.
      counts: (kept, too sparse) by (assay, chromosomes); nothing for a region that was not cut.
      arguments: the manifest's fields `sources`, `resolution` and `loci`.
    """
    tiles = {assay: {} for assay in arguments["sources"]}
    trans_tiles, splits = {}, {}
    for region in regions:
        kept, too_sparse = counts.get((region.assay, region.chromosomes), (0, 0))
        if region.cis:
            (name, _), source = region.chromosomes, arguments["sources"][region.assay]
            tiles[region.assay][name] = {
                "split": region.split,
                "bins": -(-source["chromsizes"][name] // arguments["resolution"]),
                "kept": kept,
                "too_sparse": too_sparse,
                "too_short": not region.windows and not arguments["loci"],
            }
        else:
            tally = trans_tiles.setdefault(region.assay, {}).setdefault(
                region.split or ACROSS, {"pairs": 0, "kept": 0, "too_sparse": 0}
            )
            tally["pairs"] += 1
            tally["kept"] += kept
            tally["too_sparse"] += too_sparse
        if kept:
            split = splits.setdefault(region.split, {"tiles": 0, "chromosomes": {}, "assays": Counter()})
            split["tiles"] += kept
            split["chromosomes"] |= dict.fromkeys(region.chromosomes)
            split["assays"][region.assay] += kept
    for split in splits.values():
        split |= {"chromosomes": list(split["chromosomes"]), "assays": dict(split["assays"])}
    return {
        "tiles": tiles,
        "trans_tiles": trans_tiles,
        "splits": {name: splits[name] for name in SPLITS if name in splits},
    }


def table(manifest: Mapping) -> str:
    """The tiles by split and map, and the chromosomes of each split; `too short` counts chromosomes."""
    rows = {}
    for assay, chromosomes in manifest["tiles"].items():
        trans = manifest["trans_tiles"].get(assay, {}).items()
        for split, tally in (*((tally["split"], tally) for tally in chromosomes.values()), *trans):
            row = rows.setdefault((split, assay), Counter())
            row.update({name: tally.get(name, 0) for name in _COLUMNS})
    width = max(len(assay) for _, assay in rows) + 2
    lines = [f"{'split':7}{'map':{width}}" + "".join(f"{name.replace('_', ' '):>12}" for name in _COLUMNS)]
    for split in SPLITS:
        for (of, assay), row in rows.items():
            if of == split:
                lines.append(f"{split:7}{assay:{width}}" + "".join(f"{row[name]:12,}" for name in _COLUMNS))
    for split, content in manifest["splits"].items():
        names = content["chromosomes"]
        listed = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
        lines.append(f"{split}: {content['tiles']:,} tiles of {listed}")
    across = sum(tally.get(ACROSS, {}).get("pairs", 0) for tally in manifest["trans_tiles"].values())
    if across:
        lines.append(f"Left out: {across:,} pairs of chromosomes that belong to different splits.")
    return "\n".join(lines)


def advice(manifest: Mapping, output: str) -> str:
    """What to run next, and a note if the tiles do not suit the patches."""
    lines = []
    if any("weight" in source for source in manifest["sources"].values()):
        lines.append(
            "Note: these are balanced values, which the published models have never seen: raw counts."
        )
    if manifest["stride"] and manifest["stride"] % PATCH:
        lost = "windows as large as a tile lose their diagonal, masks are not mirror-symmetric there"
        lines.append(f"Note: with --stride={manifest['stride']} {lost}; a multiple of {PATCH} is better.")
    sides = ",".join(str(min(side, 448) // PATCH * PATCH) for side in manifest["tile_size"])
    python = min(os.path.relpath(sys.executable), sys.executable, key=len)
    config = "pretrain_plants.py:small_batch --config.data.mix=" if manifest["mix"] else _CONFIG
    lines.append(
        f"Next: {python} scripts/train.py --config=configs/{config} "
        f"--config.data.tiles={output} --config.model.input_size={sides} --workdir=runs/pretrain"
    )
    return "\n".join(lines)


_SAMPLED = 32
"""One tile in so many is compressed to see how large it is."""

_OTHER_BYTES = 300
"""Of a stored tile, beside its counts."""


def count_tiles(
    sources: Mapping[str, ContactMap | MapFile], *, progress: NullProgress | None = None, **settings
) -> tuple[dict, int]:
    """Counts the tiles that `builder.build_tiles` would write, exactly, and estimates their size.

    Windows are counted on the sparse maps; one in 32 that will be a tile is compressed, to see how
    many bytes a pixel takes.

    Args:
      sources: maps of one resolution by assay name, each a file to open or a map in memory.
      progress: told how far the count is.
      **settings: which tiles, as for `plan.plan_tiles`.

    Returns:
      The manifest that the dataset would have, and the bytes on disk that it would take.

    Raises:
      InputError: arguments that do not fit the maps.
    """
    progress = progress or NullProgress()
    plan = plan_tiles(sources, **settings)
    regions = [region for region in plan.regions if region.windows and region.split]
    dtype, maps = plan.dtype(), OpenMaps(sources)
    counts, tiles = {}, 0
    pixels = sampled_pixels = sampled_bytes = 0
    progress.start(sum(region.windows for region in regions))
    for region in regions:
        kept, source = 0, (region.assay, region.chromosomes)
        for window in cutting.scan_region(maps[region.assay], *source, plan.tiling):
            progress.advance(1, region.name)
            if window.nonzero < plan.tiling.needed:
                continue
            if (tiles + kept) % _SAMPLED == 0:
                sampled_pixels += window.nonzero
                sampled_bytes += len(zlib.compress(window.counts().astype(dtype).tobytes()))
            pixels += window.nonzero
            kept += 1
        counts[source] = kept, region.windows - kept
        tiles += kept
    progress.close()
    manifest = plan.arguments | {"dtype": dtype.name, "context": True}
    manifest |= summarize(plan.regions, counts, plan.arguments)
    return manifest, tiles * _OTHER_BYTES + round(sampled_bytes * pixels / max(sampled_pixels, 1))
