"""Statistics of a tile dataset, for its manifest and for the user."""

import zlib
from collections import Counter
from collections.abc import Mapping

from hicfm_jax.cli import called
from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import listed
from hicfm_jax.progress import NullProgress
from hicfm_jax.tiles import dataset
from hicfm_jax.tiles.build import cutting
from hicfm_jax.tiles.build.map_file import MapFile
from hicfm_jax.tiles.build.plan import Plan, plan_tiles
from hicfm_jax.tiles.build.splits import SPLITS
from hicfm_jax.types import PATCH

ACROSS = "across_splits"
"""In the statistics of a map's trans tiles, the pairs whose chromosomes are in different splits."""

_COLUMNS = ("kept", "too_sparse", "too_short")


def make_manifest(
    plan: Plan, total_counts: Mapping[str, float], dtype: str, counts: Mapping[tuple, tuple[int, int]]
) -> dict:
    """The manifest of a dataset; `counts` are windows (kept, too sparse) by (assay, chromosomes)."""
    arguments = plan.described(total_counts)
    tiles, trans_tiles, splits = {assay: {} for assay in arguments["sources"]}, {}, {}
    for region in plan.regions:
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
            stats = trans_tiles.setdefault(region.assay, {}).setdefault(region.split or ACROSS, Counter())
            stats.update(pairs=1, kept=kept, too_sparse=too_sparse)
        if kept:
            split = splits.setdefault(region.split, {"tiles": 0, "chromosomes": {}, "assays": Counter()})
            split["tiles"] += kept
            split["chromosomes"] |= dict.fromkeys(region.chromosomes)
            split["assays"][region.assay] += kept
    for split in splits.values():
        split |= {"chromosomes": list(split["chromosomes"]), "assays": dict(split["assays"])}
    return arguments | {
        "dtype": dtype,
        "context": True,
        "tiles": tiles,
        "trans_tiles": trans_tiles,
        "splits": {name: splits[name] for name in SPLITS if name in splits},
    }


def table(manifest: Mapping) -> str:
    """Tiles by split and map, and the chromosomes of each split; `too short` counts chromosomes."""
    rows = {}
    for assay, chromosomes in manifest["tiles"].items():
        trans = manifest["trans_tiles"].get(assay, {}).items()
        for split, stats in (*((stats["split"], stats) for stats in chromosomes.values()), *trans):
            row = rows.setdefault((split, assay), Counter())
            row.update({name: stats.get(name, 0) for name in _COLUMNS})
    width = max(len(assay) for _, assay in rows) + 2
    lines = [f"{'split':7}{'map':{width}}" + "".join(f"{name.replace('_', ' '):>12}" for name in _COLUMNS)]
    for split in SPLITS:
        for (of, assay), row in rows.items():
            if of == split:
                lines.append(f"{split:7}{assay:{width}}" + "".join(f"{row[name]:12,}" for name in _COLUMNS))
    for split, content in manifest["splits"].items():
        lines.append(f"{split}: {content['tiles']:,} tiles of {listed(content['chromosomes'], 20)}")
    across = sum(stats.get(ACROSS, {}).get("pairs", 0) for stats in manifest["trans_tiles"].values())
    if across:
        lines.append(f"Left out: {across:,} pairs of chromosomes that are in different splits.")
    return "\n".join(lines)


def advice(manifest: Mapping, output: str) -> str:
    """The next command, and a note if the tiles do not suit the patches."""
    lines = []
    if any("weight" in source for source in manifest["sources"].values()):
        lines.append("Note: these are balanced values, but the published models were trained on raw counts.")
    sides = [min(side, 448) // PATCH * PATCH for side in manifest["tile_size"]]
    most = [(side - PATCH // 2) // PATCH * PATCH for side in manifest["tile_size"]]
    if dataset.diagonal_offsets(manifest) != {0} and any(map(int.__gt__, sides, most)):
        remedy = f"a --stride that is a multiple of {PATCH}"
        if manifest["mode"] == "locus":
            remedy = f"a --tile_size whose sides differ by a multiple of {2 * PATCH}"
        lines.append(
            f"Note: windows of more than {most[0]} x {most[1]} bins lose their diagonal in these tiles, and "
            f"their masks are not mirror-symmetric; better choose {remedy}."
        )
        sides = [max(PATCH, min(size, limit)) for size, limit in zip(sides, most, strict=True)]
    config = "plants.py:small_batch --config.data.mix=" if manifest["mix"] else "arabidopsis.py:small_batch"
    lines.append(
        f"Next: {called('train')} --config=configs/pretrain_{config} --config.data.tiles={output} "
        f"--config.model.input_size={sides[0]},{sides[1]} --workdir=runs/pretrain"
    )
    return "\n".join(lines)


_SAMPLED = 32
"""One tile in so many is compressed to estimate the size."""

_OTHER_BYTES = 300
"""Of a stored tile, beside its counts."""


def count_tiles(
    sources: Mapping[str, ContactMap | MapFile], *, progress: NullProgress | None = None, **settings
) -> tuple[dict, int]:
    """Counts the tiles that `builder.build_tiles` would write, exactly, and estimates their size.

    Windows are counted on the sparse maps; one tile in 32 is compressed, for the bytes of a pixel. Arguments
    and errors are those of `plan.plan_tiles`.

    Returns:
      The manifest that the dataset would have, and the bytes on disk that it would take.
    """
    progress = progress or NullProgress()
    plan = plan_tiles(sources, **settings)
    regions = [region for region in plan.regions if region.is_cut]
    survey, maps = plan.survey(), plan.maps
    counts, tiles = {}, 0
    pixels = sampled_pixels = sampled_bytes = 0
    progress.start(sum(region.windows for region in regions))
    for region in regions:
        kept, source = 0, (region.assay, region.chromosomes)
        where = f"{region.assay} {' x '.join(dict.fromkeys(region.chromosomes))}"
        for window in cutting.scan_region(maps[region.assay], *source, plan.tiling):
            progress.advance(1, where)
            if window.nonzero < plan.tiling.needed:
                continue
            if (tiles + kept) % _SAMPLED == 0:
                sampled_pixels += window.nonzero
                sampled_bytes += len(zlib.compress(window.counts().astype(survey.dtype).tobytes()))
            pixels += window.nonzero
            kept += 1
        counts[source] = kept, region.windows - kept
        tiles += kept
    progress.close()
    size = tiles * _OTHER_BYTES + round(sampled_bytes * pixels / max(sampled_pixels, 1))
    return make_manifest(plan, survey.total_counts, survey.dtype.name, counts), size
