"""Trains a network as a config says, and continues a run that was stopped.

    hicfm pretrain runs/demo
    hicfm train enhance_arabidopsis:demo runs/enhance --config.data.tiles=tiles/leaf
    hicfm train configs/pretrain_arabidopsis.py:small_batch runs/large --config.data.tiles=tiles/leaf

Every field of the config can be changed: --config.train.total_steps=600. The variant demo takes 5 minutes of
pretraining and 20 minutes of fine-tuning on two CPU cores. Without a variant the networks are large (330 M
parameters) and need a GPU. Several machines: docs/how-to/distributed.md.
"""

from absl import flags
from ml_collections import config_flags

from hicfm_jax import cli
from hicfm_jax.train.loop import train_and_evaluate
from hicfm_jax.train.processes import joined, keep_freed_memory
from hicfm_jax.train.workdir import summary

_CONFIG = config_flags.DEFINE_config_file(
    "config", None, "Experiment: configs/NAME.py[:variant].", lock_config=True
)
_WORKDIR = flags.DEFINE_string("workdir", None, "Folder for checkpoints, metrics and pictures.")
_COORDINATOR = flags.DEFINE_string("coordinator", None, "HOST:PORT on the machine of process 0.")
_PROCESSES = flags.DEFINE_integer("processes", None, "Number of processes that train together.")
_PROCESS = flags.DEFINE_integer("process", None, "Number of this process, from 0.")
flags.mark_flags_as_required(["config", "workdir"])
flags.register_validator("config", cli.config_loads)

GROUPS = {"Run": ("config", "workdir"), "Several machines": ("coordinator", "processes", "process")}


def main():
    keep_freed_memory()
    with joined(_COORDINATOR.value, _PROCESSES.value, _PROCESS.value):
        result = train_and_evaluate(_CONFIG.value, _WORKDIR.value)
        print(summary(_CONFIG.value, _WORKDIR.value, result.finished, int(result.state.step)))
