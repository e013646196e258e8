"""Processes of a run: memory settings, joining, agreement, SIGTERM, failure."""

import contextlib
import ctypes
import functools
import glob
import importlib.metadata
import importlib.util
import os
import re
import signal
import sys
import traceback
import urllib.request
from collections.abc import Iterator
from typing import NoReturn

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils
from jax.sharding import NamedSharding, PartitionSpec

from hicfm_jax import cli
from hicfm_jax.errors import InputError

JOIN_SECONDS = 120
"""How long processes wait for each other at the start."""

HEARTBEAT_SECONDS = 60
"""A process that has sent no heartbeat for so long counts as dead, and JAX ends the others."""

_LOST = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination")
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints"
_TRIM_THRESHOLD, _MMAP_MAX, _ARENA_MAX = -1, -4, -8  # malloc.h


def keep_freed_memory() -> bool:
    """Has the process keep memory that it frees, where training is on a CPU; returns whether it does.

    XLA frees a step's temporary arrays and allocates them again in the next: more than a gigabyte of ViT-L,
    which the operating system clears, 4 kB at a time. Needs Linux with glibc, and no plugin of an
    accelerator: there, threads that read tiles are faster with the defaults. To be called before the first
    array is made, because a thread that has an arena of its own stays with it.
    """
    accelerator = importlib.metadata.entry_points(group="jax_plugins") or importlib.util.find_spec("libtpu")
    if sys.platform != "linux" or accelerator:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    # One heap for all threads: only its blocks can be kept, whatever their size.
    options = ((_ARENA_MAX, 1), (_MMAP_MAX, 0), (_TRIM_THRESHOLD, -1))
    return mallopt is not None and all(mallopt(*option) for option in options)


@contextlib.contextmanager
def joined(coordinator: str | None, processes: int | None, process: int | None) -> Iterator[None]:
    """Joins the processes of a run; enter it before anything asks JAX for a device.

    Inside, process 0 alone prints. A process that fails prints why and ends; then JAX ends the others, at
    once or after `HEARTBEAT_SECONDS`. Does nothing on a single machine without SLURM or a TPU pod.

    Args:
      coordinator: HOST:PORT where process 0 listens, or None.
      processes: how many there are, or None.
      process: number of this one, from 0, or None. Without all three SLURM or the TPU pod gives them.

    Raises:
      InputError: some of the three are missing or invalid. JAX aborts if the others do not come in time.
    """
    given = (coordinator, processes, process)
    if any(value is not None for value in given):
        _check(*given)
        if processes > 1:
            _initialize(coordinator_address=coordinator, num_processes=processes, process_id=process)
    elif _in_slurm() or _in_tpu_pod():
        _initialize()
    if jax.process_count() == 1:
        yield
        return
    if jax.process_index():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
        logging.set_verbosity(logging.FATAL)
    try:
        yield
        multihost_utils.sync_global_devices("end of the run")
    except BaseException as error:
        _fail(error)
    jax.distributed.shutdown()


def any_process(flag: bool) -> jax.Array:
    """Whether the flag is set on at least one process, a bool scalar; every process has to call it.

    Returns before it is known: reading the value waits for what the devices had to do before.
    """
    split, reduce = _any_over_devices()
    flags = jax.make_array_from_process_local_data(split, np.full(jax.local_device_count(), flag))
    return reduce(flags)


@functools.cache
def _any_over_devices():
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("device",))
    whole = NamedSharding(mesh, PartitionSpec())
    return NamedSharding(mesh, PartitionSpec("device")), jax.jit(jax.numpy.any, out_shardings=whole)


class Stop:
    """Context in which SIGTERM does not end the process but sets `requested`."""

    def __init__(self):
        self.requested = False
        self._asked: list[jax.Array] = []
        self._previous = None

    def __enter__(self) -> "Stop":
        with contextlib.suppress(ValueError):  # only the main thread may handle signals
            self._previous = signal.signal(signal.SIGTERM, self._remember)
        return self

    def __exit__(self, *_) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGTERM, self._previous)

    def agreed(self) -> bool:
        """Whether all processes stop after this step because one received SIGTERM; call it once a step.

        Several processes get the answer of the step before, so that the devices need not wait for it.
        """
        if jax.process_count() == 1:
            return self.requested
        self._asked.append(any_process(self.requested))
        return len(self._asked) > 1 and bool(self._asked.pop(0))

    def _remember(self, *_) -> None:
        self.requested = True


def _check(coordinator: str | None, processes: int | None, process: int | None) -> None:
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    present = [name for name, value in given.items() if value is not None]
    missing = [name for name in given if name not in present]
    if missing:
        raise InputError(
            f"{' and '.join(present)} given without {' and '.join(missing)}: several processes need all "
            "three flags, a single one none."
        )
    port = re.fullmatch(r".+:(\d{1,5})", coordinator, flags=re.ASCII)
    if not port or not 0 < int(port[1]) < 65536:
        raise InputError(
            f"--coordinator={coordinator} is not HOST:PORT: give the name or address of the machine of "
            "process 0 and a free port of it, for example node01:9876."
        )
    if processes < 1:
        raise InputError(f"--processes={processes} is not a number of processes: give 1 or more.")
    if not 0 <= process < processes:
        raise InputError(
            f"--process={process} with --processes={processes}: number them from 0 to {processes - 1}."
        )


def _in_slurm() -> bool:
    """Whether `srun` started this process as one of several tasks."""
    return int(os.environ.get("SLURM_STEP_NUM_TASKS", 1)) > 1


def _in_tpu_pod() -> bool:
    """Whether this is one of several hosts or slices, by GKE's variables or the machine's metadata."""
    if int(os.environ.get("MEGASCALE_NUM_SLICES", 1)) > 1:
        return True
    if hosts := os.environ.get("TPU_WORKER_HOSTNAMES"):
        return "," in hosts
    if not importlib.util.find_spec("libtpu") or not glob.glob("/dev/accel*") + glob.glob("/dev/vfio/*"):
        return False
    request = urllib.request.Request(_METADATA, headers={"Metadata-Flavor": "Google"})
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return b"," in answer.read()
    except OSError:  # a TPU outside Google's cloud machines, as in a notebook
        return False


def _initialize(**given) -> None:
    # SIGTERM is handled by `Stop`; the service would swallow it where nobody listens.
    jax.config.update("jax_enable_preemption_service", False)
    # JAX aborts with a message of its own if one is missing: say what it waits for.
    print(f"Waiting up to {JOIN_SECONDS} s for the other processes of the run.", file=sys.stderr, flush=True)
    jax.distributed.initialize(
        **given, initialization_timeout=JOIN_SECONDS, heartbeat_timeout_seconds=HEARTBEAT_SECONDS
    )


def _fail(error: BaseException) -> NoReturn:
    """Ends this process without `jax.distributed.shutdown()`, which waits for the others."""
    message, status = cli.mistake(error), 2
    if isinstance(error, KeyboardInterrupt):
        message, status = "Stopped.", 130
    elif not message:
        status = 1
        if lost_connection(error):
            message = (
                "Another process of the run ended or cannot be reached: see what it printed, then start all "
                f"again with the same command, which continues from the last checkpoint ({str(error)[:200]})."
            )
        else:
            traceback.print_exception(error)
            message = f"{type(error).__name__}: {str(error)[:200]}"
    sys.stderr.write(f"error: {' '.join(message.split())} (process {jax.process_index()})\n")
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def lost_connection(error: BaseException) -> bool:
    """Whether an error shows that another process ended or cannot be reached."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        return any(sign in str(error) for sign in _LOST)
    # jaxlib's, where an array is read. Orbax raises ValueErrors too, about a disk or bucket.
    return isinstance(error, ValueError) and bool(re.match(r"[A-Z_]+: (Gloo|NCCL)", str(error)))
