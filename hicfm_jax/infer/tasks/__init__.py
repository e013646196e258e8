"""The tasks of inference, and the way from a file to a file."""

import dataclasses
import os
import pathlib
from typing import Any

from hicfm_jax.contacts import open_contacts
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import load_network
from hicfm_jax.infer.scan import scan
from hicfm_jax.infer.scan_plan import make_plan
from hicfm_jax.infer.tasks import (
    embedding,
    epigenome,
    loops,
    reconstruction,
    reproducibility,
    resolution,
    single_cell,
)
from hicfm_jax.progress import NullProgress, doing
from hicfm_jax.storage import check_new_file

_MODULES = (resolution, loops, epigenome, embedding, reproducibility, single_cell, reconstruction)
INFERENCE_TASKS = {module.TASK.name: module.TASK for module in _MODULES}
"""One entry per task. A new one is a file in this folder with a `TASK`, and its name here."""


def infer_file(
    task: str,
    uri: str,
    resolution: int | None,
    checkpoint: str | os.PathLike | None,
    output: str | os.PathLike,
    *,
    input_size: tuple[int, int] | None = None,
    batch_size: int = 8,
    progress: NullProgress | None = None,
    **choices: Any,
) -> str:
    """Applies a network to the map of a file and writes the result.

    Args:
      task: a key of `INFERENCE_TASKS`.
      uri, resolution: of the map, see `contacts.open_contacts`.
      checkpoint, input_size: see `load_network`; None: the network that comes with the package for this task.
      output: a file with one of the task's suffixes, or a folder where the task has none; it appears when it
        is complete.
      batch_size, progress: see `scan.scan`.
      **choices: see `make_plan`, and the task's own options.

    Returns:
      A sentence on what was written.

    Raises:
      InputError: no such task, an output that exists already or cannot be written, or a map, checkpoint or
        choice that does not fit. Nothing is written.
      OSError: the disk is full or not writable.
    """
    if task not in INFERENCE_TASKS:
        raise InputError(f"There is no task {task!r} of inference: take one of {', '.join(INFERENCE_TASKS)}.")
    chosen, path, progress = INFERENCE_TASKS[task], pathlib.Path(output), progress or NullProgress()
    suffixes = chosen.outputs or ("",)
    suffix = next((suffix for suffix in suffixes if path.name.lower().endswith(suffix)), None)
    if suffix is None:
        raise InputError(
            f"{path}: task {task} cannot write {path.suffix or 'a file without a suffix'}, expected one of "
            f"{', '.join(chosen.outputs)}."
        )
    check_new_file(path)
    if checkpoint is None:
        if not chosen.packaged:
            raise InputError(f"checkpoint is missing: no network for task {task} comes with the package.")
        checkpoint = chosen.packaged
    if chosen.infer:
        return chosen.infer(
            uri, resolution, checkpoint, path, suffix, input_size, batch_size, progress, choices
        )
    with doing(f"Reading {uri}"):
        contact_map = open_contacts(uri, resolution)
    window = chosen.default_window
    if chosen.choose_window:
        window = chosen.choose_window(contact_map, choices)
    with doing(f"Loading {checkpoint}"):
        network = load_network(checkpoint, input_size, chosen.head, window, progress)
    with doing(f"Reading {uri}"):
        _ = contact_map.total_count  # of the whole file, which takes longest
    plan = dataclasses.replace(make_plan(chosen, contact_map, network, **choices), input=uri)
    found = scan(contact_map, network, plan, batch_size, progress)
    return chosen.write(path, suffix, found, contact_map, network, plan, progress)
