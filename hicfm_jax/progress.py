"""Telling how far a long job is.

Working without a progress bar.
"""

import sys
import time

_QUIET_SECONDS = 60


class Silence:
    """Says nothing; what `build_tiles` takes where nobody reads along."""

    def start(self, total: int) -> None:
        """The job begins: `total` windows are to be looked at."""

    def advance(self, windows: int, where: str = "") -> None:
        """So many more windows are done; `where` says on which map and chromosome."""

    def say(self, line: str) -> None:
        """Something that the user should know."""

    def close(self) -> None:
        """The job is over."""


class Progress(Silence):
    """A bar on a terminal; elsewhere, as in a batch job's log, a line a minute. Writes to stderr."""

    def __init__(self):
        self._bar, self._done, self._total = None, 0, 0
        self._told = time.monotonic()

    def start(self, total: int) -> None:
        self._total = total
        if sys.stderr.isatty():
            import tqdm

            self._bar = tqdm.tqdm(total=total, unit=" windows", dynamic_ncols=True, leave=False)

    def advance(self, windows: int, where: str = "") -> None:
        self._done += windows
        if self._bar is not None:
            self._bar.set_description_str(where, refresh=False)
            self._bar.update(windows)
        elif time.monotonic() - self._told > _QUIET_SECONDS:
            self.say(f"{self._done:,} of {self._total:,} windows done, {where}")

    def say(self, line: str) -> None:
        self._told = time.monotonic()
        if self._bar is not None:
            self._bar.clear()
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class Quiet(Silence):
    """Shows no progress, but says what is odd, on stderr."""

    def say(self, line: str) -> None:
        print(line, file=sys.stderr, flush=True)
