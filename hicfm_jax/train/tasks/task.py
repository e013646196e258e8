"""Interface between a task and the training loop."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
from ml_collections import ConfigDict

from hicfm_jax.batch import Batch
from hicfm_jax.types import Array


class Task(NamedTuple):
    """A task as functions of (params, batch, keys), with one random key per example `[B]`.

    Attributes:
      model: the network.
      init: `(key) -> params`.
      center: `(params, batch) -> params`, output biases set to the mean of a batch's targets.
      loss: `(params, batch, keys) -> (loss, metrics)`, means over the batch's examples.
      evaluate: `(params, batch, keys) -> sums` over the examples of a batch; sums over all batches go to
        `finish`.
      finish: `(sums) -> metrics` of a whole evaluation.
      panels: `(params, batch, keys) -> [B, H, P, W]` intensities of P panels side by side.
      panel_names: names of the panels.
      metrics: names of the metrics that `loss` returns.
      flops: per training sample.
    """

    model: nn.Module
    init: Callable[[Array], Any]
    center: Callable[[Any, Batch], Any]
    loss: Callable[[Any, Batch, Array], tuple[Array, dict[str, Array]]]
    evaluate: Callable[[Any, Batch, Array], dict[str, Array]]
    finish: Callable[[dict[str, float]], dict[str, float]]
    panels: Callable[[Any, Batch, Array], Array]
    panel_names: tuple[str, ...]
    metrics: tuple[str, ...]
    flops: int


@dataclasses.dataclass(frozen=True)
class TaskKind:
    """An entry of `tasks.TASKS`.

    Attributes:
      create: `(config, kind, shapes) -> Task`, where `shapes` are those of one example of
        `Batch.targets`, by name.
      targets: targets of fine-tuning, and the field of `HeadOutput` that predicts each.
      head: task of `models.create_model`; "": the name of the entry.
      logits: the outputs are logits of targets in [0, 1].
      pictures: panels of a validation picture.
      check: raises InputError where a config does not fit the task.
    """

    create: Callable[[ConfigDict, "TaskKind", Mapping[str, tuple[int, ...]]], Task]
    targets: Mapping[str, str] = dataclasses.field(default_factory=dict)
    head: str = ""
    logits: bool = False
    pictures: tuple[str, ...] = ("input", "output", "target")
    check: Callable[[ConfigDict], None] = lambda config: None
