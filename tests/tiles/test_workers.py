"""Worker processes of a downsampled stream."""

import os
import signal
import time

import numpy as np
import pytest

from hicfm_jax.errors import InputError
from hicfm_jax.tiles.stream.shallow_windows import Thinning
from hicfm_jax.tiles.stream.workers import stream_workers
from tests.tiles.test_thinned import made_up_batches
from tests.train import small_run

pytestmark = pytest.mark.slow


def _wait_for_the_end(pid: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.05)
    pytest.fail(f"process {pid} is still there")


def test_processes_draw_what_threads_draw():
    threads = list(Thinning(1 / 16, 1 / 2, seed=1, replicate=True).train(made_up_batches(3, size=11)))
    processes = list(
        Thinning(1 / 16, 1 / 2, seed=1, replicate=True, processes=2).train(made_up_batches(3, size=11))
    )
    for one, other in zip(threads, processes, strict=True):
        np.testing.assert_array_equal(one.counts, other.counts)
        np.testing.assert_array_equal(one.targets["replicate"], other.targets["replicate"])


def test_a_killed_process_is_one_sentence_and_the_next_stream_has_new_ones():
    thinning = Thinning(1 / 16, 1 / 2, seed=1, processes=2)
    stream = thinning.train(made_up_batches(8))
    next(stream)
    with stream_workers(2) as pool:
        pids, deadline = set(), time.monotonic() + 60
        while len(pids) < 2 and time.monotonic() < deadline:
            pids.add(pool.submit(os.getpid).result())
        pool.submit(time.sleep, 5)
        killed = pool.submit(os.getpid).result()
    (other,) = pids - {killed}
    time.sleep(0.5)  # until it holds the lock of the queue that they share, which it then never gives back
    os.kill(killed, signal.SIGKILL)
    with pytest.raises(InputError, match=r"worker process was killed.* data\.thin_processes"):
        list(stream)
    assert len(list(thinning.train(made_up_batches(2)))) == 2
    _wait_for_the_end(other)  # were it left, this program would wait for it at its end


PROGRAM = """
import os, signal
from hicfm_jax.tiles.stream.workers import stream_workers
if __name__ == "__main__":
    with stream_workers(1) as pool:
        worker = pool.submit(os.getpid).result()
        for number in (signal.SIGTERM, signal.SIGINT):
            os.kill(worker, number)  # as a cluster or a terminal sends to all
        print(pool.submit(os.getpid).result() == worker, worker, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
"""


def test_they_end_with_the_process_that_started_them_and_not_before():
    ((status, out, _),) = small_run.outcomes([small_run.start([], PROGRAM)])
    assert status == -signal.SIGKILL
    survived, worker = out.split()
    assert survived == "True"
    _wait_for_the_end(int(worker))
