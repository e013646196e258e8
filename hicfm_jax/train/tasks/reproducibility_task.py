"""Reproducibility: embeddings that separate replicates of a window from other windows."""

import jax.numpy as jnp
from ml_collections import ConfigDict

from hicfm_jax.config import micro_batch_size, require
from hicfm_jax.models import preprocess
from hicfm_jax.models.heads import init_head
from hicfm_jax.train.losses.finetuning_losses import REPLICATE_LOSSES, triplet_similarities
from hicfm_jax.train.tasks.finetune_task import create_head, flops
from hicfm_jax.train.tasks.task import Task, TaskKind


def _create(config: ConfigDict, kind: TaskKind, shapes: object) -> Task:
    """Two downsamplings of a window against other windows, see `finetuning_losses.REPLICATE_LOSSES`."""
    model = create_head(config, kind)

    def pair(params, batch):
        counts = jnp.concatenate([batch.counts, batch.targets["replicate"]])
        images = preprocess.normalize(counts, config.data.cutoff)
        output = model.apply({"params": params}, images, jnp.tile(batch.total_count, 2))
        return jnp.split(output.embedding, 2)

    def compare(anchor, replicate, mask):
        of = REPLICATE_LOSSES[config.targets.replicate_loss]
        return of(anchor, replicate, config.targets.margin, config.targets.temperature, mask)

    def loss(params, batch, keys):
        value = compare(*pair(params, batch), batch.mask)
        return value, {"loss": value}

    def evaluate(params, batch, keys):
        anchor, replicate = pair(params, batch)
        same, other = triplet_similarities(anchor, replicate)
        both = batch.mask * jnp.roll(batch.mask, 1)
        return {
            "examples": both.sum(),
            "loss": compare(anchor, replicate, batch.mask) * both.sum(),
            "replicate_cosine": jnp.sum(same * both),
            "other_cosine": jnp.sum(other * both),
            "told_apart": jnp.sum((same > other) * both),
        }

    def finish(sums):
        examples = max(sums["examples"], 1.0)
        return {name: value / examples for name, value in sums.items() if name != "examples"}

    def panels(params, batch, keys):
        shown = (batch.counts, batch.targets["replicate"], batch.targets["deep"])
        return jnp.stack([preprocess.intensity(counts, config.data.cutoff) for counts in shown], axis=2)

    return Task(
        model=model,
        init=lambda key: init_head(model, key),
        center=lambda params, batch: params,
        loss=loss,
        evaluate=evaluate,
        finish=finish,
        panels=panels,
        panel_names=kind.pictures,
        metrics=("loss",),
        flops=2 * flops(config, kind),
    )


def _check(config: ConfigDict) -> None:
    thin, batch = tuple(config.data.thin), config.train.global_batch_size
    chosen, known = config.targets.replicate_loss, REPLICATE_LOSSES
    require(chosen in known, "targets.replicate_loss", chosen, "one of " + ", ".join(known))
    require(thin != (), "data.thin", thin, "set for task=reproducibility: replicates are downsampled")
    require(
        micro_batch_size(config) > 1,
        "train.global_batch_size",
        batch,
        f"at least twice train.accum_steps ({config.train.accum_steps}), for windows to compare",
    )


REPRODUCIBILITY = TaskKind(
    _create, pictures=("a downsampling", "its replicate", "all contacts"), check=_check
)
