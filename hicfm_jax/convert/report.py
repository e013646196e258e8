"""What became of every parameter of a file.

Nothing may be left over on either side: every offender is named, all at once.
"""

import dataclasses
import re
from collections.abc import Mapping

import numpy as np

from hicfm_jax.convert.detect import is_fixed_table
from hicfm_jax.errors import InputError

_NUMBER = r"(blocks?[._](?:block_)?|track_heads_)\d+"
_LEAF = r"[./](weight|bias|kernel|scale)$"


@dataclasses.dataclass
class Report:
    """Account of a conversion; `str()` gives it as a table.

    Attributes:
      path: the file or folder read.
      task: what the parameters are for.
      fits: all tasks that have exactly these parameters.
      model: key of `models.PRESETS`.
      input_size: windows in bins (H, W).
      source: what the file was: "pretrain" or a head's task.
      mapped: name there -> path here.
      resized: name there -> the two grids, in patches.
      dropped: name there -> why it is left out.
      new: paths here that the file has nothing for; they start afresh.
      optimizer: what became of the optimizer's state.
    """

    path: str
    task: str
    fits: tuple[str, ...]
    model: str
    input_size: tuple[int, int]
    source: str
    mapped: dict[str, str] = dataclasses.field(default_factory=dict)
    resized: dict[str, str] = dataclasses.field(default_factory=dict)
    dropped: dict[str, str] = dataclasses.field(default_factory=dict)
    new: list[str] = dataclasses.field(default_factory=list)
    optimizer: str = "none in the file"

    def __str__(self) -> str:
        """A table; blocks and leaves that share their fate share a line."""
        size = " x ".join(map(str, self.input_size))
        head = f"{self.path}: {self.source} -> {self.task}, {self.model}, windows of {size} bins"
        also = [task for task in self.fits if task != self.task]
        if also:
            head += f"\n(the same parameters serve {', '.join(also)})"
        rows = [("mapped", name, path) for name, path in self.mapped.items()]
        rows += [("resized", name, grids) for name, grids in self.resized.items()]
        rows += [("left out", name, reason) for name, reason in self.dropped.items()]
        rows += [("new", path, "not in the file: starts afresh") for path in self.new]
        lines: dict[tuple[str, ...], int] = {}
        for row in rows:
            line = tuple(re.sub(_LEAF, "", re.sub(_NUMBER, r"\1*", word)) for word in row)
            lines[line] = lines.get(line, 0) + 1
        width = max(len(name) for _, name, _ in lines)
        table = [f"{fate:9}{count:4} x {name:{width}}  {text}" for (fate, name, text), count in lines.items()]
        return "\n".join([head, *table, f"optimizer: {self.optimizer}"])


def differences(have: Mapping[str, np.ndarray], want: Mapping[str, tuple[int, ...]]) -> list[str]:
    problems = [f"{name} (missing)" for name in want if name not in have]
    problems += [f"{name} (unexpected)" for name in have if name not in want]
    problems += [
        f"{name} (shape {tuple(have[name].shape)}, expected {shape})"
        for name, shape in want.items()
        if name in have and tuple(have[name].shape) != tuple(shape)
    ]
    return problems


def false_copies(
    tensors: Mapping[str, np.ndarray], dropped: Mapping[str, str], grid: tuple[int, int]
) -> list[str]:
    """Names left out as copies or computable that are not what they should be."""
    problems = []
    for name in dropped:
        value = tensors[name]
        if name in ("pos_embed", "decoder_pos_embed"):
            extra = int(name == "pos_embed")
            fits = value.ndim == 3 and value.shape[1] == grid[0] * grid[1] + extra
            if not (fits and is_fixed_table(value[0, extra:], grid)):
                problems.append(f"{name} (not the fixed table of {grid[0]} x {grid[1]} patches)")
        elif name.startswith("patch_embed") and not np.array_equal(
            value, tensors.get(f"vit_backbone.{name}", value)
        ):
            problems.append(f"{name} (differs from vit_backbone.{name}, which it should repeat)")
    return problems


def refuse(path: str, what: str, problems: list[str]) -> None:
    if problems:
        raise InputError(
            f"The parameters in {path} do not fit {what}; wrong are {', '.join(problems)}: "
            "use the file the weights were published in, or the model they were trained with."
        )
