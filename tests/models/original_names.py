"""Conversion of the golden models' parameters to this project's names."""

import functools
import re

import numpy as np
from flax.traverse_util import unflatten_dict

from hicfm_jax.checkpoints.parameters import parameter_shapes
from hicfm_jax.convert import names


@functools.cache
def _paths(*tasks: str) -> dict[str, str]:
    """Original name -> our path of the tasks' models, in the size of the golden numbers."""
    return {
        names.original_name(path, task): path
        for task in tasks
        for path in parameter_shapes("vit_test", (64, 96), task)
    }


def _path(name: str, paths: dict[str, str]) -> str:
    """Our path in a model of any depth; an unknown name raises KeyError."""
    block = re.search(r"(?<!map_)blocks\.(\d+)", name)
    if not block:
        return paths[name]
    first = name.replace(block[0], block[0].replace(block[1], "0"))
    return paths[first].replace("block_0", f"block_{block[1]}")


def _tree(state: dict[str, np.ndarray], paths: dict[str, str]) -> dict:
    flat = {_path(name, paths): value for name, value in state.items()}
    return unflatten_dict({path: names.to_ours(path, value) for path, value in flat.items()}, sep="/")


def to_ours(state: dict[str, np.ndarray]) -> dict:
    """Converts a state_dict of arrays (or gradients) of the pretraining model; fixed tables are omitted."""
    kept = {name: value for name, value in state.items() if not names.dropped(name, "pretrain")}
    return _tree(kept, _paths("pretrain"))


def head_to_ours(state: dict[str, np.ndarray]) -> dict:
    """Converts a state_dict of a head, whose position tables are parameters."""
    kept = {name: value for name, value in state.items() if not names.dropped(name, "finetune")}
    return _tree(kept, _paths("finetune", "epigenome", "reconstruction"))
