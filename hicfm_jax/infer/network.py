"""A trained network, and what is needed to apply it."""

import dataclasses
import math
import os
from collections.abc import Mapping, Sequence
from typing import Any

from flax.traverse_util import unflatten_dict

from hicfm_jax.checkpoints.weights import Weights, for_task
from hicfm_jax.convert import load_weights
from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import OUTPUTS, TaskModel
from hicfm_jax.models.preprocess import TargetScaling, target_scaling
from hicfm_jax.models.presets import create_model
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import check_memory

_TABLE_BYTES = 16  # of the position table of ViT-L for a pixel

ENHANCING = ("resolution", "finetune")
"""Tasks whose heads give deeper maps."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with a head, and facts from its checkpoint.

    Attributes:
      params: parameters of the model, nested dict.
      scaling: between its outputs and contacts.
      cutoff: largest count of the image, see `models.preprocess.intensity`.
      published: weights of the original, which get maps as in its inference.
      checkpoint, step: where they are from; step 0 if not known.
      seen: "train" and "val" -> assay -> chromosomes used; None if not known.
      unknown: files it started from that do not say what they were trained on.
      total_counts: contacts of the maps it was trained on, by assay.
      maps: bin width and longest chromosomes of these maps, see `tiles.stream.source.Source.maps`.
      seen_maps: the same of all assays in `seen`, as far as known.
      fractions: least and most of those contacts that its inputs had in training; None if not known.
      any_depth: whether it was trained on parts of these reads (`data.split`), to predict any other number.
    """

    model: TaskModel
    params: Any
    scaling: TargetScaling
    cutoff: float = 0.0
    published: bool = False
    checkpoint: str = ""
    step: int = 0
    seen: Mapping[str, Mapping[str, list[str]]] | None = None
    unknown: tuple[str, ...] = ()
    total_counts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    maps: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    seen_maps: Mapping[str, Mapping[str, Any]] = dataclasses.field(default_factory=dict)
    fractions: tuple[float, float] | None = None
    any_depth: bool = False

    @property
    def window(self) -> tuple[int, int]:
        """(H, W) in bins."""
        return tuple(self.model.input_size)

    @property
    def takes_depth(self) -> bool:
        """Whether the target depth is an input; other networks give the depth they were trained for."""
        return self.model.residual != "none"


def as_network(
    params: Network | Mapping[str, Any] | str | os.PathLike,
    network: Network | None,
    head: Sequence[str] = ENHANCING,
    progress: NullProgress | None = None,
    default_window: tuple[int, int] | None = None,
) -> Network:
    """The network that a user gave: a checkpoint, a network, or parameters to replace those of a network.

    Raises:
      InputError: parameters without a network, or a checkpoint that does not fit.
    """
    if isinstance(params, (str, os.PathLike)):
        return load_network(params, None, head, default_window, progress)
    if isinstance(params, Network):
        return params
    if network is None:
        raise InputError(
            "Parameters alone do not say which network they are for: give network=load_network(CHECKPOINT), "
            "or the checkpoint itself in their place."
        )
    return dataclasses.replace(network, params=params)


def load_network(
    path: str | os.PathLike,
    input_size: tuple[int, int] | None = None,
    head: Sequence[str] = ENHANCING,
    default_window: tuple[int, int] | None = None,
    progress: NullProgress | None = None,
) -> Network:
    """Loads a network for a task of inference.

    Args:
      path: workdir or checkpoint, `@best`, `@last` or `@STEP` may follow; the name of a network that comes
        with the package; or `.pth.tar` or `.safetensors` of the original. Such a file fits several tasks and
        does not say which: it is taken for `head[0]`.
      input_size: windows in bins (H, W), for a file that does not give its two sides.
      head: tasks whose heads serve, the preferred one first. Pretraining serves a head without layers of
        its own.
      default_window: windows of a pretraining checkpoint without `input_size`; None: its own.
      progress: shows which step was chosen, and why.

    Raises:
      InputError: no such checkpoint, damaged, of another task or size, or with an untrained head.
    """
    path = os.fspath(path)
    if input_size is not None:
        check_memory(_TABLE_BYTES * math.prod(input_size), "give smaller windows with input_size")
    weights = load_weights(path, head[0] if "pretrain" in head else None, input_size, progress=progress)
    if weights.report.source == "pretrain":
        weights = for_task(weights, head[0], input_size or default_window)
    weights.check_trained()
    task = _task(path, weights, head)
    weights.report = report = dataclasses.replace(weights.report, task=task)
    # Only a run of this project has this section: files of the original are converted without.
    config = weights.meta.get("config", {})
    data = config.get("data", {})
    return Network(
        model=create_model(report.model, report.input_size, task, **weights.head),
        params=unflatten_dict(weights.complete(), sep="/"),
        scaling=target_scaling(_scaling(weights, head)),
        cutoff=data.get("cutoff", 0.0),
        published="data" not in config and task == head[0],
        checkpoint=path,
        step=weights.step,
        seen=weights.meta.get("seen"),
        unknown=tuple(weights.meta.get("unknown", ())),
        total_counts=weights.meta.get("total_counts", {}),
        maps=weights.meta.get("maps", {}),
        seen_maps=weights.meta.get("seen_maps") or weights.meta.get("maps", {}),
        fractions=tuple(data.get("thin") or data.get("split") or ()) or None,
        any_depth=bool(data.get("split")),
    )


def _task(path: str, weights: Weights, head: Sequence[str]) -> str:
    stored = weights.meta.get("config") or weights.stored_args
    fits, task = weights.report.fits, stored.get("task")
    bare = "pretrain" in head and task not in head  # a head without layers, which serves with others'
    if task not in fits or (bare and head[0] in fits):
        # A file of the original does not say: as requested.
        task = head[0] if head[0] in fits else weights.report.task
    if task not in head:
        raise InputError(
            f"{path} holds a head for {task} ({' and '.join(OUTPUTS[task])}): give a checkpoint of task "
            f"{' or '.join(head)}."
        )
    target = _target(head)
    if target and stored.get("targets", {}).get(f"{target}_weight") == 0:
        raise InputError(
            f"{path} was trained without a {target} as its target (targets.{target}_weight=0): give a "
            f"checkpoint that was trained on {target}s."
        )
    return task


def _target(head: Sequence[str]) -> str | None:
    """The section of `config.targets` that a use of a network depends on."""
    fields = OUTPUTS[head[0]]
    return "map" if "map" in fields else "track" if "tracks" in fields else None


def _scaling(weights: Weights, head: Sequence[str]) -> str:
    if _target(head) == "track":
        return weights.meta.get("config", {}).get("targets", {}).get("track_scaling", "none")
    return weights.map_scaling or "none"
