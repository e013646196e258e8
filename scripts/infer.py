"""Applies a trained network to a whole map. Task resolution makes a deep map of a shallow one:

    python scripts/infer.py --task=resolution --input=leaf.mcool --resolution=10000 \
        --checkpoint=runs/enhance --output=deep.mcool

The checkpoint is a workdir, or a .pth.tar or .safetensors of the original.
"""

from absl import flags

from hicfm_jax import cli
from hicfm_jax.errors import InputError
from hicfm_jax.infer import enhance_file
from hicfm_jax.infer.stitching import MERGES
from hicfm_jax.models.heads import OUTPUTS
from hicfm_jax.progress import NullProgress, Progress
from hicfm_jax.tiles.build.windows import parse_shape

_TASK = flags.DEFINE_enum("task", "resolution", list(OUTPUTS), "What the network does; so far: resolution.")
_INPUT = flags.DEFINE_string("input", None, "Contact map of raw counts.", required=True)
_RESOLUTION = flags.DEFINE_integer(
    "resolution", None, "Bin width in bp; the file's only one if not given.", lower_bound=1
)
_CHECKPOINT = flags.DEFINE_string("checkpoint", None, "Workdir, checkpoint or .pth.tar.", required=True)
_OUTPUT = flags.DEFINE_string(
    "output", None, "File to write: .mcool, .cool, .hic, .npz, .pairs or .pairs.gz.", required=True
)
_CHROMOSOMES = flags.DEFINE_list("chromosomes", None, "To enhance; all if not given.")
_TARGET = flags.DEFINE_float(
    "target_contacts",
    None,
    "Contacts of the whole deep map, cis and trans; those of the map trained on if not given.",
)
_MERGE = flags.DEFINE_enum("merge", "average", MERGES, "How overlapping windows become one.")
_STRIDE = flags.DEFINE_integer("stride", None, "Bins from window to window; half a window if not given.")
_BOUND = flags.DEFINE_integer("bound", None, "Of --merge=original: bins from the diagonal to a window.")
_DISTANCE = flags.DEFINE_integer(
    "max_distance", None, "Farthest pixel from the diagonal in bp; all if not given."
)
_INTEGER = flags.DEFINE_bool(
    "integer",
    None,
    "Round to whole contacts; pixels below half a contact are then empty. Only .pairs needs it, and .pairs "
    "always has it.",
)
_BALANCE = flags.DEFINE_bool("balance", None, "Store ICE weights; on for .mcool and .cool.")
_BATCH = flags.DEFINE_integer("batch_size", 8, "Windows at once, over all devices.", lower_bound=1)
_INPUT_SIZE = flags.DEFINE_string(
    "input_size", None, "ROWS,COLUMNS of the windows, for a .pth.tar that does not tell them."
)
_QUIET = flags.DEFINE_bool("quiet", False, "Show no progress.")


def main() -> None:
    if _TASK.value != "resolution":
        raise InputError(f"--task={_TASK.value} is to come: resolution is the only task so far.")
    size = _INPUT_SIZE.value
    print(
        enhance_file(
            _INPUT.value,
            _RESOLUTION.value,
            _CHECKPOINT.value,
            _OUTPUT.value,
            input_size=None if size is None else parse_shape(size, "--input_size"),
            integer=_INTEGER.value,
            balance=_BALANCE.value,
            batch_size=_BATCH.value,
            progress=NullProgress() if _QUIET.value else Progress(),
            chromosomes=_CHROMOSOMES.value,
            target_contacts=_TARGET.value,
            merge=_MERGE.value,
            stride=_STRIDE.value,
            bound=_BOUND.value,
            max_distance=_DISTANCE.value,
        )
    )


if __name__ == "__main__":
    cli.run(main)
