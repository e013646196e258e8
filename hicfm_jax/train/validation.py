"""Validation of a state on held-out tiles."""

import collections
import functools
import time

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from hicfm_jax.config import micro_batch_size
from hicfm_jax.progress import doing
from hicfm_jax.tiles.stream.batches import WindowPlace
from hicfm_jax.train import sharding
from hicfm_jax.train.inputs import Inputs
from hicfm_jax.train.logging.metric_writer import MetricWriter
from hicfm_jax.train.step import TrainState
from hicfm_jax.train.tasks.task import Task

IN_FLIGHT = 8
"""Micro-batches given to the devices before the sums of the first are fetched: they hold memory."""


class Validation:
    """Metrics of a state over every held-out tile, at crops and masks that never change."""

    def __init__(self, config: ConfigDict, task: Task, inputs: Inputs, mesh: jax.sharding.Mesh):
        self.config, self.task, self.inputs, self.mesh = config, task, inputs, mesh
        self.batch_size = micro_batch_size(config)
        self.key = jax.random.fold_in(jax.random.key(config.train.seed), 2)
        replicated = NamedSharding(mesh, PartitionSpec())
        self.evaluate = jax.jit(task.evaluate, out_shardings=replicated)
        self.panels = jax.jit(task.panels, out_shardings=replicated)

    @doing("Validating on held-out tiles")
    def run(self, state: TrainState, writer: MetricWriter) -> dict[str, float]:
        """Evaluates and logs; returns the metrics."""
        jax.block_until_ready(state)  # steps that are still running count as training time
        started = time.perf_counter()
        # Summed on the host, in float64: sums over all tiles are large.
        totals: dict[str, float] = {}
        running: collections.deque = collections.deque()
        pictures: list[jax.Array] = []
        pictured = self._pictured()
        for number, batch in enumerate(self.inputs.validation()):
            batch = sharding.to_devices(batch, self.mesh)
            # One key per tile, so that a mask does not depend on the batch size.
            index = number * self.batch_size + jnp.arange(self.batch_size)
            keys = jax.vmap(jax.random.fold_in, (None, 0))(self.key, index)
            running.append(self.evaluate(state.params, batch, keys))
            if number in pictured:
                pictures.append(self.panels(state.params, batch, keys)[: pictured[number]])
            if len(running) >= IN_FLIGHT:
                _add(totals, running.popleft())
        while running:
            _add(totals, running.popleft())
        metrics = self.task.finish(totals)
        panels = jax.device_get(jnp.concatenate(pictures)) if pictures else []
        writer.validation(int(state.step), metrics, panels, self.task.panel_names, self._places)
        writer.pause(time.perf_counter() - started)
        return metrics

    def _pictured(self) -> dict[int, int]:
        """Windows to show of each batch: from all over the split, not from its first batch alone."""
        tiles, size = self.inputs.num_validation, self.batch_size
        count, pictures = -(-tiles // size), min(self.config.log.image_count, tiles)
        chosen = collections.Counter(i * count // pictures for i in range(pictures))
        return {number: min(windows, tiles - number * size) for number, windows in chosen.items()}

    @functools.cached_property
    def _places(self) -> list[WindowPlace]:
        size = self.batch_size
        shown = [n * size + i for n, windows in self._pictured().items() for i in range(windows)]
        return self.inputs.places(shown) if shown else []


def _add(totals: dict[str, float], sums: dict[str, jax.Array]) -> None:
    for name, value in jax.device_get(sums).items():
        totals[name] = totals.get(name, 0.0) + float(value)
