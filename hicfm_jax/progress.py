"""How far a long job is: a bar, a line a minute, or nothing."""

import sys
import time

_SECONDS = 60  # between lines where there is no terminal


class NullProgress:
    """Shows no progress; messages go to stderr. The interface of every long job."""

    def start(self, total: int, unit: str = "windows") -> None:
        """The job begins: `total` units are to be done."""

    def advance(self, units: int, where: str = "") -> None:
        """So many more units are done; `where` says on which map and chromosome."""

    def say(self, line: str) -> None:
        """Shows a message for the user."""
        print(line, file=sys.stderr, flush=True)

    def close(self) -> None:
        """The job is over."""


class Progress(NullProgress):
    """A bar on a terminal; elsewhere, as in a batch job's log, a line a minute. Writes to stderr."""

    def __init__(self):
        self._bar, self._done, self._total, self._unit = None, 0, 0, ""
        self._last = time.monotonic()

    def start(self, total: int, unit: str = "windows") -> None:
        self._total, self._unit = total, unit
        if sys.stderr.isatty():
            import tqdm

            self._bar = tqdm.tqdm(total=total, unit=f" {unit}", dynamic_ncols=True, leave=False)

    def advance(self, units: int, where: str = "") -> None:
        self._done += units
        if self._bar is not None:
            self._bar.set_description_str(where, refresh=False)
            self._bar.update(units)
        elif time.monotonic() - self._last > _SECONDS:
            self.say(f"{self._done:,} of {self._total:,} {self._unit} done, {where}")

    def say(self, line: str) -> None:
        self._last = time.monotonic()
        if self._bar is not None:
            self._bar.clear()
        super().say(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()
