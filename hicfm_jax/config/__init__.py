"""Configs: defaults, validation and comparison with a stored run."""

from hicfm_jax.config.base import (
    REMATS,
    RESIDUALS,
    TARGET_LOSSES,
    TARGET_SCALINGS,
    TARGETS,
    base_config,
    from_variant,
    micro_batch_size,
    peak_learning_rate,
)
from hicfm_jax.config.validate import check_resumable, to_json, validate

__all__ = [
    "REMATS",
    "RESIDUALS",
    "TARGETS",
    "TARGET_LOSSES",
    "TARGET_SCALINGS",
    "base_config",
    "check_resumable",
    "from_variant",
    "micro_batch_size",
    "peak_learning_rate",
    "to_json",
    "validate",
]
