"""Measures the tasks of inference; prints a table and, as its last line, one JSON object.

    python scripts/benchmark_inference.py                              all tasks, a small network
    python scripts/benchmark_inference.py --models=vit_large_patch16 --bins=300 --rounds=3
    python scripts/benchmark_inference.py --original=map.cool --genome  beside the original's loop in PyTorch

Networks are untrained, since only time is measured. Mean shift is timed on a map of 10,000 bins. Beside the
original, the first of --models enhances the first --bins bins of a real map; needs the extra `torch`.
"""

import json
import pathlib
import sys

from absl import flags

from hicfm_jax import cli
from hicfm_jax.tiles.build.windows import parse_shape

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))  # benchmarks/ is not installed

_TASKS = flags.DEFINE_list("tasks", [], "Tasks of infer.py; all if not given.")
_MODELS = flags.DEFINE_list("models", ["vit_tiny_patch16"], "Presets of networks.")
_BINS = flags.DEFINE_integer("bins", 1000, "Bins of the chromosome.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Times that each task runs, after a first that is not counted.")
_SIZE = flags.DEFINE_string("input_size", None, "ROWS,COLUMNS of the windows; as published if not given.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Windows at once, over all devices.", lower_bound=1)
_MEAN_SHIFT = flags.DEFINE_integer("mean_shift_bins", 10_000, "Bins of the map of mean shift; 0: none.")
_ORIGINAL = flags.DEFINE_string(
    "original", None, "Map on which the original's loop in PyTorch is timed, too."
)
_RESOLUTION = flags.DEFINE_integer("resolution", None, "With --original: bin width of the map in bp.")
_GENOME = flags.DEFINE_bool("genome", False, "With --original: also enhance the whole map, by ours.")


def main() -> None:
    from benchmarks import inference

    size = None if _SIZE.value is None else parse_shape(_SIZE.value, "--input_size")
    choices = dict(bins=_BINS.value, rounds=_ROUNDS.value, window=size, batch_size=_BATCH.value)
    if _ORIGINAL.value is not None:
        from benchmarks.original import enhancement

        source = _ORIGINAL.value, _RESOLUTION.value, _MODELS.value[0]
        result = enhancement.compare_enhancement(*source, **choices, genome=_GENOME.value)
        print(enhancement.comparison_table(result))
        print(json.dumps(result))
        return
    result = inference.measure_inference(_TASKS.value, _MODELS.value, **choices)
    shift = None
    if _MEAN_SHIFT.value:
        shift = inference.measure_mean_shift(_MEAN_SHIFT.value, rounds=_ROUNDS.value)
    print(inference.table(result, shift))
    print(json.dumps(result | {"mean_shift": shift}))


if __name__ == "__main__":
    cli.run(main)
