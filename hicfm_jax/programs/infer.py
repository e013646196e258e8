r"""Applies a trained network to a whole map; the task resolution makes a deep map of a shallow one.

    hicfm enhance shallow.mcool deep.mcool --resolution=30000
    hicfm enhance shallow.mcool deep.mcool --resolution=30000 --checkpoint=runs/enhance
    hicfm enhance shallow.mcool part.mcool --resolution=30000 --checkpoint=runs/enhance --region=Chr4:1M-5M
    hicfm infer shallow.mcool loops.bedpe --task=loop --resolution=10000 --checkpoint=runs/loops
    hicfm infer leaf.mcool tracks --task=epigenome --resolution=10000 --checkpoint=runs/tracks

On two CPU cores, the five chromosomes of Arabidopsis at 30 kb take about a minute and 1 GB of memory with the
small network of the experiment. Compiling takes half a minute of it.
"""

from collections.abc import Callable

from absl import flags

from hicfm_jax.base_pairs import BASE_PAIRS
from hicfm_jax.contacts.reading_flags import reads_maps
from hicfm_jax.infer import infer_file
from hicfm_jax.infer.scan_plan import DTYPES, InferenceTask
from hicfm_jax.infer.stitching import MERGES
from hicfm_jax.infer.tasks import INFERENCE_TASKS
from hicfm_jax.progress import Progress
from hicfm_jax.tiles.build.windows import parse_shape


def _by_task(text: Callable[[InferenceTask], str]) -> str:
    return "; ".join(f"{name}: {text(task)}" for name, task in INFERENCE_TASKS.items()) + "."


_TASK = flags.DEFINE_enum("task", "resolution", list(INFERENCE_TASKS), _by_task(lambda task: task.text))
_INPUT = flags.DEFINE_string("input", None, "Contact map of raw counts.", required=True)
_RESOLUTION = flags.DEFINE(BASE_PAIRS, "resolution", None, "Bin width in bp; default: the file's only one.")
_CHECKPOINT = flags.DEFINE_string(
    "checkpoint",
    None,
    "Workdir or checkpoint, DIR[@best|@last|@STEP], a .safetensors, or a file of the original. A workdir "
    "gives the step with the lowest validation loss, else the last. If not given, task resolution takes "
    "any_map and task loop any_map_loops, small networks that come with the package.",
)
_WRITTEN = _by_task(lambda task: ", ".join(task.outputs) or "a folder")
_OUTPUT = flags.DEFINE_string("output", None, f"File or folder to write. {_WRITTEN}", required=True)
_CHROMOSOMES = flags.DEFINE_list("chromosomes", None, "Chromosomes to scan, as Chr1,Chr2; all if not given.")
_MERGE = flags.DEFINE_enum("merge", "average", list(MERGES), "How overlapping windows are merged.")
_STRIDE = flags.DEFINE_integer("stride", None, "Bins from window to window; half a window if not given.")
_BOUND = flags.DEFINE_integer("bound", None, "With --merge=original: bins from the diagonal to a window.")
_DISTANCE = flags.DEFINE(
    BASE_PAIRS, "max_distance", None, "Farthest pixel from the diagonal in bp; all if not given."
)
_ANYWAY = flags.DEFINE_bool(
    "anyway", False, "Go on with a map of another bin width or depth than the network was trained for."
)
_BATCH = flags.DEFINE_integer("batch_size", 8, "Windows at once, over all devices.", lower_bound=1)
_DTYPE = flags.DEFINE_enum("dtype", None, DTYPES, f"Of the network's products; {DTYPES[0]} if not given.")
_INPUT_SIZE = flags.DEFINE_string(
    "input_size", None, "ROWS,COLUMNS of the windows, for a file of the original that does not give them."
)

_DEFINE = {bool: flags.DEFINE_bool, float: flags.DEFINE_float, int: flags.DEFINE_integer}
_TEXTS: dict = {}  # of the tasks' own options, some of which several tasks have
for _name, _task in INFERENCE_TASKS.items():
    for _option in _task.options:
        _TEXTS.setdefault((_option.name, _option.kind), []).append(f"{_option.text} Task {_name}.")
_OPTIONS = [
    _DEFINE.get(kind, flags.DEFINE_string)(option, None, " ".join(texts))
    for (option, kind), texts in _TEXTS.items()
]

GROUPS = {
    "Input and output": ("task", "input", "resolution", "checkpoint", "output", "anyway"),
    "Part of the map": ("chromosomes", "region", "max_distance", "trans"),
    "Windows": ("merge", "stride", "bound", "batch_size", "dtype", "input_size"),
}


@reads_maps
def main() -> None:
    size = _INPUT_SIZE.value
    print(
        infer_file(
            _TASK.value,
            _INPUT.value,
            _RESOLUTION.value,
            _CHECKPOINT.value,
            _OUTPUT.value,
            input_size=None if size is None else parse_shape(size, "--input_size"),
            batch_size=_BATCH.value,
            progress=Progress(),
            chromosomes=_CHROMOSOMES.value,
            merge=_MERGE.value,
            stride=_STRIDE.value,
            bound=_BOUND.value,
            max_distance=_DISTANCE.value,
            dtype=_DTYPE.value,
            anyway=_ANYWAY.value or None,
            **{option.name: option.value for option in _OPTIONS},
        )
    )
