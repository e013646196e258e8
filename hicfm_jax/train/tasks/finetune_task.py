"""Fine-tuning: maps, tracks and embeddings predicted from whole windows."""

from collections.abc import Iterable, Mapping

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from hicfm_jax.batch import Batch
from hicfm_jax.errors import InputError
from hicfm_jax.models import create_model, preprocess
from hicfm_jax.models.flops import bin_path_flops, head_flops, pixel_path_flops
from hicfm_jax.models.heads import OUTPUTS, TRACKS, TaskModel, apply_head, init_head
from hicfm_jax.models.pixel_path import PIXEL_FEATURES
from hicfm_jax.models.presets import PRESETS, head_options
from hicfm_jax.train.losses import target_losses
from hicfm_jax.train.losses.finetuning_losses import finetune_losses
from hicfm_jax.train.metrics import finetune_metrics
from hicfm_jax.train.metrics.references import bin_distance, map_baselines, mean_by
from hicfm_jax.train.tasks.task import Task, TaskKind
from hicfm_jax.types import Array

Shapes = Mapping[str, tuple[int, ...]]


def finetune_task(config: ConfigDict, kind: TaskKind, shapes: Shapes) -> Task:
    """A head on the encoder, trained on the targets of `kind` that the batches have.

    Raises InputError for no target, or one of another shape than the head's output.
    """
    size = tuple(config.model.input_size)
    model = create_head(config, kind)
    weighted = target_losses(config)
    available = {*shapes, *config.data.derive}
    if "deep" in shapes and not kind.logits:
        available.add("map")
    specs = {name: weighted[name] for name in kind.targets if name in weighted and name in available}
    expected = _expected_shapes(config, kind, specs, model)
    _check_shapes(config, kind, shapes, expected)

    def targets_of(batch):
        deep = batch.targets.get("deep", batch.counts)
        derived = {"map": lambda *_: deep, **DERIVED}
        return {
            name: batch.targets[name] if name in batch.targets else derived[name](deep, batch.diag, config)
            for name in specs
        }

    def center(params, batch):
        for name, value in targets_of(jax.tree.map(jnp.asarray, batch)).items():
            if head := params.get(f"{name}_head"):
                mean = specs[name].scaling.scale(value).mean()
                if kind.logits:
                    mean = jax.scipy.special.logit(jnp.clip(mean, 1e-4, 1 - 1e-4))
                params = {**params, f"{name}_head": {**head, "bias": jnp.full_like(head["bias"], mean)}}
        return params

    def predict(params, batch):
        output = apply_head(
            model,
            params,
            batch.counts,
            batch.total_count,
            cutoff=config.data.cutoff,
            context=batch.context,
            depth_ratio=1 / batch.targets["kept"] if "kept" in batch.targets else None,
        )
        outputs = {name: getattr(output, kind.targets[name]) for name in specs}
        if model.dispersion:
            outputs["map_log_shape"] = output.log_shape
        return jax.tree.map(jax.nn.sigmoid, outputs) if kind.logits else outputs

    def in_sds(values):
        """Tracks in standard deviations from their means, so that the loss of each counts the same."""
        if "track" not in values or not model.track_sds:
            return values
        mean, sd = (jnp.array(each)[:, None] for each in (model.track_means, model.track_sds))
        return {**values, "track": (values["track"] - mean) / sd}

    def losses(outputs, true, mask):
        return finetune_losses(in_sds(outputs), in_sds(true), specs, mask)

    def loss(params, batch, keys):
        parts = losses(predict(params, batch), targets_of(batch), batch.mask)
        return parts["loss"], parts

    def shown(name, outputs, true):
        """Predicted and true on the scale of the metrics: log10 counts where the scaling is logarithmic."""
        scaling = specs[name].scaling
        return outputs[name] * scaling.unit, scaling.scale(true[name]) * scaling.unit

    def evaluate(params, batch, keys):
        outputs, true = predict(params, batch), targets_of(batch)
        examples = batch.mask.sum()
        means = losses(outputs, true, batch.mask)
        sums = {"examples": examples, **{name: value * examples for name, value in means.items()}}
        if "map" in specs:
            predicted = shown("map", outputs, true)[0]
            sums |= _map_sums(batch, specs["map"].scaling, predicted, true["map"])
            if kind.logits:
                sums |= finetune_metrics.call_sums(outputs["map"], true["map"], _inside(batch))
        if "track" in specs:
            sums |= finetune_metrics.track_sums(*shown("track", outputs, true), batch.mask, model.tracks)
        if "embedding" in specs:
            sums |= finetune_metrics.embedding_sums(*shown("embedding", outputs, true), batch.mask)
        return sums

    values = {name: jax.ShapeDtypeStruct((1, *shape), "float32") for name, shape in expected.items()}
    metrics = tuple(jax.eval_shape(lambda v: finetune_losses(v, v, specs, jnp.ones(1)), values))

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
        init=lambda key: init_head(model, key),
        center=center,
        loss=loss,
        evaluate=evaluate,
        finish=finish,
        panels=panels,
        panel_names=("input", *(label for name in specs for label in (name, f"{name}: target"))),
        metrics=metrics,
        flops=flops(config, kind),
    )


def create_head(config: ConfigDict, kind: TaskKind) -> TaskModel:
    """The network of a fine-tuning config."""
    model, task = config.model, kind.head or config.task
    run = {name: model[name] for name in ("dtype", "scan", "remat")}
    return create_model(model.name, tuple(model.input_size), task, **run, **head_options(model))


def flops(config: ConfigDict, kind: TaskKind) -> int:
    """FLOPs per training sample, as if the whole encoder or none of it were trained."""
    model, size = config.model, tuple(config.model.input_size)
    path, channels = 0, 1
    n_tracks = len(model.tracks or TRACKS)
    if model.residual != "none":
        if "tracks" in OUTPUTS[kind.head or config.task]:
            path = bin_path_flops(size, model.pixel_width, model.pixel_depth, n_tracks)
        else:
            path = pixel_path_flops(size, model.pixel_width, model.pixel_depth, model.bin_heads)
            channels = PIXEL_FEATURES
        if not model.transformer:
            return path
    return path + head_flops(
        model.name,
        size,
        kind.head or config.task,
        train_encoder=config.optim.trainable == "all",
        train_decoder=True,
        map_channels=channels,
        n_tracks=n_tracks,
    )


def _expected_shapes(config: ConfigDict, kind: TaskKind, names: Iterable[str], model: TaskModel) -> Shapes:
    height, width = config.model.input_size
    shapes = {"map": (height, width), "track": (height,), "tracks": (len(model.tracks), height)}
    shapes["embedding"] = (PRESETS[config.model.name]["decoder_dim"],)
    return {name: shapes[kind.targets[name]] for name in names}


def _check_shapes(config: ConfigDict, kind: TaskKind, shapes: Shapes, expected: Shapes) -> None:
    tiles = config.data.tiles or "The simulated tiles"
    if not expected:
        stored = ", ".join(name for name in shapes if f"{name}_weight" in config.targets) or "none"
        raise InputError(
            f"{tiles} have no target for task {config.task!r} (they have {stored}; it takes "
            f"{' or '.join(kind.targets)} with a weight above 0): store targets with the tiles, or "
            "downsample their windows with data.thin or data.split."
        )
    for name, shape in expected.items():
        found = tuple(shapes.get(name, shape))
        if found != shape:
            raise InputError(
                f"{tiles} have the target {name!r} with shape {found} per window, but {config.model.name} "
                f"predicts {shape} for task {config.task!r}: make the target that long, or set its "
                "weight in config.targets to 0."
            )


def _inside(batch: Batch) -> Array:
    counts = batch.targets.get("deep", batch.counts)
    return preprocess.inside_chromosome(counts) * batch.mask[:, None, None]


def _map_sums(batch: Batch, scaling, predicted: Array, true: Array) -> dict[str, Array]:
    predictions, scaled = {"map": predicted}, scaling.scale(true) * scaling.unit
    if scaling.offset is not None:  # the target is counts, of which the input is an estimate too
        contacts = batch.counts.astype(jnp.float32).sum(axis=(1, 2))
        fraction = contacts / jnp.maximum(true.astype(jnp.float32).sum(axis=(1, 2)), 1.0)
        kept = batch.targets.get("kept", jnp.maximum(fraction, 1e-9))
        for name, counts in map_baselines(batch.counts, kept, batch.context).items():
            predictions[name] = scaling.scale(counts) * scaling.unit
    return finetune_metrics.map_sums(predictions, scaled, _inside(batch), batch.diag)


def coverage_track(counts: Array) -> Array:
    """log10(1 + mean count) of every row of the window, `[B, H, W]` -> `[B, H]`."""
    return jnp.log10(1.0 + counts.astype(jnp.float32).mean(axis=2))


def distance_profile(counts: Array, diag: Array, size: int) -> Array:
    """Mean log10(1 + count) in `size` classes of distance, `[B, H, W]` -> `[B, size]`; 0 if empty."""
    height, width = counts.shape[1:]
    distance = bin_distance(diag, height, width)
    distance = distance - distance.min(axis=(1, 2), keepdims=True)
    classes = jnp.minimum(distance * size // (height + width), size - 1)
    logs = jnp.log10(1.0 + counts.astype(jnp.float32))
    ones = jnp.ones(logs.shape[1:])
    return jax.vmap(lambda values, index: mean_by(values, ones, index, size)[0])(logs, classes)


DERIVED = {
    "track": lambda counts, diag, config: coverage_track(counts),
    "embedding": lambda counts, diag, config: distance_profile(
        counts, diag, PRESETS[config.model.name]["decoder_dim"]
    ),
}
"""Targets computed from the map itself, to try fine-tuning without measured ones: a network can read them
off its input."""


def target_panels(predicted: Array, true: Array, size: tuple[int, int]) -> list[Array]:
    """Predicted and true as panels `[B, H, W]` on the target's range, in about [0, 1].

    Tracks `[B, H]` or `[B, K, H]` and embeddings `[B, D']` become bars on their rows.
    """
    axes = tuple(range(1, true.ndim))
    low = jnp.minimum(true.min(axis=axes, keepdims=True), 0.0)
    high = true.max(axis=axes, keepdims=True)
    span = jnp.where(high > low, high - low, 1.0)
    panels = [(values - low) / span for values in (predicted, true)]
    return panels if true.shape[1:] == size else [_bars(panel, *size) for panel in panels]


def _bars(values: Array, height: int, width: int) -> Array:
    """One horizontal bar per row; several tracks stand side by side."""
    tracks = values if values.ndim == 3 else values[:, None]
    rows = jnp.arange(height) * tracks.shape[2] // height
    track, place = jnp.divmod(jnp.arange(width) * tracks.shape[1], width)
    length = jnp.take(tracks[:, :, rows], track, axis=1).transpose(0, 2, 1)
    return (place / width < length).astype(jnp.float32) * 0.6
