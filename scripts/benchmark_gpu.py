"""Measures on one GPU, in ten minutes at most, what makes training and inference faster.

    python scripts/benchmark_gpu.py --output=runs/gpu
    python scripts/benchmark_gpu.py --output=runs/gpu --cases="pretraining,bfloat16 stream,together"
    python scripts/benchmark_gpu.py --output=runs/gpu --dry_run         a toy network, on any device
    python scripts/benchmark_gpu.py --tflops=778 --bandwidth=3.35       bytes and FLOPs, without a GPU

Each case runs in a process of its own, the most important first. Needs neither TensorFlow nor the internet.
"""

import json
import pathlib
import sys

from absl import flags

from hicfm_jax import cli
from hicfm_jax.errors import InputError

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed

_OUTPUT = flags.DEFINE_string("output", None, "Folder for gpu_ablation.json and gpu_ablation.md.")
_SECONDS = flags.DEFINE_float("seconds", 570, "Time for all cases.", lower_bound=1)
_CASES = flags.DEFINE_list("cases", [], "Names of the cases; all if not given.")
_DATA = flags.DEFINE_string("data", "", "Tiles as .npz; simulated maps if not given.")
_DRY_RUN = flags.DEFINE_bool("dry_run", False, "A few cases with a toy network.")
_TFLOPS = flags.DEFINE_float("tflops", None, "Only print the least time of a step on a device of this rate.")
_BANDWIDTH = flags.DEFINE_float("bandwidth", 3.35, "With --tflops: TB/s of its memory.", lower_bound=0.001)


def main() -> None:
    from benchmarks import gpu_ablation, roofline

    if _TFLOPS.value:
        size = gpu_ablation.Size()
        kinds = roofline.pretraining_kinds(size.model, (size.side, size.side), size.batch)
        print(roofline.table(kinds, size.batch, 1e12 * _TFLOPS.value, 1e12 * _BANDWIDTH.value))
        return
    if _OUTPUT.value is None:
        raise InputError("--output is missing: name a folder for the results.")
    pathlib.Path(_OUTPUT.value).mkdir(parents=True, exist_ok=True)
    size, names = gpu_ablation.Size(), _CASES.value
    if _DRY_RUN.value:
        size, names = gpu_ablation.TOY, names or gpu_ablation.DRY
    result = gpu_ablation.measure(size, _SECONDS.value, _OUTPUT.value, names, _DATA.value)
    print(gpu_ablation.table(result))
    print(json.dumps(result))


if __name__ == "__main__":
    cli.run(main)
