"""A file of the original as a checkpoint folder of ours."""

import json
import os
from collections.abc import Callable

from hicfm_jax.checkpoints import folder
from hicfm_jax.convert.load import complete, is_told_apart, load_weights, map_scaling
from hicfm_jax.convert.report import Report
from hicfm_jax.errors import InputError


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
      InputError: see `weights.load_weights`; the output exists already; the parameters serve several
        tasks and neither `task` nor the file says which. Nothing is written.
    """
    folder.check_free(output)
    weights = load_weights(source, task, input_size, model, with_adam=True, progress=progress)
    report = weights.report
    if task is None and len(report.fits) > 1 and not is_told_apart(weights):
        raise InputError(
            f"The parameters in {source} serve {', '.join(report.fits)}, and nothing in the file says which "
            "they were trained for: give --task."
        )
    model_config = {"name": report.model, "input_size": report.input_size, **weights.head}
    config = {"task": report.task, "model": model_config}
    if (scaling := map_scaling(weights)) is not None:
        config["targets"] = {"map_scaling": scaling}
    meta = {
        "config": config,
        # The stored command line may hold objects that JSON has no word for.
        "original": json.loads(json.dumps(weights.meta.get("original", {}), default=str)),
        **weights.provenance,
    }
    progress(f"writing {output}")
    folder.write(output, weights.step, complete(weights), weights.adam, meta)
    return report
