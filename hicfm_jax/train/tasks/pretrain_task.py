"""Pretraining as a task: whole windows from a quarter of their patches."""

import jax.numpy as jnp
from ml_collections import ConfigDict

from hicfm_jax.models import create_model, mae, preprocess
from hicfm_jax.models.flops import pretrain_flops
from hicfm_jax.train.losses import pretraining_losses
from hicfm_jax.train.metrics import pretrain_metrics
from hicfm_jax.train.tasks.task import Task
from hicfm_jax.types import PATCH


def pretrain_task(config: ConfigDict) -> Task:
    """The masked autoencoder of `config`."""
    size = tuple(config.model.input_size)
    grid = (size[0] // PATCH, size[1] // PATCH)
    model = create_model(
        config.model.name,
        size,
        "pretrain",
        **{name: config.model[name] for name in ("mask_ratio", "mask_combine", "dtype", "scan", "remat")},
    )

    def init(key):
        images = jnp.zeros((1, *size, 3))
        return model.init({"params": key, "mask": key}, images)["params"]

    def center(params, batch):
        # Far from its target the count head's error, about 40, drowns the other losses for long.
        mean = jnp.log10(jnp.asarray(batch.matrix_count) + 1.0).mean(keepdims=True)
        return {**params, "count_head": {**params["count_head"], "bias": mean}}

    def predict(params, batch, noise):
        images = preprocess.normalize(batch.counts)
        return images, model.apply({"params": params}, images, batch.total_count, batch.diag, noise=noise)

    def pretrain_losses(output, images, batch):
        return pretraining_losses.pretrain_losses(
            output,
            images,
            preprocess.valid_mask(batch.counts),
            batch.matrix_count,
            example_mask=batch.mask,
            counts=batch.counts,
            **config.loss.to_dict(),
        )

    def loss(params, batch, keys):
        images, output = predict(params, batch, mae.draw_noise(keys, *grid))
        parts = pretrain_losses(output, images, batch)
        return parts["loss"], parts

    def evaluate(params, batch, keys):
        images, output = predict(params, batch, mae.draw_noise(keys, *grid))
        examples = batch.mask.sum()
        means = pretrain_losses(output, images, batch)
        return {
            "examples": examples,
            **{name: value * examples for name, value in means.items()},
            **pretrain_metrics.metric_sums(output, batch),
        }

    def finish(sums):
        means = {name: sums[name] / sums["examples"] for name in metrics}
        return {**means, **pretrain_metrics.finish(sums)}

    def panels(params, batch, keys):
        images, output = predict(params, batch, mae.draw_noise(keys, *grid))
        true = preprocess.intensity(batch.counts)
        visible = pretrain_metrics.visible_pixels(output.token_mask, *size)
        masked = jnp.where(visible > 0, true, jnp.nan)
        predicted = pretrain_metrics.predicted_intensity(output, *size)
        return jnp.stack([true, masked, predicted], axis=2)

    metrics = (
        "loss",
        "ssim_loss",
        "count_loss",
        "contrastive_loss",
        "pixel_loss",
        "log_loss",
        "ssim_loss_gb",
    )
    return Task(
        model=model,
        init=init,
        center=center,
        loss=loss,
        evaluate=evaluate,
        finish=finish,
        panels=panels,
        panel_names=("target", "visible to the encoder", "reconstruction"),
        metrics=metrics,
        flops=pretrain_flops(config.model.name, size, config.model.mask_ratio),
    )
