"""Giving up on a run that has stopped learning."""

import math
from collections.abc import Mapping

from hicfm_jax.errors import InputError

PATIENCE = 200
"""Steps without one finite micro-batch. Parameters do not change meanwhile, only tiles and masks do: what
is due to a few tiles is over long before."""


class Divergence:
    """Watches the means that are logged, from step `start` on."""

    def __init__(self, start: int):
        self._sound = start

    def check(self, step: int, means: Mapping[str, float]) -> None:
        """Takes means since the last call, NaN if every micro-batch was dropped.

        Raises:
          InputError: that has been so for `PATIENCE` steps.
        """
        if math.isfinite(means["loss"]):
            self._sound = step
        elif step - self._sound >= PATIENCE:
            raise InputError(
                f"From step {self._sound + 1} to {step} no micro-batch had a finite loss and gradient, so "
                "that the parameters no longer change: start anew in another --workdir with a lower "
                "config.optim.learning_rate or config.optim.blr, with config.model.dtype=float32, or with "
                "config.init_from=CHECKPOINT of an earlier step."
            )
