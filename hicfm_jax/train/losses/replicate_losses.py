"""Losses of embeddings that compare replicates."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from hicfm_jax.train.losses.finetuning_losses import triplet_loss
from hicfm_jax.types import Array


def contrastive_replicate_loss(
    anchor: Array, replicate: Array, temperature: float, example_mask: Array
) -> Array:
    """InfoNCE on cosines: a window's replicate has to be found among those of all windows of the batch.

    Mean cross-entropy in both directions (Chen et al. 2020, arXiv:2002.05709; van den Oord et al. 2018,
    arXiv:1807.03748).

    Args:
      anchor, replicate: embeddings of two downsamplings of each window, `[B, D']`.
      temperature: divides the cosines.
      example_mask: 0 for padding, which is no candidate either, `[B]`.
    """
    anchor, replicate = (each / jnp.linalg.norm(each, axis=1, keepdims=True) for each in (anchor, replicate))
    logits = anchor @ replicate.T / temperature
    logits = jnp.where(example_mask[None, :] * example_mask[:, None] > 0, logits, -1e9)
    own = jnp.diagonal(logits)
    entropy = (jax.nn.logsumexp(logits, axis=0) + jax.nn.logsumexp(logits, axis=1)) / 2 - own
    return jnp.sum(entropy * example_mask) / jnp.maximum(example_mask.sum(), 1.0)


REPLICATE_LOSSES: dict[str, Callable[[Array, Array, float, float, Array], Array]] = {
    "triplet": lambda one, two, margin, temperature, mask: triplet_loss(one, two, margin, mask),
    "contrastive": lambda one, two, margin, temperature, mask: contrastive_replicate_loss(
        one, two, temperature, mask
    ),
}
"""`(anchor, replicate, margin, temperature, example_mask)` -> scalar; `config.targets.replicate_loss`."""
