"""Leaving in order when the machine is wanted back."""

import signal

import jax
from jax.experimental import multihost_utils


class Stop:
    """Context in which SIGTERM does not end the process but is remembered.

    On several hosts the signal comes at different steps; all leave at the same one.
    """

    def __init__(self):
        self._seen = False
        self._previous = None

    def __enter__(self) -> "Stop":
        try:
            self._previous = signal.signal(signal.SIGTERM, self._remember)
        except ValueError:  # not the main thread: signals belong to somebody else
            self._previous = None
        return self

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def _remember(self, *_) -> None:
        self._seen = True

    def requested(self, step: int) -> bool:
        """Whether to save and leave after this step."""
        if jax.process_count() == 1:
            return self._seen
        # After jax.distributed.initialize JAX catches the signal and agrees on a step.
        return multihost_utils.reached_preemption_sync_point(step)
