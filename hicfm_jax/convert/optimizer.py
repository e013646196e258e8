"""AdamW's state: parameters numbered as in PyTorch, or named."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from hicfm_jax.checkpoints.folder import Adam
from hicfm_jax.convert import names
from hicfm_jax.errors import InputError

_MOMENTS = {"mu": "exp_avg", "nu": "exp_avg_sq"}

_GROUP = {
    "amsgrad": False,
    "maximize": False,
    "foreach": None,
    "capturable": False,
    "differentiable": False,
    "fused": None,
    "decoupled_weight_decay": True,
}


def numbered(paths: Mapping[str, tuple[int, ...]]) -> list[list[str]]:
    """Our paths, given with their shapes, in PyTorch's numbering: the group without weight decay first.

    Each group is in the original's order. Position tables have no number: they are fixed.
    """
    ordered = sorted(paths, key=lambda path: names.original_order(names.original_name(path, "pretrain")))
    plain = [path for path in ordered if len(paths[path]) == 1]
    return [plain, [path for path in ordered if len(paths[path]) > 1]]


def from_original(optimizer: Mapping[str, Any], shapes: Mapping[str, tuple[int, ...]], path: str) -> Adam:
    """Moments of a pretraining file under our names and in our layout.

    `optimizer` is the `state_dict` of torch's AdamW with two groups, tensors as arrays; `shapes` are those of
    our parameters by path.

    Raises:
      InputError: it belongs to other parameters; lists all differences.
    """
    groups, state = numbered(shapes), optimizer["state"]
    found = [group["params"] for group in optimizer["param_groups"]]
    sizes, expected_sizes = ([len(group) for group in each] for each in (found, groups))
    if sizes != expected_sizes:
        raise InputError(
            f"The optimizer state in {path} is for groups of {sizes} parameters but the model has "
            f"{expected_sizes}: give a checkpoint of pretraining or one without optimizer."
        )
    moments: dict[str, dict[str, np.ndarray]] = {name: {} for name in _MOMENTS}
    wrong, counts = [], set()
    for number, parameter in zip(sum(found, []), sum(groups, []), strict=True):
        expected = names.original_shape(parameter, shapes[parameter])
        for ours, theirs in _MOMENTS.items():
            value = state.get(number, {}).get(theirs)
            name = f"{theirs} of {names.original_name(parameter, 'pretrain')}"
            if value is None or value.shape != expected:
                problem = "missing" if value is None else f"shape {value.shape}, not {expected}"
                wrong.append(f"{name} ({problem})")
            elif not np.isfinite(value).all():
                wrong.append(f"{name} (not finite)")
            else:
                moments[ours][parameter] = names.to_ours(parameter, value)
        counts.add(int(state.get(number, {}).get("step", 0)))
    if len(counts) > 1:
        wrong.append(f"step counts {sorted(counts)} that differ")
    if wrong:
        raise InputError(f"The optimizer state in {path} is damaged: it has {', '.join(wrong)}; remove it.")
    return Adam(**moments, count=counts.pop())


def to_original(adam: Adam, groups: list[dict[str, Any]]) -> dict[str, Any]:
    """torch's `state_dict` for moments of pretraining.

    `groups` are the options (`lr`, `betas`, ...) without weight decay and with it.
    """
    plain, decayed = numbered({path: value.shape for path, value in adam.mu.items()})
    state = {}
    for number, path in enumerate(plain + decayed):
        state[number] = {"step": np.array(adam.count, np.float32)}
        for ours, theirs in _MOMENTS.items():
            state[number][theirs] = names.to_original(path, getattr(adam, ours)[path])
    numbers = [list(range(len(plain))), list(range(len(plain), len(state)))]
    return {
        "state": state,
        "param_groups": [
            {**_GROUP, **options, "betas": tuple(options["betas"]), "params": part}
            for options, part in zip(groups, numbers, strict=True)
        ],
    }
