"""Train state and one optimizer step: accumulation, update, values that are not finite."""

from collections.abc import Callable
from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax
from jax.sharding import NamedSharding, PartitionSpec

from hicfm_jax.batch import Batch
from hicfm_jax.train import sharding
from hicfm_jax.train.optim import Select, global_norm, merge
from hicfm_jax.types import Array

LossFunction = Callable[[Any, Batch, Array], tuple[Array, dict[str, Array]]]


@flax.struct.dataclass
class TrainState:
    """State after `step` optimizer steps.

    Attributes:
      step: optimizer steps taken, int32.
      params: parameters of the model, float32.
      opt_state: of the optax transformation, for the parameters that are trained.
      skipped: micro-batches dropped because their loss or gradient was not finite, int32.
      window: sums of the metrics since they were last logged, and how many there are ("count").
        They are part of the state so that a resumed run logs the same averages.
    """

    step: Array
    params: Any
    opt_state: optax.OptState
    skipped: Array
    window: dict[str, Array]

    @classmethod
    def create(
        cls,
        params: Any,
        optimizer: optax.GradientTransformation,
        metrics: list[str],
        select: Select = lambda params: params,
    ) -> "TrainState":
        """A fresh state; `optimizer` is of the parameters that `select` picks, see `optim.create_select`."""
        return cls(
            step=jnp.zeros((), jnp.int32),
            params=params,
            opt_state=optimizer.init(select(params)),
            skipped=jnp.zeros((), jnp.int32),
            window={name: jnp.zeros((), jnp.float32) for name in [*metrics, "count"]},
        )

    def read_window(self) -> tuple["TrainState", dict[str, float]]:
        """Means of the metrics since the last call, and the state that starts a new window."""
        sums = {name: float(value) for name, value in jax.device_get(self.window).items()}
        count = sums.pop("count")
        means = {name: value / count if count else float("nan") for name, value in sums.items()}
        return self.replace(window=jax.tree.map(jnp.zeros_like, self.window)), means


def accumulate(
    loss_function: LossFunction, params: Any, batch: Batch, keys: Array, accum_steps: int, mesh=None
):
    """Mean gradient and metrics over micro-batches; those that are not finite are left out.

    The global batch and its keys `[B]`, one per example, are cut into `accum_steps` consecutive parts. With
    a `mesh`, every part is spread over all its devices.

    Returns:
      (gradients, metrics, number of finite micro-batches). With none, gradients are 0.
    """

    def micro(part, part_keys):
        (loss, metrics), gradients = jax.value_and_grad(loss_function, has_aux=True)(params, part, part_keys)
        good = jnp.isfinite(loss) & all_finite(gradients)
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


def all_finite(gradients: Any) -> Array:
    """Whether a tree has neither NaN nor infinity, nor numbers so large that their squares are infinite."""
    return jnp.isfinite(global_norm(gradients))


def create_train_step(
    loss_function: LossFunction,
    optimizer: optax.GradientTransformation,
    schedule: optax.Schedule,
    accum_steps: int,
    seed_key: Array,
    mesh=None,
    select: Select = lambda params: params,
) -> Callable[[TrainState, Batch], TrainState]:
    """Returns `(state, batch) -> state`; masks depend only on (seed, step) and the place in the batch.

    Only the parameters that `select` picks have a gradient and change. A micro-batch whose loss or
    gradient is not finite is dropped and counted. If all of a step are, parameters and optimizer
    stay as they are and the step still counts.
    """

    def train_step(state: TrainState, batch: Batch) -> TrainState:
        # The 0 keeps the masks of runs with one micro-batch from when every micro-batch had its own key.
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

        # A branch and not `where`, for which XLA would keep a copy of the old moments.
        after, opt_state = jax.lax.cond(good > 0, update, lambda *same: same, before, state.opt_state)
        window = {name: state.window[name] + value * (good > 0) for name, value in metrics.items()}
        return state.replace(
            step=state.step + 1,
            params=merge(state.params, after),
            opt_state=opt_state,
            skipped=state.skipped + accum_steps - good.astype(jnp.int32),
            window={**window, "count": state.window["count"] + (good > 0)},
        )

    return train_step
