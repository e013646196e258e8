"""Times our pretraining step beside the original's network in PyTorch, in turn, and prints a table and JSON.

python scripts/benchmark_torch.py --model=vit_large_patch16 --input_size=448,448 --batch=1 --rounds=5

PyTorch computes the step twice: as the original runs it, and as fast as it can. Needs the extra `torch`, and
for ViT-L 21 GB of memory, because all three wait side by side.
"""

import json
import pathlib
import sys

from absl import flags

from hicfm_jax import cli
from hicfm_jax.tiles.build.windows import parse_shape

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed

_MODEL = flags.DEFINE_string("model", "vit_large_patch16", "Preset of the network.")
_SIZE = flags.DEFINE_string("input_size", "448,448", "Bins of a window, HEIGHT,WIDTH.")
_BATCH = flags.DEFINE_integer("batch", 1, "Windows a step.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Steps of each to time, after one that compiles.", lower_bound=1)
_COMPILE = flags.DEFINE_bool("torch_compile", False, "Let torch.compile make PyTorch's fast step.")


def main() -> None:
    from benchmarks import step

    size = parse_shape(_SIZE.value, "input_size")
    config = step.step_config(_MODEL.value, "pretrain", size, _BATCH.value, "float32", "all")
    result = step.compare_steps(config, _ROUNDS.value, _COMPILE.value)
    print(step.comparison_table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    cli.run(main)
