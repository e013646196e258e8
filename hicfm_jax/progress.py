"""How far a long job is: a bar, a line a minute, or nothing; and which step a program is at."""

import contextlib
import sys
import threading
import time
from collections.abc import Iterator

_SECONDS = 60  # between lines where there is no terminal
_PATIENCE = 2.0  # seconds that a step may take without a line on a terminal
_PATIENCE_OF_LOGS = 20.0  # elsewhere, where programs read the last line


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
        self._last = self._begun = time.monotonic()

    def start(self, total: int, unit: str = "windows") -> None:
        self._total, self._unit, self._begun = total, unit, time.monotonic()
        if not _steps.quiet and sys.stderr.isatty():
            import tqdm

            self._bar = tqdm.tqdm(total=total, unit=f" {unit}", dynamic_ncols=True, leave=False)

    def advance(self, units: int, where: str = "") -> None:
        self._done += units
        if self._bar is not None:
            self._bar.set_description_str(where, refresh=False)
            self._bar.update(units)
        elif not _steps.quiet and time.monotonic() - self._last > _SECONDS:
            left = (self._total / self._done - 1) * (time.monotonic() - self._begun) / 60
            about = f"about {left:.0f} min left"
            self.say(f"{self._done:,} of {self._total:,} {self._unit} done, {where}, {about}")

    def say(self, line: str) -> None:
        self._last = time.monotonic()
        if self._bar is not None:
            self._bar.clear()
        super().say(line)

    def close(self) -> None:
        if self._bar is not None:
            self._bar.close()


class _Steps:
    """The steps that a program is at, from outer to inner, and the thread that shows the innermost."""

    def __init__(self):
        self.shown, self.quiet = False, False
        self._steps: list[list] = []  # text, start, when it was shown last
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    def begin(self, text: str) -> list:
        step = [text, time.monotonic(), None]
        with self._lock:
            self._steps.append(step)
            if self.shown and self._thread is None:
                self._thread = threading.Thread(target=self._watch, daemon=True)
                self._thread.start()
        return step

    def end(self, step: list) -> None:
        with self._lock:
            if step in self._steps:
                self._steps.remove(step)

    def _watch(self) -> None:
        while True:
            time.sleep(0.25)
            with self._lock:
                if not self.shown:
                    self._thread = None
                    return
                if self._steps:
                    self._show(self._steps[-1])

    def _show(self, step: list) -> None:
        text, start, last = step
        now = time.monotonic()
        line = f"{text}…"
        if last is not None and now - last > _SECONDS:
            line += f" {(now - start) / 60:.0f} min so far"
        elif last is not None or now - start < (_PATIENCE if sys.stderr.isatty() else _PATIENCE_OF_LOGS):
            return
        step[2] = now
        with contextlib.suppress(OSError, ValueError):  # stderr may be closed
            # A bar of tqdm is drawn again below the line.
            bars = sys.modules.get("tqdm")
            write = bars.tqdm.write if bars else print
            write(line, file=sys.stderr)
            sys.stderr.flush()


_steps = _Steps()


@contextlib.contextmanager
def shown_steps(quiet: bool = False) -> Iterator[None]:
    """Context of a program, whose steps are shown, as those of a library are not; or with `quiet` nothing."""
    before = _steps.shown, _steps.quiet
    _steps.shown, _steps.quiet = not quiet, quiet
    try:
        yield
    finally:
        _steps.shown, _steps.quiet = before


@contextlib.contextmanager
def doing(step: str) -> Iterator[None]:
    """Names a step, which is shown on stderr if it takes longer than a moment: `doing("Balancing")`."""
    entry = _steps.begin(step)
    try:
        yield
    finally:
        _steps.end(entry)
