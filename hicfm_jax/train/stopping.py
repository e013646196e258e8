"""Leaving in order when the machine is wanted back.

Giving up on a run that has stopped learning.
"""

import math
import signal
from collections.abc import Mapping

import jax

from hicfm_jax.errors import InputError
from hicfm_jax.train.distributed import any_process


class Stop:
    """Context in which SIGTERM does not end the process but is remembered.

    Attributes:
      requested: whether it came to this process.
    """

    def __init__(self):
        self.requested = False
        self._asked: list[jax.Array] = []
        self._previous = None

    def __enter__(self) -> "Stop":
        try:
            self._previous = signal.signal(signal.SIGTERM, self._remember)
        except ValueError:  # not the main thread: signals belong to somebody else
            pass
        return self

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def agreed(self) -> bool:
        """Whether all processes stop after this step, as it came to one of them; to be asked once a step.

        Several processes hear the answer of the step before, so that the devices need not wait for it.
        """
        if jax.process_count() == 1:
            return self.requested
        self._asked.append(any_process(self.requested))
        return len(self._asked) > 1 and bool(self._asked.pop(0))

    def _remember(self, *_) -> None:
        self.requested = True


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
