"""Fuzzing of file readers: damaged files are read in guarded processes.

A test calls `survives(good_file, ...)`, which fails with a list of the cases that did harm. A case is made by
`damaged(data, mutations, seed, case)` from its number alone, so each can be repeated. There are 60 cases per
file format, or as many as the environment variable HICFM_FUZZ_CASES says (2000 before a release); formats
that start a process for each file take a part of that.

A reader may answer a damaged file in two ways:
- It raises InputError with a single line that names the file.
- It returns a valid map: all pairs load, and `total_count` is their sum. Counts may differ from those of the
  good file where no checksum covers them. A map without contacts is a failure, unless `may_be_empty(data)`
  is true for these bytes.

Any other exception, a crash, more than `SECONDS` of time or more than `MEMORY` (of the worker and of each
process that it started) is a failure.
"""

import atexit
import collections
import contextlib
import functools
import json
import os
import pathlib
import resource
import select
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence

import numpy as np

Mutation = Callable[[bytes, np.random.Generator], bytes]

CASES = int(os.environ.get("HICFM_FUZZ_CASES", "60"))

SECONDS = 60  # wall-clock time, which is long on a busy machine
MEMORY = 1 << 30
# Far above MEMORY, so that what a reader would take is measured, not prevented; it protects the machine.
ADDRESS_SPACE = 6 << 30


def place(data: bytes, rng: np.random.Generator) -> int:
    """A position in the file: anywhere, near its start or near its end, where headers and indexes lie."""
    near = int(len(data) ** rng.random()) - 1
    return [int(rng.integers(len(data))), near, len(data) - 1 - near][rng.integers(3)]


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    return data[: place(data, rng)]


def flip_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """1 to 64 bytes changed, together or scattered."""
    changed = bytearray(data)
    first, together = place(data, rng), rng.random() < 0.5
    for step in range(rng.integers(1, 65) if rng.random() < 0.7 else 1):
        at = min(first + step, len(data) - 1) if together else place(data, rng)
        changed[at] ^= int(rng.integers(1, 256))
    return bytes(changed)


def extreme_number(data: bytes, rng: np.random.Generator) -> bytes:
    """One word of 4 or 8 bytes becomes huge, negative, NaN or infinite."""
    words = [
        np.int32(2**31 - 1), np.int32(-1), np.int32(2**30), np.int32(-(2**31)), np.uint32(0x7FFF0000),
        np.int64(2**63 - 1), np.int64(-1), np.int64(2**40), np.int64(2**33), np.int64(-(2**63)),
        np.float32(np.nan), np.float32(1e38), np.float64(-np.inf), np.float64(1e308), np.float64(-1),
    ]  # fmt: skip
    word = words[rng.integers(len(words))].tobytes()
    at = place(data, rng)
    if rng.random() < 0.5:
        at -= at % 4
    return (data[:at] + word + data[at + len(word) :])[: len(data)]


def zero_range(data: bytes, rng: np.random.Generator) -> bytes:
    at = place(data, rng)
    length = min(int(2 ** (rng.random() * 12)), len(data) - at)
    return data[:at] + bytes(length) + data[at + length :]


def splice(data: bytes, rng: np.random.Generator) -> bytes:
    """A stretch is repeated, left out or put over another one."""
    start, target = place(data, rng), place(data, rng)
    piece = data[start : start + int(2 ** (rng.random() * 12))]
    kind = rng.integers(3)
    if kind == 0:
        return data[:target] + piece + data[target:]
    if kind == 1:
        return data[:start] + data[start + len(piece) :]
    return data[:target] + piece + data[target + len(piece) :]


COMMON: tuple[Mutation, ...] = (
    truncate,
    flip_bytes,
    flip_bytes,
    extreme_number,
    extreme_number,
    zero_range,
    splice,
)


def damaged(data: bytes, mutations: Sequence[Mutation], seed: int, case: int) -> bytes:
    """The bytes of one case; never those of the good file."""
    rng = np.random.default_rng([seed, case])
    while True:
        result = mutations[rng.integers(len(mutations))](data, rng)
        if result != data:
            return result


def survives(
    good: str | os.PathLike,
    *,
    cases: int = CASES,
    seed: int = 0,
    mutations: Sequence[Mutation] = COMMON,
    options: dict | None = None,
    may_be_empty: Callable[[bytes], bool] = lambda data: False,
    first: int = 0,
) -> collections.Counter:
    """Reads `cases` damaged copies of a file; fails with the numbers of those that did harm.

    Args:
      good: a small valid file with contacts in it; its suffix picks the reader.
      cases: how many damaged copies.
      seed: of all of them.
      mutations: functions (bytes, generator) -> bytes, drawn evenly; `COMMON + (mine,)` for a format's own.
      options: keyword arguments of `open_contacts` (JSON can say them).
      may_be_empty: whether damaged bytes truly hold no contacts.
      first: number of the first case, to look at one again.

    Returns:
      How often each outcome came: `error` and `map`.
    """
    good = pathlib.Path(good)
    data, suffix = good.read_bytes(), "".join(good.suffixes)
    tally, failures = collections.Counter(), []
    options = options or {}
    workers = shared_workers()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        outcome, detail = workers[0].read(good, options)
        assert outcome == "map" and detail > 0, f"the good file gives {outcome}: {detail}"

        def judge(worker: Worker, case: int, path: pathlib.Path) -> None:
            outcome, detail = worker.receive()
            if outcome == "map" and detail == 0 and not may_be_empty(path.read_bytes()):
                outcome, detail = "zeros", "an empty map where contacts were"
            path.unlink()
            tally[outcome] += 1
            if outcome not in ("error", "map"):
                failures.append(f"case {case}: {outcome}: {detail}")

        under_way = collections.deque()
        for number, case in enumerate(range(first, first + cases)):
            # A name of its own: HDF5 may give the old content of a file that it has not let go.
            path = folder / f"case{case}{suffix}"
            path.write_bytes(damaged(data, mutations, seed, case))
            if len(under_way) == len(workers):
                judge(*under_way.popleft())
            worker = workers[number % len(workers)]
            worker.send(path, options)
            under_way.append((worker, case, path))
        while under_way:
            judge(*under_way.popleft())
    shown = "\n".join(failures[:20])
    assert not failures, f"{len(failures)} of {cases} cases (seed {seed}), tally {dict(tally)}:\n{shown}"
    return tally


@functools.cache
def shared_workers() -> list["Worker"]:
    """Workers that all tests share, because starting one takes longer than many cases."""
    workers = [Worker() for _ in range(min(os.cpu_count() or 1, 4))]
    for worker in workers:
        atexit.register(worker.stop)
    return workers


class Worker:
    """A process that reads one file after the other. It is replaced when it dies or hangs."""

    def __init__(self):
        self.process: subprocess.Popen | None = None

    def stop(self) -> None:
        if self.process is not None:
            # Its whole session: a reader's own child processes too.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
            self.process.stdin.close()
            self.process.stdout.close()
            self.process = None

    def send(self, path: pathlib.Path, options: dict) -> None:
        if self.process is None:
            self.process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )
            assert self.process.stdout.readline() == b"ready\n", "the worker did not start"
        self.process.stdin.write(json.dumps([str(path), options]).encode() + b"\n")
        self.process.stdin.flush()

    def read(self, path: str | os.PathLike, options: dict) -> tuple[str, object]:
        """Reads one file and returns (outcome, detail)."""
        self.send(pathlib.Path(path), options)
        return self.receive()

    def receive(self) -> tuple[str, object]:
        if not select.select([self.process.stdout], [], [], SECONDS)[0]:
            self.stop()
            return "hang", f"no answer in {SECONDS} s"
        line = self.process.stdout.readline()
        if not line:
            status = self.process.wait()
            self.stop()
            return "crash", f"the process ended with status {status}"
        return tuple(json.loads(line))


def _read_all(path: str, options: dict) -> tuple[str, object]:
    from hicfm_jax.contacts import open_contacts
    from hicfm_jax.errors import InputError

    try:
        contact_map = open_contacts(path, **options)
        held = sum(float(contact_map.matrix(*pair).sum()) for pair in contact_map.pairs())
        total = contact_map.total_count
    except InputError as error:
        message = str(error)
        if "\n" in message or path not in message or len(message) > 1000:
            return "bad sentence", message[:1500]
        cause = error
        while cause is not None:
            if isinstance(cause, MemoryError):
                return "memory", f"asked for more than there is: {message}"
            cause = cause.__cause__ or cause.__context__
        return "error", message
    except BaseException as error:
        return "exception", f"{type(error).__name__}: {error}"[:500]
    if not abs(total - held) <= 1e-6 * max(total, held):
        return "inconsistent", f"total_count {total}, sum of the pairs {held}"
    return "map", total


def _processes() -> list[str]:
    """This process and all it started, directly or not."""
    found, waiting = [], [str(os.getpid())]
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        try:
            for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
                waiting += (task / "children").read_text().split()
        except OSError:
            continue
    return found


def _status(pid: str, field: str) -> int:
    try:
        for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(field):
                return int(line.split()[1]) << 10
    except OSError:
        pass
    return 0


def _serve() -> None:
    """The worker: reads lines `[path, options]` and answers each with a line `[outcome, detail]`."""
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    silence = os.open(os.devnull, os.O_WRONLY)  # what libraries print must not mix with the answers
    os.dup2(silence, 1)
    os.dup2(silence, 2)
    import hicfm_jax.contacts  # noqa: F401  before the limit, and outside the first case's time

    resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_SPACE, ADDRESS_SPACE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    answers.write(b"ready\n")
    for line in sys.stdin:
        before = {pid: _status(pid, "VmRSS") for pid in _processes()}
        for pid in before:
            try:
                pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")  # starts the peak anew
            except OSError:
                pass
        outcome = _read_all(*json.loads(line))
        grown = max(_status(pid, "VmHWM") - before.get(pid, 0) for pid in _processes())
        if grown > MEMORY:
            outcome = "memory", f"grew by {grown >> 20} MiB, then {outcome}"
        answers.write(json.dumps(outcome, default=float).encode() + b"\n")


if __name__ == "__main__":
    _serve()
