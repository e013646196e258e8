"""Configs: defaults, validation and comparison with a stored run."""

from hicfm_jax.config.base import base_config, from_variant, micro_batch_size, peak_learning_rate
from hicfm_jax.config.validate import check_resumable, require, to_json, validate

__all__ = [
    "base_config",
    "check_resumable",
    "from_variant",
    "micro_batch_size",
    "peak_learning_rate",
    "require",
    "to_json",
    "validate",
]
