"""Nothing may be left over on either side: every offender is named, all at once."""

from collections.abc import Mapping

import numpy as np

from hicfm_jax.convert.recognise import is_fixed_table
from hicfm_jax.errors import InputError


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
