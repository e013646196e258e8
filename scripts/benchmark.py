"""Measures speed or memory and prints a table and, as its last line, one JSON object.

python scripts/benchmark.py --input=TILES            how fast tiles come from disk
python scripts/benchmark.py --input=synthetic:0.12   the same for random tiles of 12 % density
python scripts/benchmark.py --compile_only --config=configs/NAME.py --devices=8 --config.mesh.fsdp=8
                                                     memory of a training step on each of 8 devices
"""

import contextlib
import json

from absl import flags
from ml_collections import config_flags

from hicfm_jax import command_line
from hicfm_jax.errors import InputError
from hicfm_jax.tiles import stream_benchmark
from hicfm_jax.tiles.windows import parse_shape

_INPUT = flags.DEFINE_string("input", None, "Folder of tiles, or synthetic:DENSITY for random ones.")
_BATCH = flags.DEFINE_integer("batch", 32, "Samples of a batch.", lower_bound=1)
_WINDOW = flags.DEFINE_string("window", "448", "Bins of a window's side, or HEIGHT,WIDTH.")
_SECONDS = flags.DEFINE_float("seconds", 3.0, "Length of each measurement.")
_COMPILE_ONLY = flags.DEFINE_bool("compile_only", False, "Compile a training step and tell its memory.")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "With --compile_only: configs/NAME.py[:variant].", lock_config=True
)
_DEVICES = flags.DEFINE_integer(
    "devices", 1, "With --compile_only: how many; CPUs stand in for them.", lower_bound=1
)
flags.register_validator("config", command_line.config_loads)


def _tiles(window: tuple[int, int]) -> contextlib.AbstractContextManager:
    if not _INPUT.value.startswith("synthetic:"):
        return contextlib.nullcontext(_INPUT.value)
    try:
        density = float(_INPUT.value.removeprefix("synthetic:"))
    except ValueError:
        raise InputError(f"--input={_INPUT.value} has no density: write synthetic:0.12 for 12 %.") from None
    return stream_benchmark.synthetic_tiles(density, window)


def _stream() -> None:
    window = parse_shape(_WINDOW.value, "window")
    with _tiles(window) as tiles:
        result = stream_benchmark.measure_stream(
            tiles, batch_size=_BATCH.value, window=window, seconds=_SECONDS.value
        )
    print(stream_benchmark.table(result))
    print(json.dumps({"input": _INPUT.value} | result))


def _compile() -> None:
    from hicfm_jax.train import compile_only

    compile_only.stand_in(_DEVICES.value)
    result = compile_only.compile_step(_CONFIG.value)
    print(compile_only.table(result))
    print(json.dumps(result))


def main() -> None:
    if _COMPILE_ONLY.value and _CONFIG.value is None:
        raise InputError("--config is missing: name the experiment whose step is to be compiled.")
    if not _COMPILE_ONLY.value and not _INPUT.value:
        raise InputError("--input is missing: give a folder of tiles or synthetic:0.12, see --help.")
    (_compile if _COMPILE_ONLY.value else _stream)()


if __name__ == "__main__":
    command_line.run(main)
