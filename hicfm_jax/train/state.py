"""Everything that training changes, as one pytree."""

from typing import Any

import flax.struct
import jax
import jax.numpy as jnp
import optax

from hicfm_jax.train.trainable import Select
from hicfm_jax.types import Array


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
        """A fresh state.

        Args:
          params: all parameters.
          optimizer: of those that `select` picks.
          metrics: names of what the loss function reports.
          select: see `trainable.create_select`; all parameters if not given.
        """
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
