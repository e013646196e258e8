"""Task epigenome: tracks along the chromosomes from a contact map."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.intervals import Track, empty_track
from hicfm_jax.contacts.annotations.tracks import TABLE, check_pybigtools, write_bigwig, write_table
from hicfm_jax.contacts.contact_map import counted, listed
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network, as_network
from hicfm_jax.infer.scan import cut_windows, scan
from hicfm_jax.infer.scan_plan import InferenceTask, ScanPlan, make_plan
from hicfm_jax.infer.stitching import smooth_weights
from hicfm_jax.infer.tasks.target_depth import as_deep_as_trained, original_depth, without_short
from hicfm_jax.models.heads import HeadOutput
from hicfm_jax.models.preprocess import TargetScaling
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import atomic_folder, file_name
from hicfm_jax.types import Array

PICTURE = "tracks.png"


def predict_tracks(
    contact_map: ContactMap,
    params: Network | str | os.PathLike,
    *,
    batch_size: int = 8,
    progress: NullProgress | None = None,
    **choices: Any,
) -> dict[str, Track]:
    """Predicts tracks, such as chromatin marks or coverage by genes, from whole chromosomes.

        found = predict_tracks(open_contacts("leaf.mcool", 10_000), "runs/tracks")
        found["genes"]["Chr4"]

    Args:
      contact_map: raw counts.
      params: a checkpoint, or a network of `load_network`.
      batch_size: windows at once, over all devices.
      progress: shows the windows done, and warnings.
      **choices: `chromosomes`, `merge` and `stride`, as of `make_plan`.

    Returns:
      Name -> chromosome -> values `[n_bins]` float32, NaN where nothing was predicted: in chromosomes that
      were not chosen, and where no window has contacts. They have the scale of the tracks trained on;
      published weights: 0 to 1, where 1 is the 98th percentile of the track's bins that are not 0.

    Raises:
      InputError: a map without contacts, or a choice or checkpoint that does not fit.
    """
    network = as_network(params, None, TASK.head, progress, TASK.default_window)
    plan = make_plan(TASK, contact_map, network, **choices)
    return collect(scan(contact_map, network, plan, batch_size, progress), contact_map, network)


def track_names(network: Network) -> tuple[str, ...]:
    """Names of the tracks that a network predicts."""
    return network.model.tracks if network.model.task == "epigenome" else ("track",)


def settle(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with the chromosomes and the depth of the original, where these are needed.

    Published weights get the cis contacts of the chromosomes of at least half a window's rows as the depth,
    and with merge "original" the others are left out.

    Raises:
      InputError: `max_distance`, which is for maps; or no chromosome is left.
    """
    if plan.max_bins is not None:
        raise InputError("Task epigenome has no option max_distance, which is for maps: leave it out.")
    plan = as_deep_as_trained(without_short(plan, contact_map), contact_map, network)
    if not network.published:
        return plan
    return dataclasses.replace(plan, total_count=original_depth(contact_map, network)[0])


def centered_positions(size: int, plan: ScanPlan) -> np.ndarray:
    """Windows whose middle is on the main diagonal, `[N, 2]` (first row, first column), by row.

    Their rows begin at 0, stride, ..., and the last end with the chromosome. Their columns reach beyond both
    ends of it. With merge "original" the rows are those of `scan_plan.original_positions`.
    """
    height, width = plan.window
    last = max(size - height, 0)
    rows = [*range(0, last, plan.stride), last]
    if plan.merge == "original":
        rows.append(max(last - plan.stride, 0))
    rows = np.sort(np.array(rows, np.int64))
    return np.stack([rows, rows + height // 2 - width // 2], axis=1)


def values_of_rows(output: HeadOutput, scaling: TargetScaling) -> Array:
    """Tracks `[B, K, H]` of a head; that of task finetune has one."""
    tracks = output.track[:, None] if output.tracks is None else output.tracks
    return scaling.unscale(tracks)


def merge_rows(
    values: Iterable[np.ndarray], positions: np.ndarray, size: int, window: tuple[int, int], rule: str
) -> Iterator[np.ndarray]:
    """Merges the windows of a chromosome and yields its tracks, `[K, size]` float64, at once.

    Rule "original" takes the plain mean of each bin, and 0 where there is no window; otherwise windows count
    less towards their ends, and bins without a window are NaN. Windows without contacts, which are all 0, do
    not count, as in the original.

    Args:
      values: of each window, `[K, H]`.
      positions: of the windows, `[N, 2]`.
      size: bins of the chromosome; what windows predict beyond is left out.
      window: (H, W) in bins.
      rule: a key of `stitching.MERGES`.
    """
    height = window[0]
    weights = np.ones(height) if rule == "original" else smooth_weights((height, 1))[:, 0]
    total, weight = None, np.zeros(size)
    for row, part in zip(positions[:, 0].tolist(), values, strict=True):
        if total is None:
            total = np.zeros((len(part), size))
        if part.any():
            inside = min(height, size - row)
            total[:, row : row + inside] += (part * weights)[:, :inside]
            weight[row : row + inside] += weights[:inside]
    if total is not None:
        missing = 0.0 if rule == "original" else np.nan
        yield np.divide(total, weight, out=np.full_like(total, missing), where=weight > 0)


def collect(
    found: Iterable[tuple[str, np.ndarray]], contact_map: ContactMap, network: Network
) -> dict[str, Track]:
    """The merged tracks by name and chromosome, see `predict_tracks`."""
    tracks = {name: empty_track(contact_map) for name in track_names(network)}
    for chrom, values in found:
        for track, row in zip(tracks.values(), values, strict=True):
            track[chrom][:] = row
    return tracks


def write(
    path: pathlib.Path,
    suffix: str,
    found: Iterable[tuple[str, np.ndarray]],
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    progress: NullProgress,
) -> str:
    """Writes a folder with `NAME.bigWig` for each track, a table of all, and a picture.

    Raises:
      InputError: pybigtools is not installed, or nothing was predicted.
      OSError: the disk is full or not writable.
    """
    names = track_names(network)
    check_pybigtools(path)  # before the work
    tracks = collect(found, contact_map, network)
    predicted = [chrom for chrom in plan.chromosomes if np.isfinite(tracks[names[0]][chrom]).any()]
    with atomic_folder(path) as folder:
        for name, track in tracks.items():
            write_bigwig(folder / f"{file_name(name)}.bigWig", contact_map, track)
        write_table(folder / TABLE, contact_map, tracks)
        _draw(folder / PICTURE, contact_map, tracks, predicted[0], progress)
    chromosomes = counted(len(predicted), "chromosome")
    return f"Wrote {path}: {listed(names, 8)} of {chromosomes} at {contact_map.resolution} bp."


def _draw(
    path: pathlib.Path, contact_map: ContactMap, tracks: dict[str, Track], chrom: str, progress: NullProgress
) -> None:
    try:
        from hicfm_jax.evaluate.report import prediction_figures
    except ModuleNotFoundError as error:
        progress.say(f"There is no picture, which needs {error.name}: pip install 'hicfm_jax[evaluate]'.")
        return
    values = {name: track[chrom] for name, track in tracks.items()}
    prediction_figures.save(path, prediction_figures.draw_tracks(contact_map, chrom, values))


TASK = InferenceTask(
    name="epigenome",
    text="tracks along the genome, one bigWig each",
    head=("epigenome", "finetune"),
    default_window=(128, 4000),
    default_stride=32,
    prepare=cut_windows,
    postprocess=values_of_rows,
    merge=merge_rows,
    outputs=(),
    write=write,
    positions=centered_positions,
    settle=settle,
)
