"""Losses of fine-tuning targets, and the triplet loss of reproducibility."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp

from hicfm_jax.models.preprocess import TargetScaling
from hicfm_jax.train.losses.pretraining_losses import weighted_mean
from hicfm_jax.types import Array

LN10 = 2.302585092994046


def cosine(x: Array, y: Array) -> Array:
    """Cosine similarity of flattened examples, `[B, ...]` twice -> `[B]`; 0 where one is all zero."""
    x, y = (v.reshape(v.shape[0], -1) for v in (x, y))

    def norm(v):  # floored under the root, so that an all-zero example has a gradient
        return jnp.sqrt(jnp.maximum(jnp.sum(v * v, axis=1), 1e-16))

    return jnp.sum(x * y, axis=1) / (norm(x) * norm(y))


def mean_per_example(errors: Array) -> Array:
    """Mean over all values of each example, `[B, ...]` -> `[B]`."""
    return errors.reshape(errors.shape[0], -1).mean(axis=1)


def squared_error(output: Array, target: Array, scaling: TargetScaling) -> Array:
    """Mean squared error on the scale of the output (original: loss type 1).

    As all losses of a target it takes outputs on the network's scale and targets as in the tiles, `[B, ...]`
    each, and returns one number per example, `[B]`.
    """
    return mean_per_example((output - scaling.scale(target)) ** 2)


def cosine_distance(output: Array, target: Array, scaling: TargetScaling) -> Array:
    """1 - cosine of the flattened output and scaled target (original: loss type 2)."""
    return 1.0 - cosine(output, scaling.scale(target))


def poisson_deviance(output: Array, target: Array, scaling: TargetScaling) -> Array:
    """Half the Poisson deviance of target + 1 given 10^(output * unit).

    As the Poisson likelihood it is least at the target's mean, not at the mean of its logarithm, but a
    pixel predicted below zero keeps its gradient.
    """
    log_mean, log_target = (value * scaling.unit * LN10 for value in (output, scaling.scale(target)))
    return mean_per_example(jnp.exp(log_mean) - jnp.exp(log_target) * (1.0 + log_mean - log_target))


def squared_log_error(output: Array, target: Array, scaling: TargetScaling) -> Array:
    """Mean squared error of log10(1 + x), in decades²."""
    scaled = scaling.scale(target)
    if scaling.offset is None:
        return mean_per_example((_signed_log10(output) - _signed_log10(scaled)) ** 2)
    return mean_per_example(((output - scaled) * scaling.unit) ** 2)


def bernoulli_deviance(output: Array, target: Array, scaling: TargetScaling) -> Array:
    """Mean cross-entropy above that of the target itself, `[B, ...]` twice -> `[B]`, in nats.

    y log(y / p) + (1 - y) log((1 - y) / (1 - p)) of the output p and the target y, both in 0 to 1, as task
    loop has them; for y of 0 or 1 it is the cross-entropy. The scaling has no part.
    """
    p, y = (jnp.clip(values, 1e-6, 1 - 1e-6) for values in (output, target))
    return mean_per_example(y * jnp.log(y / p) + (1 - y) * jnp.log((1 - y) / (1 - p)))


def _signed_log10(x: Array) -> Array:
    # Unlike the logarithm of a value clipped at 0, it has a gradient where the output is negative.
    return jnp.sign(x) * jnp.log1p(jnp.abs(x)) / LN10


class TargetLoss(NamedTuple):
    """Loss, weight and scaling of one target."""

    loss: Callable[[Array, Array, TargetScaling], Array]
    weight: float
    scaling: TargetScaling


def finetune_losses(
    outputs: Mapping[str, Array],
    targets: Mapping[str, Array],
    specs: Mapping[str, TargetLoss],
    example_mask: Array,
) -> dict[str, Array]:
    """Scalars `NAME_loss` of each target, not weighted, and `loss`, their weighted sum.

    Outputs, targets and `specs` (from `losses.target_losses`) are by target. `example_mask` is 0 for padding
    examples, `[B]`. Values of a target that are NaN have no part in its loss. The loss of several tracks
    `[B, K, H]` is the mean of their losses. An output `NAME_log_shape` goes to the loss of that target.
    Original: `finetune/train_epoch.py`.
    """
    parts = {}
    for name, spec in specs.items():
        if (log_shape := outputs.get(f"{name}_log_shape")) is not None:
            spec = spec._replace(loss=partial(spec.loss, log_shape=log_shape))
        mean = partial(target_loss, spec)
        if name == "track" and outputs[name].ndim == 3:
            each = jax.vmap(mean, in_axes=(1, 1, None))(outputs[name], targets[name], example_mask)
            parts[f"{name}_loss"] = each.mean()
        else:
            parts[f"{name}_loss"] = mean(outputs[name], targets[name], example_mask)
    total = sum(spec.weight * parts[f"{name}_loss"] for name, spec in specs.items())
    return {"loss": total, **parts}


def target_loss(spec: TargetLoss, output: Array, target: Array, example_mask: Array) -> Array:
    """Mean loss of one target over its known values and the examples; arguments as of `finetune_losses`."""
    known = jnp.isfinite(target)
    # A missing value is replaced by what the network says of it: no error, and a gradient of 0, not NaN.
    target = jnp.where(known, target, 0.0)
    output = jnp.where(known, output, spec.scaling.scale(target))
    values = spec.loss(output, target, spec.scaling)
    share = known.reshape(len(known), -1).mean(axis=1)
    example_mask = example_mask * (share > 0)
    return jnp.sum(values * example_mask) / jnp.maximum(jnp.sum(share * example_mask), 1e-9)


def triplet_similarities(anchor: Array, replicate: Array) -> tuple[Array, Array]:
    """Cosine of each embedding `[B, D']` with its replicate's and with the previous one's, `[B]` each."""
    return cosine(anchor, replicate), cosine(anchor, jnp.roll(replicate, 1, axis=0))


def triplet_loss(anchor: Array, replicate: Array, margin: float, example_mask: Array) -> Array:
    """Hinge on the cosine: a replicate should be more similar than another window, by `margin`.

    The other window is the previous example of the batch; pairs with a padding example do not count.
    """
    same, other = triplet_similarities(anchor, replicate)
    both = example_mask * jnp.roll(example_mask, 1)
    return weighted_mean(jnp.maximum(margin + other - same, 0.0), both)


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
