"""From raw counts to what a head predicts, the same in training and in inference."""

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from hicfm_jax.errors import InputError
from hicfm_jax.models import preprocess
from hicfm_jax.models.heads import HeadOutput, Shallow, TaskModel
from hicfm_jax.models.smoothing import estimated_counts, expected_counts
from hicfm_jax.types import Array


def apply_head(
    model: TaskModel,
    params: Any,
    counts: Array,
    total_count: Array | None,
    *,
    cutoff: float = 0.0,
    context: Mapping[str, Array] | None = None,
    enlarge: Array | None = None,
) -> HeadOutput:
    """Runs a head on windows of raw counts.

    With a residual the transformer is not shown the raw counts, most of which are 0 in a shallow map,
    but a smooth estimate of the deep map: that is closer to what pretraining saw.

    Args:
      model: from `presets.create_model`.
      params: its parameters.
      counts: raw contacts `[B, H, W]`, any real dtype.
      total_count: contacts of each experiment `[B]`, None where unknown.
      cutoff: see `preprocess.intensity`.
      context: what the whole chromosome says about each window, `contacts.expected.Expected.window`;
        for a residual.
      enlarge: contacts of the map that is wanted over those of this one, `[B]`; for a residual.

    Raises:
      InputError: a residual without context or `enlarge`.
    """
    if model.residual == "none":
        return model.apply({"params": params}, preprocess.normalize(counts, cutoff), total_count)
    if not context or enlarge is None:
        raise InputError(
            "A model that adds to a smooth estimate needs the context of each window and by how much to "
            "enlarge: take tiles of scripts/make_tiles.py that carry it, and set data.thin."
        )
    counts, expected = counts.astype(jnp.float32), expected_counts(context)
    shallow = Shallow(counts, expected, enlarge)
    estimate = estimated_counts(counts, expected) * enlarge[:, None, None]
    return model.apply({"params": params}, preprocess.normalize(estimate, cutoff), total_count, shallow)


def init_head(model: TaskModel, key: Array) -> Any:
    """Fresh parameters of a head."""
    height, width = model.input_size
    shallow = None
    if model.residual != "none":
        pixels = jnp.ones((1, height, width))
        shallow = Shallow(pixels, pixels, jnp.ones(1))
    return model.init(key, jnp.zeros((1, height, width, 3)), None, shallow)["params"]
