"""Parameters for a task, and an account of where each came from."""

import dataclasses
import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hicfm_jax.checkpoints import folder
from hicfm_jax.checkpoints.parameters import HEAD_LAYERS, fresh_parameters, parameter_shapes, resize_table
from hicfm_jax.errors import InputError
from hicfm_jax.models.presets import head_options
from hicfm_jax.models.vit import sincos_2d
from hicfm_jax.progress import NullProgress
from hicfm_jax.types import PATCH

# `config.targets.map_scaling` of the published heads.
PUBLISHED_SCALINGS = {"resolution": "log1000", "single_cell": "single_cell"}
_PROVENANCE = ("seen", "unknown", "total_counts", "maps", "seen_maps", "untrained")
_NUMBER = r"(blocks?[._](?:block_)?|track_heads_)\d+"
_LEAF = r"[./](weight|bias|kernel|scale)$"


@dataclasses.dataclass
class Report:
    """Account of every parameter that was read; `str()` gives it as a table.

    Attributes:
      path: the file or folder.
      task, fits: the task the parameters are for, and all tasks that have exactly these parameters.
      model, input_size: key of `models.PRESETS`, and windows in bins (H, W).
      source: task of the file: "pretrain" or a head's.
      mapped, resized, dropped: name in the file -> path here, grids in patches, or reason.
      new: paths here that the file does not have; they are drawn.
      optimizer: what became of the optimizer's state.
    """

    path: str
    task: str
    fits: tuple[str, ...]
    model: str
    input_size: tuple[int, int]
    source: str
    mapped: dict[str, str] = dataclasses.field(default_factory=dict)
    resized: dict[str, str] = dataclasses.field(default_factory=dict)
    dropped: dict[str, str] = dataclasses.field(default_factory=dict)
    new: list[str] = dataclasses.field(default_factory=list)
    optimizer: str = "none in the file"

    def __str__(self) -> str:
        size = " x ".join(map(str, self.input_size))
        head = f"{self.path}: {self.source} -> {self.task}, {self.model}, windows of {size} bins"
        if also := [task for task in self.fits if task != self.task]:
            head += f"\n(the same parameters serve {', '.join(also)})"
        rows = [("mapped", name, path) for name, path in self.mapped.items()]
        rows += [("resized", name, grids) for name, grids in self.resized.items()]
        rows += [("left out", name, reason) for name, reason in self.dropped.items()]
        rows += [("new", path, "not in the file: drawn at random") for path in self.new]
        lines: dict[tuple[str, ...], int] = {}  # blocks and leaves with the same entry share a line
        for row in rows:
            line = tuple(re.sub(_LEAF, "", re.sub(_NUMBER, r"\1*", word)) for word in row)
            lines[line] = lines.get(line, 0) + 1
        width = max(len(name) for _, name, _ in lines)
        table = [f"{fate:9}{count:4} x {name:{width}}  {text}" for (fate, name, text), count in lines.items()]
        return "\n".join([head, *table, f"optimizer: {self.optimizer}"])


@dataclasses.dataclass
class Weights:
    """Parameters of a task, and what came with them.

    Attributes:
      params: float32 arrays by path ("encoder/norm/scale"), without those of `report.new`.
      report: account of every name; has task, model and window size.
      step: optimizer steps that made them.
      adam: moments of AdamW; None if there are none, or none that fit.
      meta: the checkpoint's metadata.
      head: `models.presets.head_options` of the head.
    """

    params: dict[str, np.ndarray]
    report: Report
    step: int = 0
    adam: folder.Adam | None = None
    meta: dict[str, Any] = dataclasses.field(default_factory=dict)
    head: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def provenance(self) -> dict[str, Any]:
        """Metadata on the training data, see `train.provenance`."""
        return {name: self.meta[name] for name in _PROVENANCE if name in self.meta}

    @property
    def stored_args(self) -> dict[str, Any]:
        """Command line in a file of the original."""
        return self.meta.get("original", {}).get("args") or {}

    @property
    def map_scaling(self) -> str | None:
        """Scaling of a trained head's maps (`config.targets.map_scaling`); None for pretraining."""
        if self.report.source == "pretrain":
            return None
        stored = self.meta.get("config", {}).get("targets", {}).get("map_scaling")
        stored = stored or self.stored_args.get("map_scaling")  # which only our own exports have
        return stored or PUBLISHED_SCALINGS.get(self.report.task, "none")

    def complete(self) -> dict[str, np.ndarray]:
        """All parameters by path, those of `report.new` drawn."""
        of = self.report
        drawn = fresh_parameters(of.model, of.input_size, of.task, of.new, **self.head)
        return {**self.params, **drawn}

    def check_trained(self) -> None:
        """Raises InputError if some parameters were drawn and never trained."""
        if drawn := self.report.new or self.meta.get("untrained"):
            raise InputError(
                f"{self.report.path} has no trained head for {self.report.task}, its {', '.join(drawn)} are "
                "random: fine-tune it first, for instance with configs/enhance_arabidopsis.py and "
                "--config.init_from."
            )


def read_weights(
    path: str, task: str | None, model: str | None, with_adam: bool, progress: NullProgress
) -> Weights:
    """Reads a checkpoint of this project; arguments and errors as of `convert.load_weights`.

    The weights are for the checkpoint's own task and windows, see `for_task`.
    """
    step, reason = folder.chosen_step(path)
    stored = folder.read(path, with_adam)
    if stored.folder != folder.absolute(path):
        progress.say(f"Using step {step} of {path}: {reason}.")
    config = stored.meta["config"]
    own, name, size = config["task"], config["model"]["name"], tuple(config["model"]["input_size"])
    layers = HEAD_LAYERS.get(own)
    fits = tuple(other for other, needed in HEAD_LAYERS.items() if needed == layers) or (own,)
    own = check_purpose(path, fits, name, task or own, model)
    options = head_options(config["model"])
    shapes = parameter_shapes(name, size, own, **options)
    refuse(path, f"{own} of {name}", differences(stored.params, shapes))
    report = Report(path, own, fits, name, size, own, mapped={name: name for name in shapes})
    return Weights(stored.params, report, stored.meta["step"], stored.adam, stored.meta, options)


def check_purpose(path: str, fits: Sequence[str], holds: str, task: str | None, model: str | None) -> str:
    """The task to take parameters for, which fit some tasks and belong to the model `holds`.

    Raises:
      InputError: the task or model requested is another.
    """
    if model and model != holds:
        raise InputError(
            f"The parameters in {path} are those of {holds} and do not fit {model}: "
            "use the model they were trained with."
        )
    if task and task not in fits and tuple(fits) != ("pretrain",):
        raise InputError(
            f"{path} holds a head for {' or '.join(fits)}, which cannot serve {task}: "
            "start from a pretraining checkpoint."
        )
    return task if task in fits else fits[0]


def differences(found: Mapping[str, np.ndarray], expected: Mapping[str, tuple[int, ...]]) -> list[str]:
    """Names that are missing, unexpected or of another shape."""
    problems = [f"{name} (missing)" for name in expected if name not in found]
    problems += [f"{name} (unexpected)" for name in found if name not in expected]
    for name, shape in expected.items():
        if name in found and tuple(found[name].shape) != tuple(shape):
            problems.append(f"{name} (shape {tuple(found[name].shape)}, expected {shape})")
    return problems


def refuse(path: str, what: str, problems: Sequence[str]) -> None:
    """Raises InputError with all problems at once, if there are any."""
    if problems:
        raise InputError(
            f"The parameters in {path} do not fit {what}; wrong are {', '.join(problems)}: "
            "use the file the weights were published in, or the model they were trained with."
        )


def for_task(
    weights: Weights,
    task: str | None,
    input_size: Sequence[int] | None,
    head: Mapping[str, Any] | None = None,
) -> Weights:
    """The weights for a task and window size; pretraining's fill a head as far as they go.

    Position tables are resized from pretraining's grid, not computed for the new one, as in the original's
    `finetune/main_worker.py`; the decoder's table of the epigenome head is computed.

    Raises:
      InputError: a head on windows of another size, or a head without a transformer.
    """
    old, size = weights.report, tuple(input_size or weights.report.input_size)
    if (old.source != "pretrain" or task in (None, "pretrain")) and size != old.input_size:
        raise InputError(
            f"{old.path} holds {old.task} on windows of {' x '.join(map(str, old.input_size))} bins, not "
            f"{' x '.join(map(str, size))}: only a head made of pretraining can have another size."
        )
    if old.source != "pretrain" or task is None or (old.task == task and old.input_size == size):
        return weights
    head = dict(head or {})
    if not head.get("transformer", True):
        raise InputError(
            f"{old.path} is a pretrained transformer, and with model.transformer=False there is none "
            "to start: leave init_from empty."
        )
    shapes = parameter_shapes(old.model, size, task, **head)
    grid, new_grid = (tuple(side // PATCH for side in sides) for sides in (old.input_size, size))
    params = {path: weights.params[path] for path in shapes if path in weights.params}
    computed = {"decoder/pos_embed"} if task == "epigenome" else set()
    resized = {"encoder/pos_embed", "decoder/pos_embed"} - computed
    for path in sorted(resized):
        table = sincos_2d(*grid, shapes[path][-1], path.startswith("encoder"))
        params[path] = resize_table(table[None], grid, new_grid)
    for path in computed:
        params[path] = sincos_2d(*new_grid, shapes[path][-1])[None]
    resized = resized if grid != new_grid else set()
    names = {"pos_embed": "encoder/pos_embed", "decoder_pos_embed": "decoder/pos_embed"} | old.mapped
    unused = {path for path in names.values() if path not in shapes} | computed
    grids = f"{grid[0]} x {grid[1]} -> {new_grid[0]} x {new_grid[1]} patches"
    report = dataclasses.replace(
        old,
        task=task,
        fits=(task,),
        input_size=size,
        mapped={name: path for name, path in names.items() if path not in unused | resized},
        resized={name: grids for name, path in names.items() if path in resized},
        dropped={name: f"{task} has no use for it" for name, path in names.items() if path in unused},
        new=[path for path in shapes if path not in params],
        optimizer="left out: it belongs to pretraining",
    )
    return Weights(params, report, meta=weights.provenance, head=head)
