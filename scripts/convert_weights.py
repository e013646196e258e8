"""Converts checkpoints of the original HiCFoundation, and ours back.

    python scripts/convert_weights.py --input=hicfoundation_pretrain.pth.tar --output=weights/pretrain
    python scripts/convert_weights.py --export --input=runs/pretrain --output=mine.pth.tar

--task=NAME makes a head of a pretraining checkpoint; --input_size is that of its windows in bins.
"""

import sys

from absl import flags

from hicfm_jax import cli, convert
from hicfm_jax.errors import InputError

_INPUT = flags.DEFINE_string("input", None, "File of the original; with --export a workdir or checkpoint.")
_OUTPUT = flags.DEFINE_string("output", None, "Folder to make; with --export a .pth.tar or .safetensors.")
_EXPORT = flags.DEFINE_bool("export", False, "Write a file of the original from a checkpoint of ours.")
_TASK = flags.DEFINE_string("task", None, "What for; default: what the file is.")
_INPUT_SIZE = flags.DEFINE_list("input_size", None, "ROWS,COLUMNS of a head's windows; default: the file's.")
_MODEL = flags.DEFINE_string("model", None, "Refuse the file if it holds another model than this one.")


def _show(line: str) -> None:
    if sys.stderr.isatty():
        print(f"\r\033[K{line}", end="", file=sys.stderr, flush=True)


def _input_size() -> tuple[int, int] | None:
    if _INPUT_SIZE.value is None:
        return None
    if len(_INPUT_SIZE.value) != 2 or not all(side.strip().isdigit() for side in _INPUT_SIZE.value):
        raise InputError(
            f"--input_size={','.join(_INPUT_SIZE.value)} must be two whole numbers, such as 448,448."
        )
    return tuple(int(side) for side in _INPUT_SIZE.value)


def main() -> None:
    for flag in (_INPUT, _OUTPUT):
        if not flag.value:
            raise InputError(f"--{flag.name} is missing: give it, see --help.")
    if _EXPORT.value:
        for flag in (_TASK, _INPUT_SIZE, _MODEL):
            if flag.value is not None:
                raise InputError(
                    f"--{flag.name} is for reading the original's files: leave it out of --export."
                )
        convert.export(_INPUT.value, _OUTPUT.value, progress=_show)
        _show("")
    else:
        report = convert.convert_to_folder(
            _INPUT.value, _OUTPUT.value, _TASK.value, _input_size(), _MODEL.value, progress=_show
        )
        _show("")
        print(report)
    print(f"Wrote {_OUTPUT.value}")


if __name__ == "__main__":
    cli.run(main)
