"""Task single_cell: denser maps of single cells."""

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from hicfm_jax.contacts import ContactMap, open_cells, write_cells, write_contacts
from hicfm_jax.contacts.contact_map import MAX_COUNT, counted, listed
from hicfm_jax.contacts.formats import output_format, suffixes
from hicfm_jax.errors import InputError
from hicfm_jax.infer.enhanced_map import PredictedRows, enhanced_map, provenance
from hicfm_jax.infer.network import Network, as_network, load_network
from hicfm_jax.infer.scan import cut_windows, on_devices, scan
from hicfm_jax.infer.scan_plan import InferenceTask, Option, ScanPlan, make_plan, map_positions
from hicfm_jax.infer.stitching import Band, Rows, smooth_weights
from hicfm_jax.infer.tasks.target_depth import ORIGINAL_CUTOFF, original_depth
from hicfm_jax.models.preprocess import TargetScaling
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import check_new_file, write_atomically

SCOOL = ".scool"


def single_cell(
    contact_map: ContactMap,
    params: Network | Mapping[str, Any] | str | os.PathLike,
    *,
    network: Network | None = None,
    batch_size: int = 8,
    folder: str | os.PathLike | None = None,
    progress: NullProgress | None = None,
    **choices: Any,
) -> ContactMap:
    """Predicts a denser map of a single cell, for whole chromosomes (original: `inference.py --task 5`).

        network = load_network("hicfoundation_schic.pth.tar", head=("single_cell",))
        dense = {name: single_cell(cell, network) for name, cell in open_cells("cells.scool").items()}
        write_cells(dense.items(), "dense.scool")

    Cis contacts only; chromosomes keep names and lengths. Where windows overlap, the network's outputs,
    which are on a logarithmic scale, are averaged before they become contacts. A chromosome shorter than a
    window is centered in it, with zeros around. Chromosomes without a contact stay empty.

    Args:
      contact_map: raw counts of one cell.
      params, network, batch_size, folder, progress: as of `tasks.resolution.enhance`.
      **choices: `integer`, round to whole contacts, halves to even; as in the original for published weights,
        and not for others, if not given. `chromosomes`, `merge`, `stride`, `bound`, `max_distance` as of
        `enhance`; `bound` is 250 if not given.

    Returns:
      The dense map, no pixel below 0. It reads its chromosomes from temporary files, which are removed with
      it.

    Raises:
      InputError: as of `enhance`.
      OSError: the disk of the temporary files is full.
    """
    network = as_network(params, network, TASK.head, progress)
    plan = make_plan(TASK, contact_map, network, **choices)
    return _predict(contact_map, network, plan, batch_size, folder, progress)


def positions(size: int, plan: ScanPlan) -> np.ndarray:
    """Windows of a chromosome, `[N, 2]`. Those longer than it begin before it, so that it is centered."""
    outside = [max(side - size, 0) // 2 for side in plan.window]
    return map_positions(size, plan) - np.array(outside, np.int64)


def settle(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with the depth and cutoff of the original for published weights, and whether to round."""
    integer = plan.options.get("integer")
    options = {**plan.options, "integer": network.published if integer is None else integer}
    plan = dataclasses.replace(plan, options=options)
    if not network.published:
        return plan
    total, _ = original_depth(contact_map, network)
    return dataclasses.replace(plan, total_count=total, cutoff=ORIGINAL_CUTOFF)


def merge_outputs(
    outputs: Iterable[np.ndarray], places: np.ndarray, size: int, window: tuple[int, int], rule: str
) -> Iterator[Rows]:
    """Means of the network's outputs over windows and their mirror images; arguments as of `merge_windows`.

    Rule "original" is the plain mean, also of outputs that are 0. It is that of the original,
    (S + S^T) / 2C, where its count of windows C is symmetric; where it is not, which depends on the bound,
    the original divides by that of one triangle, and this by the mean of both.
    """
    band = Band(places, window)
    weights = np.ones(window) if rule == "original" else smooth_weights(window)
    for (row, col), values in zip(places.tolist(), outputs, strict=True):
        top, left = max(row, 0), max(col, 0)
        yield from band.finish(min(top, left))
        inside = slice(top - row, None), slice(left - col, None)
        band.add(top, left, values[inside].astype(np.float64), weights[inside])
    yield from band.finish(size)


def contacts(outputs: np.ndarray, scaling: TargetScaling, integer: bool) -> np.ndarray:
    """Contacts of merged outputs of any shape, float64, at least 0.

    The original clips to [0, largest value], so that a chromosome whose values are all below 0 is filled
    with a negative number.

    Raises:
      InputError: counts that no map has.
    """
    if scaling.offset is not None:
        outputs = 10.0 ** (outputs * scaling.unit) - scaling.offset
    if outputs.size and outputs.max() > MAX_COUNT:
        raise InputError(
            f"The network predicts {outputs.max():.3g} contacts in a pixel: give a checkpoint that was "
            "trained on single cells, and raw counts."
        )
    return np.maximum(np.rint(outputs) if integer else outputs, 0.0)


def infer(
    uri: str,
    resolution: int | None,
    checkpoint: str | os.PathLike,
    path: pathlib.Path,
    suffix: str,
    input_size: tuple[int, int] | None,
    batch_size: int,
    progress: NullProgress,
    choices: Mapping[str, Any],
) -> str:
    """Predicts all cells of a file or list, one after another, and writes them.

    Cells without contacts are reported and left out. Beside the output is a picture of the first few.

    Raises:
      InputError: several cells for a format of one map, no cell with contacts, or what does not fit.
    """
    image = path.with_suffix(".png")
    check_new_file(image)
    cells = open_cells(uri, resolution)
    if suffix != SCOOL and len(cells) > 1:
        raise InputError(
            f"{path}: {uri} has {len(cells)} cells, and a {suffix} file holds one: write {SCOOL}, or give "
            "one cell."
        )
    network = load_network(checkpoint, input_size, TASK.head, TASK.default_window, progress)
    network = on_devices(network)
    empty, counts, several = [], [], len(cells) > 1
    picture = _Picture(progress)
    if suffix != SCOOL and output_format(path).whole_counts_only:
        if choices.get("integer") is False:
            raise InputError(f"{path}: a {suffix} file has whole contacts only: leave integer out.")
        choices = {**choices, "integer": True}
    if several:
        progress.start(len(cells), "cells")

    def predicted() -> Iterator[tuple[str, ContactMap]]:
        for name, cell in cells.items():
            chosen = cell.find_chromosomes(choices.get("chromosomes") or cell.chromsizes)
            if before := math.fsum(cell.matrix(chrom).data.sum(dtype=np.float64) for chrom in chosen):
                plan = make_plan(TASK, cell, network, **choices)
                plan = dataclasses.replace(plan, input=cell.name)
                within = _Messages(progress) if several else progress
                dense = _predict(cell, network, plan, batch_size, path.parent, within)
                yield name, dense
                counts.append((before, dense.total_count))
                picture.add(name, cell, dense)
            else:
                empty.append(name)
            if several:
                progress.advance(1, name)
        if not counts:
            raise InputError(
                f"{uri} has no contacts within the chosen chromosomes: give cells of raw counts."
            )

    try:
        if suffix == SCOOL:
            write_cells(predicted(), path)
        else:
            for _, dense in predicted():
                write_contacts(dense, path)
    finally:
        progress.close()
    drawn = picture.write(image)
    if empty:
        progress.say(
            f"{len(empty)} of {len(cells)} cells have no contacts and are left out: {listed(empty, 5)}."
        )
    before, after = map(math.fsum, zip(*counts, strict=True))
    also = f" Also wrote {image}." if drawn else ""
    cells = counted(len(counts), "cell")
    return f"Wrote {path}: {after:,.0f} cis contacts of {cells}, from {before:,.0f}.{also}"


class _Picture:
    """The first cells and their predictions, drawn where matplotlib is installed."""

    def __init__(self, progress: NullProgress):
        self._figure, self._views = None, []
        try:
            from hicfm_jax.evaluate.report import prediction_figures

            self._figure = prediction_figures
        except ModuleNotFoundError as error:
            progress.say(f"There is no picture, which needs {error.name}: pip install 'hicfm_jax[evaluate]'.")

    def add(self, name: str, cell: ContactMap, predicted: ContactMap) -> None:
        if self._figure and len(self._views) < self._figure.MOST_CELLS:
            self._views.append(self._figure.view_cell(name, cell, predicted))

    def write(self, path: pathlib.Path) -> bool:
        """Whether there was something to draw."""
        if self._views:
            write_atomically(path, self._figure.draw_cells(self._views))
        return bool(self._views)


class _Messages(NullProgress):
    """Messages of one cell, without its windows."""

    def __init__(self, progress: NullProgress):
        self.say = progress.say


def _predict(
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    batch_size: int,
    folder: str | os.PathLike | None,
    progress: NullProgress | None,
) -> ContactMap:
    """The dense map, its rows in temporary files."""
    integer, predicted = plan.options["integer"], PredictedRows(folder, plan.max_bins)
    for chrom, rows in scan(contact_map, network, plan, batch_size, progress):
        rows = rows._replace(mean=contacts(rows.mean, network.scaling, integer))
        predicted.append(chrom, rows, contact_map.matrix(chrom))  # which the map still holds
    about = provenance(contact_map, network, plan)
    return enhanced_map(contact_map, plan.chromosomes, predicted, integer=integer, metadata=about)


TASK = InferenceTask(
    name="single_cell",
    text="denser maps of single cells",
    head=("single_cell", "finetune"),
    default_window=(224, 224),
    default_stride=20,
    default_bound=250,
    prepare=cut_windows,
    postprocess=lambda output, scaling: output.map,
    merge=merge_outputs,
    outputs=(SCOOL, *suffixes(lambda form: form.write)),
    write=None,
    positions=positions,
    settle=settle,
    infer=infer,
    options=(Option("integer", bool, "Round to whole contacts; on for published weights and .pairs."),),
)
