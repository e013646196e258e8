"""Memory and processor time of a process and of all that it starts, as Linux keeps account of them."""

import os
import pathlib
from typing import NamedTuple

_PROC = pathlib.Path("/proc")


class _Use(NamedTuple):
    parent: int
    peak_bytes: int
    cpu_seconds: float


class ProcessTree:
    """What has been seen of a process and its descendants, also of those that have ended since.

    Call `look` several times a second: what a process has used between the last look and its end is
    missed. Where there is no /proc nothing is ever seen.

    Attributes:
      peak_bytes: most memory of all of them together: of those that run at one time the peak of each,
        added up. Pages that several share count in each, so that this is an upper bound.
      branch_peak_bytes: the same for that process started by the root, with those that it has started,
        for which it is largest; 0 if there was none.
    """

    def __init__(self, root: int):
        """Takes the process id that the tree grows from."""
        self.peak_bytes = self.branch_peak_bytes = 0
        self._root, self._cpu_seconds = root, {}

    @property
    def cpu_seconds(self) -> float:
        """Processor time of all of them."""
        return sum(self._cpu_seconds.values())

    def look(self) -> None:
        """Notes what the processes have used up to now."""
        running = {pid: use for pid in _processes() if (use := _read(pid))}
        total, branches = 0, {}
        for pid, use in running.items():
            branch = top = pid
            while top != self._root and top in running:
                branch, top = top, running[top].parent
            if top != self._root:
                continue
            self._cpu_seconds[pid] = use.cpu_seconds
            total += use.peak_bytes
            if pid != self._root:
                branches[branch] = branches.get(branch, 0) + use.peak_bytes
        self.peak_bytes = max(self.peak_bytes, total)
        self.branch_peak_bytes = max(self.branch_peak_bytes, *branches.values(), 0)


def _processes() -> list[int]:
    return [int(path.name) for path in _PROC.glob("[0-9]*")]


def _read(pid: int) -> _Use | None:
    try:
        status = (_PROC / str(pid) / "status").read_text()
        # The name of the program stands in brackets before them and may hold spaces.
        numbers = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:  # it has ended
        return None
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    if "VmHWM" not in fields:  # a thread of the kernel, or a process that is just ending
        return None
    return _Use(
        parent=int(fields["PPid"]),
        peak_bytes=1024 * int(fields["VmHWM"].split()[0]),
        cpu_seconds=(int(numbers[11]) + int(numbers[12])) / os.sysconf("SC_CLK_TCK"),
    )
