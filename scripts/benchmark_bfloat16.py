"""Pretrains a small network in float32 and in bfloat16, and compares the losses of each step.

    python scripts/benchmark_bfloat16.py --picture=bfloat16.png

Prints a table and, as its last line, one JSON object. Two minutes on two CPU cores.
"""

import json
import pathlib
import sys

from absl import flags

from hicfm_jax import cli

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed

_STEPS = flags.DEFINE_integer("steps", 200, "Steps of each.", lower_bound=1)
_MODEL = flags.DEFINE_string("model", "vit_tiny_patch16", "Preset of the network.")
_SIDE = flags.DEFINE_integer("side", 64, "Bins of a window's side.", lower_bound=16)
_BATCH = flags.DEFINE_integer("batch", 8, "Windows a step.", lower_bound=1)
_PICTURE = flags.DEFINE_string("picture", None, "PNG to write.")


def main() -> None:
    from benchmarks import precision

    found = precision.measure_losses(_STEPS.value, _MODEL.value, _SIDE.value, _BATCH.value)
    if _PICTURE.value:
        precision.draw(found, _PICTURE.value)
    print(precision.table(found))
    print(json.dumps(found))


if __name__ == "__main__":
    cli.run(main)
