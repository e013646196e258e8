"""Checkpoints of this project as files that the original loads."""

import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
from flax.traverse_util import flatten_dict

from hicfm_jax.checkpoints.folder import step_folder
from hicfm_jax.checkpoints.weights import Report, Weights
from hicfm_jax.convert import files, names, optimizer
from hicfm_jax.convert.files import OriginalFile
from hicfm_jax.convert.load import load_weights
from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import TRACKS
from hicfm_jax.models.vit import sincos_2d
from hicfm_jax.progress import NullProgress
from hicfm_jax.types import PATCH

_CLASSES = 1000  # of a classifier that the original creates and never uses

# Flag of the original -> field of our config.
_ARGS = {
    "accum_iter": "train.accum_steps",
    "epochs": "train.epochs",
    "warmup_epochs": "optim.warmup_epochs",
    "mask_ratio": "model.mask_ratio",
    "sparsity_ratio": "data.min_density",
    "loss_alpha": "loss.alpha",
    "blr": "optim.blr",
    "min_lr": "optim.min_lr",
    "weight_decay": "optim.weight_decay",
    "seed": "train.seed",
}

_SCALER = {
    "scale": 65536.0,
    "growth_factor": 2.0,
    "backoff_factor": 0.5,
    "growth_interval": 2000,
    "_growth_tracker": 0,
}


def export(
    source: str | os.PathLike, output: str | os.PathLike, progress: NullProgress | None = None
) -> None:
    """Writes a checkpoint as a file that the original loads.

    Pretraining keeps its optimizer; a head's is left out. `args`, epoch and gradient scaler of a converted
    file are kept. A `.safetensors` file gets the parameters and `args` only.

    Raises:
      InputError: the source cannot be read, is a file of the original or has an untrained head, or the
        output has another suffix or exists already.
    """
    files.check_writable(output)
    if files.is_original_file(source):
        raise InputError(f"{source} is a file of the original already: give a workdir or checkpoint.")
    weights = load_weights(source, with_adam=True, progress=progress)
    weights.check_trained()  # the file has no place to say so
    if "residual" in weights.head:
        raise InputError(
            f"{source} has a path from pixels to pixels (model.residual={weights.head['residual']!r}), which "
            "the original does not: give a model without one."
        )
    if (number := len(weights.head.get("tracks", TRACKS))) != len(TRACKS):
        raise InputError(
            f"{source} predicts {number} tracks, and the original {len(TRACKS)}: it cannot be exported."
        )
    files.write(output, to_original(weights))


def to_original(weights: Weights) -> OriginalFile:
    """Names, layout and containers of the original, see `export`."""
    report, config = weights.report, weights.meta["config"]
    original = weights.meta.get("original", {})  # of a converted file
    args = original.get("args") or _args(config, report)
    tensors = {
        names.original_name(path, report.task): names.to_original(path, value)
        for path, value in weights.params.items()
    }
    if report.task == "pretrain":
        grid = [side // PATCH for side in report.input_size]
        widths = (weights.params[f"{side}/norm/scale"].size for side in ("encoder", "decoder"))
        tensors["pos_embed"] = sincos_2d(*grid, next(widths), class_token=True)[None]
        tensors["decoder_pos_embed"] = sincos_2d(*grid, next(widths))[None]
    else:
        width = weights.params["encoder/norm/scale"].size
        tensors["vit_backbone.head.weight"] = np.zeros((_CLASSES, width), np.float32)
        tensors["vit_backbone.head.bias"] = np.zeros(_CLASSES, np.float32)
        for leaf in ("weight", "bias"):
            tensors[f"patch_embed.proj.{leaf}"] = tensors[f"vit_backbone.patch_embed.proj.{leaf}"]
    state = None
    if weights.adam and report.task == "pretrain":
        state = optimizer.to_original(weights.adam, original.get("groups") or _groups(config, args))
    return OriginalFile(
        tensors={name: tensors[name] for name in sorted(tensors, key=names.original_order)},
        args=args,
        epoch=original["epoch"] if "epoch" in original else _last_epoch(report.path, weights.step),
        optimizer=state,
        scaler=original.get("scaler") or _SCALER,
    )


def _args(config: Mapping[str, Any], report: Report) -> dict[str, Any]:
    """The original's command line for one of our configs."""
    fields = flatten_dict(config, sep=".")
    args = {flag: fields[field] for flag, field in _ARGS.items() if field in fields}
    if "train.accum_steps" in fields:
        batch = fields["train.global_batch_size"]
        rate = fields["optim.learning_rate"]
        args["batch_size"] = batch // fields["train.accum_steps"]
        args["lr"] = rate if rate is not None else fields["optim.blr"] * batch / 256
    rows, columns = report.input_size
    size = {"input_row_size": rows, "input_col_size": columns, "patch_size": PATCH}
    scaling = {"map_scaling": fields["targets.map_scaling"]} if "targets.map_scaling" in fields else {}
    tracks = {"tracks": config["model"]["tracks"]} if config["model"].get("tracks") else {}
    return {**args, **size, **scaling, **tracks, "model": report.model, "task": report.task}


def _groups(config: Mapping[str, Any], args: Mapping[str, Any]) -> list[dict[str, Any]]:
    optim = config["optim"]
    shared = {"lr": args["lr"], "betas": (optim["b1"], optim["b2"]), "eps": optim["eps"]}
    return [{"weight_decay": decay, **shared} for decay in (0.0, optim["weight_decay"])]


def _last_epoch(path: str, step: int) -> int:
    """The last whole epoch, counted from 0, that a run of ours had finished; -1 for none."""
    log = step_folder(path).parent.parent / "metrics.jsonl"
    lines = log.read_text().splitlines() if log.exists() else []
    epochs = [line["epoch"] for line in map(json.loads, lines) if line["step"] == step]
    return int(epochs[-1]) - 1 if epochs else -1
