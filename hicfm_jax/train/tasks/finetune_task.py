"""Targets made from the map itself, for trying fine-tuning out where there are no measured ones.

They show that the machinery works, and nothing about biology: a network can read them off its input.

Predictions and targets of fine-tuning as panels of a picture.

Fine-tuning as a task: maps, tracks and embeddings regressed from whole windows.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from hicfm_jax.config import TARGETS
from hicfm_jax.errors import InputError
from hicfm_jax.models import create_model, preprocess
from hicfm_jax.models.flops import head_flops, pixel_path_flops
from hicfm_jax.models.heads import TRACKS, apply_head, init_head
from hicfm_jax.models.pixel_path import PIXEL_FEATURES
from hicfm_jax.models.presets import PRESETS, head_options
from hicfm_jax.train.losses.finetuning_losses import finetune_losses, target_losses
from hicfm_jax.train.metrics import finetune_metrics
from hicfm_jax.train.metrics.references import bin_distance, map_baselines, mean_by
from hicfm_jax.train.tasks.task import Task
from hicfm_jax.types import Array, Batch


def coverage_track(counts: Array) -> Array:
    """log10(1 + mean count) of every row of the window, `[B, H, W]` -> `[B, H]`."""
    return jnp.log10(1.0 + counts.astype(jnp.float32).mean(axis=2))


def distance_profile(counts: Array, diag: Array, size: int) -> Array:
    """Mean log10(1 + count) of a window in `size` classes of distance from the diagonal.

    Args:
      counts: `[B, H, W]`.
      diag: in patches, `[B]` (see `types.Batch`).
      size: number of classes, evenly spaced over the distances in the window.

    Returns:
      `[B, size]`; 0 for a class without pixels.
    """
    height, width = counts.shape[1:]
    distance = bin_distance(diag, height, width)
    distance = distance - distance.min(axis=(1, 2), keepdims=True)
    classes = jnp.minimum(distance * size // (height + width), size - 1)
    logs = jnp.log10(1.0 + counts.astype(jnp.float32))

    return jax.vmap(lambda values, index: mean_by(values, jnp.ones_like(values), index, size)[0])(
        logs, classes
    )


def target_panels(predicted: Array, true: Array, size: tuple[int, int]) -> list[Array]:
    """Two panels on the target's own range.

    Args:
      predicted, true: maps `[B, H, W]`, or one number a row: tracks `[B, H]` or `[B, K, H]`,
        embeddings `[B, D']`.
      size: (H, W) of the panels.

    Returns:
      [predicted, true], `[B, H, W]` intensities in about [0, 1]; what is no map becomes bars that
      lie on its rows.
    """
    axes = tuple(range(1, true.ndim))
    low = jnp.minimum(true.min(axis=axes, keepdims=True), 0.0)
    high = true.max(axis=axes, keepdims=True)
    span = jnp.where(high > low, high - low, 1.0)
    panels = [(values - low) / span for values in (predicted, true)]
    return panels if true.shape[1:] == size else [_bars(panel, *size) for panel in panels]


def _bars(values: Array, height: int, width: int) -> Array:
    """One horizontal bar a row; several tracks stand side by side."""
    tracks = values if values.ndim == 3 else values[:, None]
    rows = jnp.arange(height) * tracks.shape[2] // height
    track, place = jnp.divmod(jnp.arange(width) * tracks.shape[1], width)
    length = jnp.take(tracks[:, :, rows], track, axis=1).transpose(0, 2, 1)
    return (place / width < length).astype(jnp.float32) * 0.6


FIELDS = {
    "finetune": {"map": "map", "track": "track", "embedding": "embedding"},
    "loop": {"map": "map"},
    "resolution": {"map": "map"},
    "single_cell": {"map": "map"},
    "epigenome": {"track": "tracks"},
}
"""Targets of each task, and the field of the model's output that predicts each."""

_HEADS = {"map": "map_head", "track": "track_head"}


def finetune_task(config: ConfigDict, targets: Mapping[str, tuple[int, ...]]) -> Task:
    """A head on the encoder; see `tasks.create_task`."""
    size, fields = tuple(config.model.input_size), FIELDS[config.task]
    model = create_head(config)
    specs = {name: spec for name, spec in target_losses(config).items() if name in fields}
    specs = {name: spec for name, spec in specs.items() if _available(config, targets, name)}
    _check(config, targets, specs)
    metrics = ("loss", *(f"{name}_loss" for name in specs))

    def init(key):
        return init_head(model, key)

    def targets_of(batch):
        deep = batch.targets.get("deep", batch.counts)
        made = {
            "map": lambda: deep,
            "track": lambda: coverage_track(deep),
            "embedding": lambda: distance_profile(
                deep, batch.diag, PRESETS[config.model.name]["decoder_dim"]
            ),
        }
        return {name: batch.targets[name] if name in batch.targets else made[name]() for name in specs}

    def center(params, batch):
        for name, value in targets_of(jax.tree.map(jnp.asarray, batch)).items():
            if head := params.get(_HEADS.get(name)):
                mean = specs[name].scaling.scale(value).mean()
                if config.task == "loop":  # the head gives logits
                    mean = jax.scipy.special.logit(jnp.clip(mean, 1e-4, 1 - 1e-4))
                params = {**params, _HEADS[name]: {**head, "bias": jnp.full_like(head["bias"], mean)}}
        return params

    def predict(params, batch):
        output = apply_head(
            model,
            params,
            batch.counts,
            batch.total_count,
            cutoff=config.data.cutoff,
            context=batch.context,
            enlarge=1 / batch.targets["kept"] if "kept" in batch.targets else None,
        )
        outputs = {name: getattr(output, fields[name]) for name in specs}
        if config.task == "loop":
            outputs["map"] = jax.nn.sigmoid(outputs["map"])
        return outputs

    def loss(params, batch, keys):
        parts = finetune_losses(predict(params, batch), targets_of(batch), specs, batch.mask)
        return parts["loss"], parts

    def shown(name, outputs, true):
        """Predicted and true on the scale of the metrics: log10 counts where the scaling is one."""
        scaling = specs[name].scaling
        return outputs[name] * scaling.unit, scaling.scale(true[name]) * scaling.unit

    def evaluate(params, batch, keys):
        outputs, true = predict(params, batch), targets_of(batch)
        examples = batch.mask.sum()
        means = finetune_losses(outputs, true, specs, batch.mask)
        sums = {"examples": examples, **{name: value * examples for name, value in means.items()}}
        if "map" in specs:
            predicted = shown("map", outputs, true)[0]
            sums |= _map_sums(batch, specs["map"].scaling, predicted, true["map"])
            if config.task == "loop":
                sums |= finetune_metrics.call_sums(outputs["map"], true["map"], _inside(batch))
        if "track" in specs:
            sums |= finetune_metrics.track_sums(*shown("track", outputs, true), batch.mask, TRACKS)
        if "embedding" in specs:
            sums |= finetune_metrics.embedding_sums(*shown("embedding", outputs, true), batch.mask)
        return sums

    def finish(sums):
        means = {name: sums[name] / sums["examples"] for name in metrics}
        return {**means, **finetune_metrics.finish(sums)}

    def panels(params, batch, keys):
        outputs, true = predict(params, batch), targets_of(batch)
        found = [preprocess.intensity(batch.counts, config.data.cutoff)]
        for name in specs:
            found += target_panels(*shown(name, outputs, true), size)
        return jnp.stack(found, axis=2)

    return Task(
        model=model,
        init=init,
        center=center,
        loss=loss,
        evaluate=evaluate,
        finish=finish,
        panels=panels,
        panel_names=("input", *(label for name in specs for label in (name, f"{name}: target"))),
        metrics=metrics,
        flops=flops(config),
    )


def create_head(config: ConfigDict):
    """The network of a fine-tuning config."""
    run = {name: config.model[name] for name in ("dtype", "scan", "remat")}
    size = tuple(config.model.input_size)
    return create_model(config.model.name, size, config.task, **run, **head_options(config.model))


def flops(config: ConfigDict) -> int:
    """FLOPs of one training sample; patterns that train a part of the encoder are not counted."""
    model, size = config.model, tuple(config.model.input_size)
    path, channels = 0, 1
    if model.residual != "none":
        path = pixel_path_flops(size, model.pixel_width, model.pixel_depth, model.bin_heads)
        if not model.transformer:
            return path
        channels = PIXEL_FEATURES
    everything = config.optim.trainable == "all"
    return path + head_flops(
        model.name, size, config.task, train_encoder=everything, train_decoder=True, map_channels=channels
    )


def _available(config, targets, name) -> bool:
    deep_map = name == "map" and "deep" in targets and config.task != "loop"
    return name in targets or deep_map or name in config.data.derive


def _check(config, targets, specs) -> None:
    tiles = config.data.tiles or "The simulated tiles"
    wanted = list(FIELDS[config.task])
    if not specs:
        held = ", ".join(name for name in targets if name in TARGETS) or "none"
        raise InputError(
            f"{tiles} hold no target for task {config.task!r} (they hold {held}; it takes "
            f"{' or '.join(wanted)} with a weight above 0): store targets with the tiles, or draw shallow "
            "inputs from them with data.thin."
        )
    height, width = config.model.input_size
    expected = {
        "map": (height, width),
        "track": (len(TRACKS), height) if config.task == "epigenome" else (height,),
        "embedding": (PRESETS[config.model.name]["decoder_dim"],),
    }
    for name in specs:
        shape = tuple(targets.get(name, expected[name]))
        if shape != expected[name]:
            raise InputError(
                f"{tiles} hold the target {name!r} with shape {shape} a window, but "
                f"{config.model.name} predicts {expected[name]} for task {config.task!r}: make the target "
                "that long, or set its weight in config.targets to 0."
            )


def _inside(batch: Batch):
    counts = batch.targets.get("deep", batch.counts)
    return preprocess.inside_chromosome(counts) * batch.mask[:, None, None]


def _map_sums(batch: Batch, scaling, predicted, true):
    predictions, goal = {"map": predicted}, scaling.scale(true) * scaling.unit
    if scaling.offset is not None:  # counts: the input is an estimate of them as well
        contacts = batch.counts.astype(jnp.float32).sum(axis=(1, 2))
        share = contacts / jnp.maximum(true.astype(jnp.float32).sum(axis=(1, 2)), 1.0)
        kept = batch.targets.get("kept", jnp.maximum(share, 1e-9))
        for name, counts in map_baselines(batch.counts, kept, batch.context).items():
            predictions[name] = scaling.scale(counts) * scaling.unit
    return finetune_metrics.map_sums(predictions, goal, _inside(batch), batch.diag)
