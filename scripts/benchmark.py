"""Measures speed or memory and prints a table and, as its last line, one JSON object.

python scripts/benchmark.py --input=TILES            how fast tiles come from disk
python scripts/benchmark.py --input=synthetic:0.12   the same for random tiles of 12 % density
python scripts/benchmark.py --compile_only --config=configs/NAME.py --devices=8 --config.mesh.fsdp=8
                                                     memory of a training step on each of 8 devices
python scripts/benchmark.py --config=configs/NAME.py  (or --model=PRESET) how fast training is
"""

import json
import pathlib
import sys

from absl import flags
from ml_collections import config_flags

from hicfm_jax import cli
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build.windows import parse_shape

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed

_INPUT = flags.DEFINE_string("input", None, "Folder of tiles, or synthetic:DENSITY for random ones.")
_BATCH = flags.DEFINE_integer("batch", None, "Samples in a batch; 32 of tiles, 1 in training.", lower_bound=1)
_MODEL = flags.DEFINE_string("model", None, "Preset of a network whose training step is timed.")
_TASK = flags.DEFINE_string("task", "pretrain", "With --model: pretrain, resolution, loop, ...")
_SIZE = flags.DEFINE_string("input_size", "448,448", "With --model: bins of a window, HEIGHT,WIDTH.")
_DTYPE = flags.DEFINE_enum("dtype", "float32", ["float32", "bfloat16"], "With --model: of products.")
_TRAINABLE = flags.DEFINE_enum("trainable", "all", ["all", "decoder"], "With --model: parameters to train.")
_STEPS = flags.DEFINE_integer("steps", 4, "Training steps to time.", lower_bound=1)
_WINDOW = flags.DEFINE_string("window", "448", "Bins of a window's side, or HEIGHT,WIDTH.")
_THIN = flags.DEFINE_multi_float("thin", [], "Least and largest fraction to keep: also time downsampling.")
_THIN_PROCESSES = flags.DEFINE_integer("thin_processes", 0, "For downsampling, 0 = threads.", lower_bound=0)
_SECONDS = flags.DEFINE_float("seconds", 3.0, "Length of each measurement.")
_COMPILE_ONLY = flags.DEFINE_bool("compile_only", False, "Compile a training step and print its memory.")
_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment whose step is timed or compiled: configs/NAME.py[:variant].", lock_config=True
)
_DEVICES = flags.DEFINE_integer("devices", 1, "With --compile_only: number, all CPUs.", lower_bound=1)
flags.register_validator("config", cli.config_loads)
_OTHERS = {
    "input": (_TASK, _SIZE, _DTYPE, _TRAINABLE, _STEPS, _COMPILE_ONLY, _DEVICES),
    "model": (_WINDOW, _THIN, _THIN_PROCESSES, _SECONDS),
    "config": (_WINDOW, _THIN, _THIN_PROCESSES, _SECONDS, _BATCH, _TASK, _SIZE, _DTYPE, _TRAINABLE),
}


def _stream() -> tuple[str, dict]:
    from benchmarks import stream, synthetic

    window = parse_shape(_WINDOW.value, "window")
    thin = dict(thin=tuple(_THIN.value), thin_processes=_THIN_PROCESSES.value, seconds=_SECONDS.value)
    with synthetic.tiles_folder(_INPUT.value, window) as tiles:
        result = stream.measure_stream(tiles, batch_size=_BATCH.value or 32, window=window, **thin)
    return stream.table(result), {"input": _INPUT.value} | result


def _compile() -> tuple[str, dict]:
    from benchmarks import compile_only

    compile_only.stand_in(_DEVICES.value)
    result = compile_only.compile_step(_config())
    return compile_only.table(result), result


def _step() -> tuple[str, dict]:
    from benchmarks import step
    from hicfm_jax.train.processes import keep_freed_memory

    keep_freed_memory()  # as scripts/train.py does
    result = step.measure_step(_config(), _STEPS.value)
    return step.table(result), result


def _config():
    if _CONFIG.value is not None:
        return _CONFIG.value
    from benchmarks.step import step_config

    size = parse_shape(_SIZE.value, "input_size")
    return step_config(_MODEL.value, _TASK.value, size, _BATCH.value or 1, _DTYPE.value, _TRAINABLE.value)


def main() -> None:
    given = [flag.name for flag in (_INPUT, _MODEL, _CONFIG) if flag.value is not None]
    if len(given) != 1:
        raise InputError(f"Give one of --input, --model, --config, not {' and '.join(given) or 'none'}.")
    for flag in _OTHERS[given[0]]:
        if flag.present:
            raise InputError(f"--{flag.name} cannot be combined with --{given[0]}: leave it out.")
    measure = _compile if _COMPILE_ONLY.value else _stream if _INPUT.value is not None else _step
    table, result = measure()
    print(table)
    print(json.dumps(result))


if __name__ == "__main__":
    cli.run(main)
