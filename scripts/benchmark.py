"""Measures speed and prints a table and, as its last line, one JSON object.

python scripts/benchmark.py --input=TILES            how fast tiles come from disk
python scripts/benchmark.py --input=synthetic:0.12   the same for random tiles of 12 % density
"""

import contextlib
import json

from absl import flags

from hicfm_jax import command_line
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import stream_benchmark
from hicfm_jax.tiles.windows import parse_shape

_INPUT = flags.DEFINE_string("input", None, "Folder of tiles, or synthetic:DENSITY for random ones.")
_BATCH = flags.DEFINE_integer("batch", 32, "Samples of a batch.", lower_bound=1)
_WINDOW = flags.DEFINE_string("window", "448", "Bins of a window's side, or HEIGHT,WIDTH.")
_SECONDS = flags.DEFINE_float("seconds", 3.0, "Length of each measurement.")


def _tiles(window: tuple[int, int]) -> contextlib.AbstractContextManager:
    if not _INPUT.value.startswith("synthetic:"):
        return contextlib.nullcontext(_INPUT.value)
    try:
        density = float(_INPUT.value.removeprefix("synthetic:"))
    except ValueError:
        raise InputError(f"--input={_INPUT.value} has no density: write synthetic:0.12 for 12 %.") from None
    return stream_benchmark.synthetic_tiles(density, window)


def main() -> None:
    if not _INPUT.value:
        raise InputError("--input is missing: give a folder of tiles or synthetic:0.12, see --help.")
    window = parse_shape(_WINDOW.value, "window")
    with _tiles(window) as tiles:
        result = stream_benchmark.measure_stream(
            tiles, batch_size=_BATCH.value, window=window, seconds=_SECONDS.value
        )
    print(stream_benchmark.table(result))
    print(json.dumps({"input": _INPUT.value} | result))


if __name__ == "__main__":
    command_line.run(main)
