"""Which parameters a run trains; the others keep no gradient and no optimizer state."""

import re
from collections.abc import Callable
from typing import Any

import jax
from ml_collections import ConfigDict

from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import FIXED
from hicfm_jax.train.sharding import parameter_name

Select = Callable[[Any], Any]


def trainable_names(names: list[str], optim: ConfigDict) -> set[str]:
    """The names that `config.optim` trains; frozen patterns win over trainable ones.

    Raises:
      InputError: a pattern that matches nothing, or nothing to train.
    """
    for field in ("trainable_patterns", "frozen_patterns"):
        for pattern in optim[field]:
            if not any(re.search(pattern, name) for name in names):
                raise InputError(
                    f"config.optim.{field} has {pattern!r}, which matches no parameter: names look like "
                    f"{names[0]} and {names[-1]}."
                )

    def trained(name: str) -> bool:
        if any(re.search(pattern, name) for pattern in optim.frozen_patterns):
            return False
        if any(re.search(pattern, name) for pattern in optim.trainable_patterns):
            return True
        if name in FIXED or optim.trainable == "none":
            return False
        return optim.trainable == "all" or not name.startswith("encoder/")

    found = {name for name in names if trained(name)}
    if not found:
        raise InputError(
            f"config.optim.trainable={optim.trainable!r} with these patterns trains no parameter: take "
            "'decoder' or 'all', or name some in optim.trainable_patterns."
        )
    return found


def create_select(config: ConfigDict) -> Select:
    """Returns `(params) -> the nested dict of those that are trained`; `merge` puts them back."""

    def select(params: Any) -> Any:
        names = [parameter_name(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
        return _subtree(params, trainable_names(names, config.optim))

    return select


def _subtree(params: Any, names: set[str], prefix: str = "") -> Any:
    found = {}
    for key, value in params.items():
        if isinstance(value, dict):
            if inner := _subtree(value, names, f"{prefix}{key}/"):
                found[key] = inner
        elif prefix + key in names:
            found[key] = value
    return found


def merge(params: Any, trained: Any) -> Any:
    """`params` with the leaves of the subtree `trained` in place of its own."""
    if not isinstance(params, dict):
        return trained
    return {key: merge(value, trained[key]) if key in trained else value for key, value in params.items()}
