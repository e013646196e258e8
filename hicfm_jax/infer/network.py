"""A trained network that enhances maps, from a checkpoint of ours or a file of the original."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any

from flax.traverse_util import unflatten_dict

from hicfm_jax.checkpoints.weights import Weights, load_weights
from hicfm_jax.convert import is_original_file, load_original
from hicfm_jax.errors import InputError
from hicfm_jax.models.heads import OUTPUTS, TaskModel
from hicfm_jax.models.preprocess import TargetScaling, target_scaling
from hicfm_jax.models.presets import create_model

_ENHANCES = ("resolution", "finetune")


@dataclasses.dataclass(frozen=True)
class Network:
    """A network with a map head, and what has to be known to apply it.

    Attributes:
      model: the head.
      params: its parameters, nested dict.
      scaling: what its maps stand for.
      cutoff: largest count of the image, see `models.preprocess.intensity`.
      published: a resolution head of the original, to be shown maps as the original does: depth and
        cutoff as in `depth`, and windows that begin on the main diagonal without it.
      checkpoint: where it is from.
      step: optimizer steps that made it; 0 if not known.
      seen: "train" and "val" -> assay -> chromosomes; None if not known.
      unknown: files that it started from and that do not say what they have seen.
      total_counts: contacts of the maps it was trained on, by assay.
      shares: least and most of those contacts that its inputs had in training; None if not known.
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
    shares: tuple[float, float] | None = None

    @property
    def window(self) -> tuple[int, int]:
        """(H, W) in bins."""
        return tuple(self.model.input_size)

    @property
    def takes_depth(self) -> bool:
        """Whether it is told how deep a map is wanted; others give the depth they were trained for."""
        return self.model.residual != "none"


def load_network(path: str | os.PathLike, input_size: tuple[int, int] | None = None) -> Network:
    """Loads a network that makes deep maps of shallow ones.

    Args:
      path: workdir or checkpoint of ours, or `.pth.tar` or `.safetensors` of the original. Such a file
        does not say whether it is for resolution, loops or single cells, and is taken for the first.
      input_size: windows in bins (H, W), for a file that does not tell its two sides.

    Raises:
      InputError: no such checkpoint, damaged, of another task or size.
    """
    path = os.fspath(path)
    load = load_original if is_original_file(path) else load_weights
    weights = load(path, input_size=input_size)
    weights.report = dataclasses.replace(weights.report, task=_task(path, weights))
    report, config = weights.report, weights.meta.get("config", {})
    # Only a run of ours has this section: files of the original are converted without.
    data = config.get("data")
    shares = tuple((data or {}).get("thin", ()))
    return Network(
        model=create_model(report.model, report.input_size, report.task, **weights.head),
        params=unflatten_dict(weights.complete(), sep="/"),
        scaling=target_scaling(weights.map_scaling),
        cutoff=(data or {}).get("cutoff", 0.0),
        published=data is None and report.task == "resolution",
        checkpoint=path,
        step=weights.step,
        seen=weights.meta.get("seen"),
        unknown=tuple(weights.meta.get("unknown", ())),
        total_counts=weights.meta.get("total_counts", {}),
        shares=shares or None,
    )


def _task(path: str, weights: Weights) -> str:
    report = weights.report
    if report.source == "pretrain":
        raise InputError(
            f"{path} is a pretraining checkpoint, which gives no maps: fine-tune it first, for instance with "
            "configs/enhance_arabidopsis.py and --config.init_from."
        )
    told = weights.meta.get("config") or weights.meta.get("original", {}).get("args") or {}
    task = told.get("task")
    if task not in report.fits:  # a file of the original: what the user says
        task = "resolution" if "resolution" in report.fits else report.task
    if task not in _ENHANCES:
        gives = " and ".join(OUTPUTS[task])
        raise InputError(
            f"{path} holds a head for {task} ({gives}), not one that makes deeper maps: give a checkpoint of "
            f"task {' or '.join(_ENHANCES)}."
        )
    if told.get("targets", {}).get("map_weight") == 0:
        raise InputError(
            f"{path} was trained without a map as its target (targets.map_weight=0): give a checkpoint that "
            "was trained to make maps."
        )
    return task
