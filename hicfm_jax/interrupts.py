"""Ctrl-C: one line and exit status 130, within seconds, whatever the program does."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import NoReturn

GRACE = 4.0
"""Seconds that a program has to undo what it began. Compiled code may not return to Python for minutes, and
libraries may swallow the exception."""

_IMPORTING, _WORKING = "importing", "working"
_state: str | None = None  # None: Ctrl-C is not watched


@contextlib.contextmanager
def watched() -> Iterator[None]:
    """Context in which Ctrl-C ends the program; until `working` at once, then after `GRACE` at the latest.

    Does nothing outside the main thread, or where Ctrl-C is handled or ignored already (`nohup`).
    """
    global _state
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    # The number of a signal is written by C code at once; Python's handlers wait for the main thread.
    read, write = os.pipe()
    os.set_blocking(write, False)
    before = signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGINT, _interrupt)
    threading.Thread(target=_wait, args=(read,), daemon=True).start()
    _state = _IMPORTING
    try:
        yield
    finally:
        _state = None
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.set_wakeup_fd(before)
        os.close(write)


def working() -> None:
    """Ctrl-C from now on raises KeyboardInterrupt first, so that files are closed and removed."""
    global _state
    _state = _state and _WORKING


def stop() -> NoReturn:
    """Ends the program with status 130; threads of JAX and TensorFlow may crash an orderly exit."""
    sys.stdout.flush()
    print("Stopped.", file=sys.stderr, flush=True)
    if _state is None:
        sys.exit(130)
    processes = sys.modules.get("multiprocessing")
    for child in processes.active_children() if processes else ():
        child.kill()
    os._exit(130)


def run_program(command: Sequence[str], **options) -> int:
    """Exit status of another program. Ctrl-C is left to it, so that one line is shown, and ends both."""
    global _state
    before, state = signal.getsignal(signal.SIGINT), _state
    with subprocess.Popen(command, **options) as program:

        def pass_on(*_) -> None:  # to a program that the terminal did not send it to
            timer = threading.Timer(1.0, program.send_signal, [signal.SIGINT])  # no more if it has ended
            timer.daemon = True
            timer.start()

        if before is _interrupt:
            signal.signal(signal.SIGINT, pass_on)
            _state = None  # the other program has its own `GRACE`
        try:
            status = program.wait()
        finally:
            if before is _interrupt:
                signal.signal(signal.SIGINT, before)
                _state = state
    if before is _interrupt and status in (130, -signal.SIGINT):
        sys.stdout.flush()
        os._exit(130)
    return status


def _interrupt(*_) -> None:
    if _state == _IMPORTING:
        stop()
    raise KeyboardInterrupt


def _wait(read: int) -> None:
    while number := os.read(read, 1):
        if number[0] == signal.SIGINT:
            time.sleep(GRACE)
            if _state is not None:
                stop()
    os.close(read)
