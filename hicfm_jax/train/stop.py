"""Leaving in order when the machine is wanted back."""

import signal

import jax

from hicfm_jax.train.processes import any_process


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
