"""Validation metrics of pretraining, as sums over windows."""

import jax.numpy as jnp

from hicfm_jax.models.mae import PretrainOutput
from hicfm_jax.models.preprocess import denormalize, inside_chromosome, intensity, log_scale, unpatchify
from hicfm_jax.train.metrics.references import masked_references, visible_pixels
from hicfm_jax.types import Array, Batch


def predicted_intensity(output: PretrainOutput, height: int, width: int) -> Array:
    """`1 - green` of the predicted image, `[B, H, W]`: the model's `intensity`, not clipped."""
    images = denormalize(unpatchify(output.patch_pred, height, width))
    return 1.0 - images[..., 1]


def metric_sums(output: PretrainOutput, batch: Batch) -> dict[str, Array]:
    """Sums of one batch, to be added over all batches and passed to `finish`.

    `xy, xx, yy` are of predicted and true intensity about each window's mean; `error` and `error_NAME` are
    squared errors of log10(1 + counts) on masked pixels within the chromosome, of the model and of each
    reference.
    """
    height, width = batch.counts.shape[1:]
    predicted, true = predicted_intensity(output, height, width), intensity(batch.counts)
    examples = batch.mask[:, None, None]
    x = predicted - predicted.mean(axis=(1, 2), keepdims=True)
    y = true - true.mean(axis=(1, 2), keepdims=True)
    # Pixels beyond a chromosome's end are not data: to know where it ends would beat any reference.
    data = inside_chromosome(batch.counts) * examples
    scale = log_scale(batch.counts)[:, None, None]
    visible = visible_pixels(output.token_mask, height, width) * data
    hidden = data - visible
    logs = true * scale

    def error(prediction):
        return jnp.sum(hidden * (prediction - logs) ** 2)

    references = masked_references(logs, visible, batch.diag)
    return {
        "xy": jnp.sum(x * y * examples),
        "xx": jnp.sum(x * x * examples),
        "yy": jnp.sum(y * y * examples),
        "error": error(predicted * scale),
        **{f"error_{name}": error(reference) for name, reference in references.items()},
    }


def finish(sums: dict[str, float]) -> dict[str, float]:
    """Metrics from the sums over a whole evaluation.

    `pixel_r` is the Pearson correlation of predicted and true intensity over all patches (zeros beyond a
    chromosome's end included) about each window's mean; `masked_r2_NAME` is 1 - squared error on masked
    pixels over that of the reference.
    """
    tiny = 1e-30
    metrics = {"pixel_r": sums["xy"] / max((sums["xx"] * sums["yy"]) ** 0.5, tiny)}
    for name in sums:
        if name.startswith("error_"):
            metrics[name.replace("error", "masked_r2")] = 1.0 - sums["error"] / max(sums[name], tiny)
    return metrics
