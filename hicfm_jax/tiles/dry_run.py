"""What a build would write, without writing it."""

import zlib
from collections.abc import Mapping

from hicfm_jax.contacts import ContactMap
from hicfm_jax.tiles import cutting, summary
from hicfm_jax.tiles.map_file import MapFile, OpenMaps
from hicfm_jax.tiles.plan import plan_tiles
from hicfm_jax.tiles.progress import Silence

_SAMPLED = 32
"""One tile in so many is compressed to see how large it is."""

_OTHER_BYTES = 300
"""Of a stored tile, beside its counts."""


def count_tiles(
    sources: Mapping[str, ContactMap | MapFile], *, progress: Silence | None = None, **settings
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
    progress = progress or Silence()
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
    manifest |= summary.summarize(plan.regions, counts, plan.arguments)
    return manifest, tiles * _OTHER_BYTES + round(sampled_bytes * pixels / max(sampled_pixels, 1))
