"""Starts workers of Dask as SLURM jobs, and with them the command that follows (docs/how-to/many_maps.md)."""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

JOB = dict(queue="normal", cores=8, processes=8, memory="32GB", walltime="04:00:00")
JOBS = 4

if __name__ == "__main__":
    with SLURMCluster(**JOB) as cluster:
        cluster.scale(jobs=JOBS)
        beam = "--runner=apache_beam.runners.dask.dask_runner.DaskRunner --dask_partition_size=1"
        beam += f" --dask_client_address={cluster.scheduler_address}"
        sys.exit(subprocess.call([*sys.argv[1:], "--runner=beam", f"--beam_options={beam}"]))
