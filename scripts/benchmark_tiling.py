"""Measures how fast a map becomes tiles; prints a table and, as its last line, one JSON object.

    python scripts/benchmark_tiling.py --map=map.cool --resolution=2000
    python scripts/benchmark_tiling.py --map=synthetic:0.12      a random map of 12 % density

Builds in one process, and with one and two worker processes, unless --processes says otherwise.
"""

import json
import pathlib
import sys

from absl import flags

from hicfm_jax import cli
from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.tiles.build.windows import parse_shape

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed

_MAP = flags.DEFINE_string("map", None, "Contact map, or synthetic:DENSITY for a random one.", required=True)
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width of the map in bp.")
_TILE_SIZE = flags.DEFINE_string("tile_size", "448", "Bins of a tile's side, or HEIGHT,WIDTH.")
_STRIDE = flags.DEFINE_integer("stride", 224, "Bins from one tile to the next.")
_MIN_DENSITY = flags.DEFINE_float("min_density", 0.01, "Fraction of non-zero pixels that a tile needs.")
_PROCESSES = flags.DEFINE_multi_integer(
    "processes", [0, 1, 2], "Worker processes, 0 = none; may be repeated."
)


def main() -> None:
    from benchmarks import tiling

    shape = parse_shape(_TILE_SIZE.value)
    settings = dict(tile_size=shape, stride=_STRIDE.value, min_density=_MIN_DENSITY.value)
    with tiling.map_sources(_MAP.value, _RESOLUTION.value, shape) as sources:
        result = tiling.measure_tiling(sources, _PROCESSES.value, **settings)
    print(tiling.table(result))
    print(json.dumps({"map": _MAP.value} | result | settings))


if __name__ == "__main__":
    cli.run(main)
