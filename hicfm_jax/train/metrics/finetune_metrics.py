"""Validation metrics of fine-tuned heads, as sums over windows."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp

from hicfm_jax.train.losses.finetuning_losses import cosine
from hicfm_jax.train.metrics.references import distance_means
from hicfm_jax.types import Array

_TINY = 1e-30
_PARTS = ("squares", "pixels", "xy", "xx", "yy")


def _agreement(name: str, predicted: Array, true: Array, weights: Array) -> dict[str, Array]:
    """Sums for mean squared error and Pearson correlation about the mean of each example."""
    axes = tuple(range(1, true.ndim))
    total = jnp.maximum(weights.sum(axis=axes, keepdims=True), 1.0)
    x, y = (v - (v * weights).sum(axis=axes, keepdims=True) / total for v in (predicted, true))
    sums = {
        "squares": (predicted - true) ** 2,
        "pixels": jnp.ones_like(true),
        "xy": x * y,
        "xx": x * x,
        "yy": y * y,
    }
    return {f"{name}/{part}": jnp.sum(value * weights) for part, value in sums.items()}


def map_sums(predictions: Mapping[str, Array], true: Array, inside: Array, diag: Array) -> dict[str, Array]:
    """Sums of one batch for each of several named predictions of the same maps, `[B, H, W]` each.

    Predictions are on the scale of `true`; `inside` is 0 beyond a chromosome's end and in padding; `diag`
    `[B]` is in patches. The sums are also taken after subtracting each window's mean at each genomic
    distance: a map that only shows distance decay has no correlation there.
    """
    maps = jnp.stack([true, *predictions.values()])
    beyond = maps - jax.vmap(distance_means, (0, None, None))(maps, inside, diag)
    sums = {}
    for name, predicted, residual in zip(predictions, maps[1:], beyond[1:], strict=True):
        sums |= _agreement(name, predicted, true, inside)
        sums |= _agreement(f"{name}_distance", residual, beyond[0], inside)
    return sums


def track_sums(predicted: Array, true: Array, example_mask: Array, names: Sequence[str]) -> dict[str, Array]:
    """Sums of tracks `[B, H]`, or of the K named tracks `[B, K, H]`; values that are NaN do not count."""
    known = jnp.isfinite(true)
    true = jnp.where(known, true, 0.0)
    if true.ndim == 2:
        return _agreement("track", predicted, true, known * example_mask[:, None])
    sums = {}
    for k, name in enumerate(names):
        weights = known[:, k] * example_mask[:, None]
        sums |= _agreement(f"track_{name}", predicted[:, k], true[:, k], weights)
    return sums


def embedding_sums(predicted: Array, true: Array, example_mask: Array) -> dict[str, Array]:
    """Sums of embeddings `[B, D']`."""
    return {"embedding_cosine": jnp.sum(cosine(predicted, true) * example_mask)}


def call_sums(probability: Array, true: Array, inside: Array) -> dict[str, Array]:
    """Sums for the F1 score of pixels called at 0.5, `[B, H, W]` each."""
    called, positive = probability > 0.5, true > 0.5
    return {
        "calls/both": jnp.sum(inside * (called & positive)),
        "calls/either": jnp.sum(inside * called) + jnp.sum(inside * positive),
    }


def finish(sums: Mapping[str, float]) -> dict[str, float]:
    """Metrics from the sums over a whole evaluation.

    Returns:
      `NAME_mse` and `NAME_r` (Pearson about each window's mean) of every prediction; `NAME_r_distance`
      (Pearson about the mean at each distance) of maps; `track_r`, the mean over several tracks;
      `embedding_cosine`; `call_f1`.
    """
    metrics = {}
    for name in dict.fromkeys(key.rpartition("/")[0] for key in sums if key.endswith("/xy")):
        part = {p: sums[f"{name}/{p}"] for p in _PARTS}
        correlation = part["xy"] / max((part["xx"] * part["yy"]) ** 0.5, _TINY)
        if name.endswith("_distance"):
            metrics[f"{name.removesuffix('_distance')}_r_distance"] = correlation
        else:
            metrics[f"{name}_mse"] = part["squares"] / max(part["pixels"], 1.0)
            metrics[f"{name}_r"] = correlation
    several = [value for name, value in metrics.items() if name.startswith("track_") and name.endswith("_r")]
    if several and "track_r" not in metrics:
        metrics["track_r"] = sum(several) / len(several)
    if "embedding_cosine" in sums:
        metrics["embedding_cosine"] = sums["embedding_cosine"] / max(sums["examples"], 1.0)
    if "calls/both" in sums:
        metrics["call_f1"] = 2 * sums["calls/both"] / max(sums["calls/either"], 1.0)
    return metrics
