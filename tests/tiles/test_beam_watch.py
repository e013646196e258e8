"""A Beam worker that is killed."""

import pytest

from tests.train import small_run

PROGRAM = """
import os, signal
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from hicfm_jax.errors import InputError
from hicfm_jax.tiles.build.beam_watch import run_watched

def killed(number):
    os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    flags = ["--runner=DirectRunner", "--direct_running_mode=multi_processing", "--direct_num_workers=2"]
    pipeline = beam.Pipeline(options=PipelineOptions(flags))
    pipeline | beam.Create([1]) | beam.Map(killed)
    try:
        run_watched(pipeline)
    except InputError as error:
        print(error)
"""


@pytest.mark.slow  # a program that imports Beam and starts workers
@pytest.mark.needs("apache_beam")
def test_a_killed_worker_ends_the_pipeline():
    """In a program of its own, which has to come to its end as well."""
    ((status, out, err),) = small_run.outcomes([small_run.start([], PROGRAM)])
    assert status == 0, err
    assert out.startswith("it was killed (status 137)")
    assert "Traceback" not in err
