"""A file of the original as a checkpoint folder of ours."""

import json
import os
from collections.abc import Callable

from hicfm_jax.convert import checkpoint_folder
from hicfm_jax.convert.report import Report
from hicfm_jax.convert.weights import complete, load_weights

_SCALINGS = {"resolution": "log1000", "single_cell": "single_cell"}
"""What the published heads' maps stand for, as `config.targets.map_scaling` names it."""


def convert_to_folder(
    source: str | os.PathLike,
    output: str | os.PathLike,
    task: str | None = None,
    input_size: tuple[int, int] | None = None,
    model: str | None = None,
    progress: Callable[[str], None] = lambda line: None,
) -> Report:
    """Makes a workdir that training and inference take: parameters, moments of AdamW, step.

    Args:
      source, task, input_size, model, progress: see `weights.load_weights`.
      output: folder to make.

    Returns:
      What became of every name.

    Raises:
      InputError: see `weights.load_weights`; the output exists already. Nothing is written.
    """
    checkpoint_folder.check_free(output)
    weights = load_weights(source, task, input_size, model, with_adam=True, progress=progress)
    report = weights.report
    config = {"task": report.task, "model": {"name": report.model, "input_size": report.input_size}}
    if report.source != "pretrain":
        config["targets"] = {"map_scaling": _SCALINGS.get(report.task, "none")}
    meta = {
        "config": config,
        # The stored command line may hold objects that JSON has no word for.
        "original": json.loads(json.dumps(weights.meta.get("original", {}), default=str)),
    }
    progress(f"writing {output}")
    checkpoint_folder.write(output, weights.step, complete(weights), weights.adam, meta)
    return report
