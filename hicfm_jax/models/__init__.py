"""The networks: images of contact maps in, predictions out. Knows jax and flax only."""

from hicfm_jax.models.heads import HeadOutput
from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.models.presets import PRESETS, create_model

__all__ = ["PRESETS", "HeadOutput", "PretrainOutput", "create_model"]
