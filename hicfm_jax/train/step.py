"""One optimizer step: accumulation, the update, and what happens to numbers that are not finite."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from hicfm_jax.train import sharding
from hicfm_jax.train.state import TrainState
from hicfm_jax.train.trainable import Select, merge
from hicfm_jax.types import Array, Batch

LossFunction = Callable[[Any, Batch, Array], tuple[Array, dict[str, Array]]]


def _all_finite(loss: Array, gradients: Any) -> Array:
    return jnp.isfinite(loss) & jnp.isfinite(optax.tree.norm(gradients))


def accumulate(
    loss_function: LossFunction, params: Any, batch: Batch, keys: Array, accum_steps: int, mesh=None
):
    """Mean gradient and metrics over micro-batches; those that are not finite are left out.

    Args:
      loss_function: `(params, batch, keys) -> (loss, metrics)`.
      params: parameters.
      batch: the global batch; its first axis is cut into `accum_steps` consecutive parts.
      keys: a random key for each example `[B]`, cut like the batch.
      accum_steps: number of parts.
      mesh: keeps every part spread over all devices.

    Returns:
      (gradients, metrics, number of micro-batches that counted). With none, gradients are 0.
    """

    def micro(part, part_keys):
        (loss, metrics), gradients = jax.value_and_grad(loss_function, has_aux=True)(params, part, part_keys)
        good = _all_finite(loss, gradients)
        counted = (gradients, metrics, jnp.ones(()))
        return jax.tree.map(lambda x: jnp.where(good, x, 0), counted)  # not a product: NaN * 0 is NaN

    if accum_steps == 1:
        return micro(batch, keys)

    def split(x):
        x = x.reshape(accum_steps, -1, *x.shape[1:])
        if mesh is None:
            return x
        spec = PartitionSpec(None, *sharding.BATCH_SPEC)
        return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))

    def add(sums, item):
        return jax.tree.map(jnp.add, sums, micro(*item)), None

    parts = jax.tree.map(split, (batch, keys))
    shapes = jax.eval_shape(micro, *jax.tree.map(lambda x: x[0], parts))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (gradients, metrics, good), _ = jax.lax.scan(add, zeros, parts)
    gradients, metrics = jax.tree.map(lambda x: x / jnp.maximum(good, 1), (gradients, metrics))
    return gradients, metrics, good


def create_train_step(
    loss_function: LossFunction,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    accum_steps: int,
    seed_key: Array,
    mesh=None,
    select: Select = lambda params: params,
) -> Callable[[TrainState, Batch], TrainState]:
    """Returns `(state, batch) -> state`; masks depend on (seed, step) and the place in the batch alone.

    Only the parameters that `select` picks have a gradient and change. A micro-batch whose loss or
    gradient is not finite is dropped and counted; if all of a step are, parameters and optimizer
    stay as they are and the step still counts.
    """

    def train_step(state: TrainState, batch: Batch) -> TrainState:
        # The 0 has runs of one micro-batch hide what they hid when every micro-batch had a key of its own.
        key = jax.random.fold_in(jax.random.fold_in(seed_key, state.step), 0)
        keys = jax.random.split(key, len(batch.counts))
        before = select(state.params)

        def loss_of_trained(trained, part, part_keys):
            return loss_function(merge(state.params, trained), part, part_keys)

        gradients, metrics, good = accumulate(loss_of_trained, before, batch, keys, accum_steps, mesh)
        rate = schedule(state.step)

        def update(before, old):
            updates, opt_state = optimizer.update(gradients, old, before)
            return jax.tree.map(lambda p, u: p - rate * u, before, updates), opt_state

        def leave(before, old):
            return before, old

        # A choice of branches and not of numbers, for which XLA would keep a copy of the old moments.
        after, opt_state = jax.lax.cond(good > 0, update, leave, before, state.opt_state)
        window = {name: state.window[name] + value * (good > 0) for name, value in metrics.items()}
        return state.replace(
            step=state.step + 1,
            params=merge(state.params, after),
            opt_state=opt_state,
            skipped=state.skipped + accum_steps - good.astype(jnp.int32),
            window={**window, "count": state.window["count"] + (good > 0)},
        )

    return train_step
