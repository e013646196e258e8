"""Networks that predict from contact maps; depends on JAX and Flax only."""

from hicfm_jax.models.heads import HeadOutput
from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.models.presets import PRESETS, create_model

__all__ = ["PRESETS", "HeadOutput", "PretrainOutput", "create_model"]
