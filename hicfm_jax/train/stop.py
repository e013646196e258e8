"""Leaving in order when the machine is wanted back."""

import signal


class Stop:
    """Context in which SIGTERM does not end the process but is remembered.

    Attributes:
      requested: whether it came.
    """

    def __init__(self):
        self.requested = False
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

    def _remember(self, *_) -> None:
        self.requested = True
