"""Judging a state on held-out tiles."""

import time

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from hicfm_jax.config import micro_batch_size
from hicfm_jax.train import sharding
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.logging.metric_writer import Progress
from hicfm_jax.train.state import TrainState
from hicfm_jax.train.tasks.task import Task


class Validation:
    """Judges a state on every held-out tile, at crops and masks that never change."""

    def __init__(self, config: ConfigDict, task: Task, inputs: Inputs, mesh: jax.sharding.Mesh):
        self.config, self.task, self.inputs, self.mesh = config, task, inputs, mesh
        self.batch_size = micro_batch_size(config)
        self.key = jax.random.fold_in(jax.random.key(config.train.seed), 2)
        replicated = NamedSharding(mesh, PartitionSpec())
        self.evaluate = jax.jit(task.evaluate, out_shardings=replicated)
        self.panels = jax.jit(task.panels, out_shardings=replicated)

    def run(self, state: TrainState, progress: Progress) -> dict[str, float]:
        """Evaluates and logs; returns the metrics."""
        jax.block_until_ready(state)  # steps still under way are training time
        started = time.perf_counter()
        totals: dict[str, float] = {}
        pictures: list[jax.Array] = []
        wanted = self._pictured()
        for number, batch in enumerate(self.inputs.validation()):
            batch = sharding.to_devices(batch, self.mesh)
            keys = self._keys(number)
            sums = jax.device_get(self.evaluate(state.params, batch, keys))
            for name, value in sums.items():
                totals[name] = totals.get(name, 0.0) + float(value)
            if number in wanted:
                pictures.append(self.panels(state.params, batch, keys)[: wanted[number]])
        metrics = self.task.finish(totals)
        panels = jax.device_get(jnp.concatenate(pictures)) if pictures else []
        progress.validation(int(state.step), metrics, panels, self.task.panel_names)
        progress.pause(time.perf_counter() - started)
        return metrics

    def _keys(self, number: int):
        # One key per tile, so that a mask does not depend on the batch size.
        index = number * self.batch_size + jnp.arange(self.batch_size)
        return jax.vmap(lambda i: jax.random.fold_in(self.key, i))(index)

    def _pictured(self) -> dict[int, int]:
        """Windows to show of each batch: from all over the split, not from its first batch alone."""
        count = -(-self.inputs.num_validation // self.batch_size)
        pictures = min(self.config.log.image_count, self.inputs.num_validation)
        wanted: dict[int, int] = {}
        for i in range(pictures):
            number = i * count // pictures
            wanted[number] = wanted.get(number, 0) + 1
        return wanted
