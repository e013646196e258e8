"""Training losses."""

from hicfm_jax.train.losses.pretraining_losses import pretrain_losses

__all__ = ["pretrain_losses"]
