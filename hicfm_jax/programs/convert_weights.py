"""Converts files of the original HiCFoundation to checkpoints of this project, and back.

    hicfm convert hicfoundation_pretrain.pth.tar weights/pretrain
    hicfm convert runs/pretrain mine.pth.tar
    hicfm convert runs/enhance enhance.safetensors

The second writes a file of the original, and so does --export to a .safetensors. The last makes one file of a
checkpoint of this project, which serves in its place. --task=NAME makes a head from a pretraining checkpoint;
--input_size is that of its windows in bins. A .pth.tar needs PyTorch.
"""

import re

from absl import flags

from hicfm_jax import convert
from hicfm_jax.checkpoints import folder, single_file
from hicfm_jax.convert.files import TORCH_SUFFIXES
from hicfm_jax.errors import InputError
from hicfm_jax.progress import Progress
from hicfm_jax.tiles.build.windows import parse_shape

_INPUT = flags.DEFINE_string(
    "input", None, "File of the original, or a workdir or checkpoint, DIR[@best|@last|@STEP].", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "Folder or .safetensors, or a file of the original.", required=True
)
_EXPORT = flags.DEFINE_bool("export", False, "Write a file of the original from a checkpoint.")
_TASK = flags.DEFINE_string("task", None, "Task of the parameters; default: the file's.")
_INPUT_SIZE = flags.DEFINE_string(
    "input_size", None, "ROWS,COLUMNS of a head's windows; default: the file's."
)
_MODEL = flags.DEFINE_string("model", None, "Refuse the file if it holds another model than this one.")


def main() -> None:
    to_file = _OUTPUT.value.endswith(single_file.SUFFIX)
    export = _EXPORT.value or _OUTPUT.value.endswith(TORCH_SUFFIXES)
    if export or to_file:
        for flag in (_TASK, _INPUT_SIZE, _MODEL):
            if flag.value is not None:
                raise InputError(f"--{flag.name} is only for a folder as the output: leave it out.")
    if export:
        convert.export(_INPUT.value, _OUTPUT.value, progress=Progress())
    elif to_file:
        if convert.is_original_file(_INPUT.value):
            raise InputError(f"{_INPUT.value} is a file of the original: convert it to a folder first.")
        folder.write_file(_INPUT.value, _OUTPUT.value)
    elif named := re.search(r"\.(?!v\d)[a-z]\w*$", _OUTPUT.value, re.IGNORECASE):
        raise InputError(
            f"{_OUTPUT.value}: checkpoints are not written as {named[0]}: give the name of a folder, or one "
            f"that ends in {single_file.SUFFIX} or {TORCH_SUFFIXES[0]}."
        )
    else:
        size = None if _INPUT_SIZE.value is None else parse_shape(_INPUT_SIZE.value, "--input_size")
        options = (_TASK.value, size, _MODEL.value)
        print(convert.convert_to_folder(_INPUT.value, _OUTPUT.value, *options, progress=Progress()))
    print(f"Wrote {_OUTPUT.value}")
