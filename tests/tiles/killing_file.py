"""A map file that kills the worker process that opens it."""

import dataclasses
import multiprocessing
import os
import pathlib
import signal

from hicfm_jax.tiles.build.map_file import MapFile


@dataclasses.dataclass(frozen=True)
class KillingFile(MapFile):
    """Kills a worker process as long as the file `kill` exists, or with `once` removes that file before."""

    kill: str | None = None
    once: bool = False

    def open(self):
        if self.kill and multiprocessing.parent_process() and pathlib.Path(self.kill).exists():
            if self.once:
                pathlib.Path(self.kill).unlink()
            os.kill(os.getpid(), signal.SIGKILL)
        return MapFile(self.uri, self.resolution).open()
