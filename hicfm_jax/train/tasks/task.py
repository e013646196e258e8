"""What a task brings to the loop: its model, its loss, how it is judged and what it shows."""

from collections.abc import Callable
from typing import Any, NamedTuple

import flax.linen as nn

from hicfm_jax.types import Array, Batch


class Task(NamedTuple):
    """A task as functions over (params, batch, keys), with a random key for each example `[B]`.

    The loop knows nothing else of it.

    Attributes:
      model: the network.
      init: `(key) -> params`.
      center: `(params, batch) -> params`, output biases set to the mean of a batch's targets.
      loss: `(params, batch, keys) -> (loss, metrics)`, means over the batch's examples.
      evaluate: `(params, batch, keys) -> sums` over the examples of a batch; sums of all batches go to
        `finish`.
      finish: `(sums) -> metrics` of a whole evaluation.
      panels: `(params, batch, keys) -> [B, H, P, W]` intensities of P panels side by side.
      panel_names: names of the panels.
      metrics: names of what `loss` reports.
      flops: of one training sample.
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
