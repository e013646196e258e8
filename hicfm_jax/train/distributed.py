"""One run in several processes, one a machine or one a GPU: how they start, speak and end together."""

import contextlib
import glob
import importlib.util
import os
import re
import sys
import traceback
import urllib.request
from collections.abc import Iterator

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from hicfm_jax import cli
from hicfm_jax.errors import InputError
from hicfm_jax.train.roll_call import parse_address, roll_call
from hicfm_jax.train.watch import Watch

JOIN_SECONDS = 120
"""How long processes wait for each other at the start."""

_BROKEN_LINE = ("Gloo", "NCCL", "UNAVAILABLE", "DEADLINE_EXCEEDED", "coordination")
_BROKEN_COLLECTIVE = re.compile(r"[A-Z_]+: (Gloo|NCCL)")
_METADATA = "http://metadata.google.internal/computeMetadata/v1/instance/attributes/worker-network-endpoints"


@contextlib.contextmanager
def joined(coordinator: str | None, processes: int | None, process: int | None) -> Iterator[None]:
    """Joins the processes of a run; to be entered before anything asks JAX for a device.

    Inside, process 0 alone prints. When one process fails, all end, with its message and exit status. Does
    nothing on a single machine whose environment speaks of no other process.

    Args:
      coordinator: HOST:PORT where process 0 listens, or None.
      processes: how many there are, or None.
      process: which this is, from 0, or None. Without all three SLURM or the TPU pod is asked.

    Raises:
      InputError: some of the three are missing or do not fit, or the others do not come in time.
    """
    given = (coordinator, processes, process)
    if any(value is not None for value in given):
        _check(*given)
        if processes > 1:
            roll_call(coordinator, processes, process, JOIN_SECONDS)
            _initialize(coordinator_address=coordinator, num_processes=processes, process_id=process)
    elif _in_slurm() or _in_tpu_pod():
        _initialize()
    if jax.process_count() == 1:
        yield
        return
    if jax.process_index():
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 (for the rest of the process)
        logging.set_verbosity(logging.FATAL)
    watch = Watch()
    try:
        yield
        multihost_utils.sync_global_devices("end of the run")
    except BaseException as error:
        _fail(watch, error)
    watch.close()
    jax.distributed.shutdown()


def any_process(flag: bool) -> jax.Array:
    """Whether the flag is set on at least one process, a bool scalar; every process has to call it.

    Returns before it is known: reading the value waits for what the devices had to do before.
    """
    mesh = jax.sharding.Mesh(np.array(jax.devices()), ("device",))
    split, whole = (
        jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(*axis)) for axis in (["device"], [])
    )
    flags = jax.make_array_from_process_local_data(split, np.full(jax.local_device_count(), flag))
    return jax.jit(jax.numpy.any, out_shardings=whole)(flags)


def _check(coordinator: str | None, processes: int | None, process: int | None) -> None:
    given = {"--coordinator": coordinator, "--processes": processes, "--process": process}
    missing = [name for name, value in given.items() if value is None]
    if missing:
        present = [name for name, value in given.items() if value is not None]
        raise InputError(
            f"{' and '.join(present)} given without {' and '.join(missing)}: several processes need all "
            "three flags, a single one none."
        )
    parse_address(coordinator)
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
    """Whether this is one of several hosts or slices, as GKE or else the metadata of the machine says."""
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
    # SIGTERM is `stop.Stop`'s business; the service would swallow it where nobody listens.
    jax.config.update("jax_enable_preemption_service", False)
    jax.distributed.initialize(**given, initialization_timeout=JOIN_SECONDS)


def _fail(watch: Watch, error: BaseException) -> None:
    """Ends all processes as one with this error would end."""
    where = f" (process {jax.process_index()})" if jax.process_index() else ""
    if sentence := cli.mistake(error):
        watch.fail(sentence + where, 2)
    if isinstance(error, KeyboardInterrupt):
        watch.fail(f"Stopped{where}.", 130)
    if _is_broken_line(error):
        watch.lost(str(error))
    traceback.print_exception(error)
    watch.fail(f"{type(error).__name__}{where}: {str(error)[:200]}", 1)


def _is_broken_line(error: BaseException) -> bool:
    """Whether another process could not be reached, as far as that can be told."""
    if isinstance(error, jax.errors.JaxRuntimeError):
        return any(sign in str(error) for sign in _BROKEN_LINE)
    # jaxlib's, where an array is read. Orbax has ValueErrors too, of a disk or bucket.
    return isinstance(error, ValueError) and bool(_BROKEN_COLLECTIVE.match(str(error)))
