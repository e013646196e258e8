"""A Beam pipeline whose worker is killed: DirectRunner would wait for its answer for ever."""

import logging
import queue
import threading

from hicfm_jax.errors import InputError

_DIED = "Worker subprocess exited"  # apache_beam/runners/portability/local_job_service.py, in a thread
_THREADS = ("run_worker", "beam_control_read", "read_grpc_client_inputs")  # of a worker, here
_PROGRAM = "apache_beam.runners.worker.sdk_worker_main"


def run_watched(pipeline) -> None:
    """Runs a pipeline to its end.

    Raises:
      InputError: a worker on this machine was killed; the others are ended. What the pipeline itself
        raises is passed on.
    """
    import grpc

    # It prints where the line to a worker broke, which says nothing of why.
    logging.getLogger("apache_beam.runners.worker.data_plane").setLevel(logging.CRITICAL)
    outcome = queue.SimpleQueue()

    def run():
        try:
            pipeline.run().wait_until_finish()
            outcome.put(None)
        except Exception as error:
            outcome.put(error)

    def notice(ended):
        if _DIED in str(ended.exc_value):
            outcome.put(ended.exc_value)
        elif not isinstance(ended.exc_value, grpc.RpcError):  # those follow from it
            usual(ended)

    usual, threading.excepthook = threading.excepthook, notice
    try:
        threading.Thread(target=run, daemon=True).start()
        error = outcome.get()
        if error and _DIED in str(error):
            _end_workers()
            raise InputError(
                f"it was killed (status {str(error).rpartition(' ')[2]}), mostly for want of memory: take "
                "fewer workers (--direct_num_workers)."
            )
    finally:
        threading.excepthook = usual
    if error:
        raise error


def _end_workers() -> None:
    """Kills those that are left: this program could not end before they do."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        try:
            if _PROGRAM in " ".join(process.cmdline()):
                process.kill()
        except psutil.Error:  # it has ended
            continue
    for thread in threading.enumerate():
        if thread.name in _THREADS:
            thread.join(timeout=10)
