"""Pretraining: whole windows reconstructed from a quarter of their patches."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from hicfm_jax.batch import Batch
from hicfm_jax.config import require
from hicfm_jax.models import PretrainOutput, create_model, mae, preprocess
from hicfm_jax.models.flops import pretrain_flops
from hicfm_jax.train.losses import pretrain_losses
from hicfm_jax.train.metrics.references import masked_references, visible_pixels
from hicfm_jax.train.tasks.task import Task, TaskKind
from hicfm_jax.types import PATCH, Array


def _create(config: ConfigDict, kind: TaskKind, shapes: object) -> Task:
    """The masked autoencoder of `config`."""
    size = tuple(config.model.input_size)
    grid = (size[0] // PATCH, size[1] // PATCH)
    fields = ("mask_ratio", "mask_combine", "dtype", "scan", "remat")
    options = {name: config.model[name] for name in fields}
    model = create_model(config.model.name, size, "pretrain", **options)

    def init(key):
        images = jnp.zeros((1, *size, 3))
        return model.init({"params": key, "mask": key}, images)["params"]

    def center(params, batch):
        # Far from its target, the count head has an error of about 40, which hides the other losses for long.
        mean = jnp.log10(jnp.asarray(batch.matrix_count) + 1.0).mean(keepdims=True)
        return {**params, "count_head": {**params["count_head"], "bias": mean}}

    def predict(params, batch, keys):
        images, noise = preprocess.normalize(batch.counts), mae.draw_noise(keys, *grid)
        return images, model.apply({"params": params}, images, batch.total_count, batch.diag, noise=noise)

    def losses(images, output, batch):
        return pretrain_losses(
            output,
            images,
            preprocess.valid_mask(batch.counts),
            batch.matrix_count,
            example_mask=batch.mask,
            counts=batch.counts,
            **config.loss.to_dict(),
        )

    def loss(params, batch, keys):
        parts = losses(*predict(params, batch, keys), batch)
        return parts["loss"], parts

    def evaluate(params, batch, keys):
        images, output = predict(params, batch, keys)
        examples = batch.mask.sum()
        means = losses(images, output, batch)
        return {
            "examples": examples,
            **{name: value * examples for name, value in means.items()},
            **metric_sums(output, batch),
        }

    def example():
        one, patches = jnp.ones(1), grid[0] * grid[1]
        output = PretrainOutput(jnp.ones((1, patches, 3 * PATCH**2)), one, jnp.ones((1, patches)))
        return losses(jnp.ones((1, *size, 3)), output, Batch(jnp.ones((1, *size)), one, one, one, one))

    metrics = tuple(jax.eval_shape(example))

    def finish(sums):
        means = {name: sums[name] / sums["examples"] for name in metrics}
        return {**means, **metrics_of(sums)}

    def panels(params, batch, keys):
        _, output = predict(params, batch, keys)
        true = preprocess.intensity(batch.counts)
        visible = visible_pixels(output.token_mask, *size)
        masked = jnp.where(visible > 0, true, jnp.nan)
        predicted = predicted_intensity(output, *size)
        return jnp.stack([true, masked, predicted], axis=2)

    return Task(
        model=model,
        init=init,
        center=center,
        loss=loss,
        evaluate=evaluate,
        finish=finish,
        panels=panels,
        panel_names=kind.pictures,
        metrics=metrics,
        flops=pretrain_flops(config.model.name, size, config.model.mask_ratio),
    )


def predicted_intensity(output: PretrainOutput, height: int, width: int) -> Array:
    """`1 - green` of the predicted image, `[B, H, W]`: the model's `intensity`, not clipped."""
    images = preprocess.denormalize(preprocess.unpatchify(output.patch_pred, height, width))
    return 1.0 - images[..., 1]


def metric_sums(output: PretrainOutput, batch: Batch) -> dict[str, Array]:
    """Sums of one batch, to be added over all batches and passed to `metrics_of`.

    `xy, xx, yy` are of predicted and true intensity about each window's mean; `error` and `error_NAME` are
    squared errors of log10(1 + counts) on masked pixels within the chromosome, of the model and of each
    reference.
    """
    height, width = batch.counts.shape[1:]
    predicted, true = predicted_intensity(output, height, width), preprocess.intensity(batch.counts)
    examples = batch.mask[:, None, None]
    x = predicted - predicted.mean(axis=(1, 2), keepdims=True)
    y = true - true.mean(axis=(1, 2), keepdims=True)
    # Pixels beyond a chromosome's end are not data: to know where it ends would beat any reference.
    data = preprocess.inside_chromosome(batch.counts) * examples
    scale = preprocess.log_scale(batch.counts)[:, None, None]
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


def metrics_of(sums: dict[str, float]) -> dict[str, float]:
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


def _check(config: ConfigDict) -> None:
    for field in ("thin", "split"):
        value = tuple(config.data[field])
        require(value == (), f"data.{field}", value, "empty for task=pretrain")


PRETRAIN = TaskKind(_create, pictures=("target", "visible to the encoder", "reconstruction"), check=_check)
