"""Tasks of inference, and the plan of a scan: windows, merging, depth."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.regions import parse_region
from hicfm_jax.contacts.contact_map import Pair
from hicfm_jax.contacts.species import longest_chromosomes, same_species
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.stitching import MERGES
from hicfm_jax.models.heads import HeadOutput, apply_head
from hicfm_jax.models.preprocess import TargetScaling
from hicfm_jax.types import Array

DTYPES = ("float32", "bfloat16")


class Option(NamedTuple):
    """A flag of some tasks only: its name, its type, and its help text."""

    name: str
    kind: type
    text: str


@dataclasses.dataclass(frozen=True)
class InferenceTask:
    """One use of a network over whole maps; `hicfm_jax.infer.tasks` lists all.

    The windows of each chromosome go through `prepare`, the network, `postprocess` and `merge`; `write` makes
    a file of the result.

    Attributes:
      name: value of `--task`.
      text: what it makes, for help texts.
      head: tasks of the checkpoints that serve it, the preferred one first; "pretrain" among them where
        pretraining has all the layers.
      default_window: published (H, W) in bins, for checkpoints that fit any window; None: their own.
      default_stride, default_bound: published, in bins; for merge "original" and tasks without a merge.
      prepare: `(matrix, positions, network)` -> `scan.ScanWindow`s at these positions of a chromosome.
      postprocess: `(output, scaling)` -> values `[B, ...]` of the windows, on the device.
      merge: `(values, positions, size, window, rule)` -> parts of the result for a chromosome, for a map its
        rows, as `stitching.merge_windows`; None: the values of each window are the result.
      outputs: suffixes that `write` knows, the usual one first; empty: it writes a folder.
      write: `(path, suffix, found, contact_map, network, plan, progress)` -> a sentence on what was written;
        `found` is `scan.scan`, which begins when it is read. None where `infer` does it.
      positions: `(size, plan)` -> first row and column `[N, 2]` of the windows of `size` bins.
      settle: `(plan, contact_map, network)` -> the plan with what the task decides, such as the depth.
      apply: runs the network, with the arguments and the result of `models.heads.apply_head`.
      choose_window: `(contact_map, choices)` -> default window (H, W), where it depends on the choices; None:
        `default_window`.
      infer: `(uri, resolution, checkpoint, path, suffix, input_size, batch_size, progress, choices)` -> a
        sentence on what was written, for a task that does not scan one map for one file; None: as others.
      packaged: name of the network that comes with the package for it, see `checkpoints.single_file`.
      options: flags of this task that others may not have.
    """

    name: str
    text: str
    head: tuple[str, ...]
    default_window: tuple[int, int] | None
    default_stride: int
    prepare: Callable[..., Iterator]
    postprocess: Callable[[HeadOutput, TargetScaling], Array]
    merge: Callable[..., Iterator[Any]] | None
    outputs: tuple[str, ...]
    write: Callable[..., str] | None
    positions: Callable[[int, "ScanPlan"], np.ndarray]
    settle: Callable[["ScanPlan", ContactMap, Network], "ScanPlan"] = lambda plan, contact_map, network: plan
    apply: Callable[..., Any] = apply_head
    choose_window: Callable[[ContactMap, Mapping[str, Any]], tuple[int, int] | None] | None = None
    infer: Callable[..., str] | None = None
    default_bound: int = 0
    packaged: str = ""
    options: tuple[Option, ...] = ()


@dataclasses.dataclass(frozen=True)
class ScanPlan:
    """Choices for one map and one network.

    Attributes:
      window: (H, W) in bins.
      chromosomes: to scan, as the map calls them.
      merge: a key of `stitching.MERGES`.
      stride: bins from one window to the next.
      bound: of merge "original" and tasks without a merge, see `original_positions`.
      max_bins: farthest pixel from the diagonal to predict, in bins; None: all.
      total_count: contacts of the input, as the network gets them.
      cutoff: largest count of an image.
      input: the map's name or URI.
      options: the task's own options, as far as given.
      target_contacts: of the whole deep map, cis and trans; None: not scaled.
      depth_ratio: contacts of the deep map over those of the input, for a network that takes it.
      dtype: of the network's products, one of `DTYPES`.
      anyway: the user wants a result also outside the range that the network was trained for.
      warnings: sentences for the user.
      places: first row and column `[N, 2]` of the windows of each chromosome, and pair of different ones,
        where `settle` chooses them; None: `InferenceTask.positions`.
    """

    task: InferenceTask
    window: tuple[int, int]
    chromosomes: tuple[str, ...]
    merge: str
    stride: int
    bound: int
    max_bins: int | None
    total_count: float
    cutoff: float
    input: str = ""
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    target_contacts: float | None = None
    depth_ratio: float | None = None
    dtype: str = DTYPES[0]
    anyway: bool = False
    warnings: tuple[str, ...] = ()
    places: Mapping[str | Pair, np.ndarray] | None = None

    @property
    def pairs(self) -> list[Pair]:
        """The pairs of different chromosomes to scan, in the order of the map."""
        return [region for region in self.places or () if not isinstance(region, str)]


def make_plan(
    task: InferenceTask,
    contact_map: ContactMap,
    network: Network,
    *,
    chromosomes: Sequence[str] | None = None,
    merge: str = "average",
    stride: int | None = None,
    bound: int | None = None,
    max_distance: int | None = None,
    dtype: str | None = None,
    anyway: bool | None = None,
    **options: Any,
) -> ScanPlan:
    """Checks the choices and fills in those left open; arguments as of `tasks.resolution.enhance`.

    With `anyway`, a map outside the range that the network was trained for gives a warning only.

    Raises:
      InputError: a map outside that range, a value out of range, an option that the task does not have, or
        a map without contacts.
    """
    known = [option.name for option in task.options]
    options = {name: value for name, value in options.items() if value is not None}
    if unknown := [name for name in options if name not in known]:
        raise InputError(f"Task {task.name} has no option {unknown[0]}: leave it out.")
    dtype = DTYPES[0] if dtype is None else dtype
    if dtype not in DTYPES:
        raise InputError(f"dtype is {dtype!r} but must be {' or '.join(DTYPES)}.")
    if merge not in MERGES:
        raise InputError(f"There is no merge {merge!r}: take one of {', '.join(MERGES)}.")
    # Where windows are not merged to a whole map, their number is as published.
    published, window = merge == "original" or not task.merge, network.window
    if bound is not None and not published:
        raise InputError(f"bound={bound} needs merge=original: leave it out, or give max_distance in bp.")
    if stride is None:
        stride = min(task.default_stride, *window) if published else min(window) // 2
    if task.merge and not 1 <= stride <= min(window):
        raise InputError(
            f"stride is {stride} but must lie between 1 and the window's shorter side, {min(window)} bins."
        )
    if stride < 1:
        raise InputError(f"stride is {stride} but must be at least 1 bin.")
    if (bound or 0) < 0:
        raise InputError(f"bound is {bound} but counts bins: give 0 or more.")
    max_bins = None if max_distance is None else int(max_distance // contact_map.resolution)
    if max_bins is not None and max_bins < 1:
        raise InputError(
            f"max_distance is {max_distance} bp but must be at least one bin, {contact_map.resolution} bp."
        )
    if not contact_map.total_count:
        raise InputError(f"{contact_map.name} has no contacts: give a map of raw counts.")
    chosen = set(contact_map.find_chromosomes(chromosomes or contact_map.chromsizes))
    plan = ScanPlan(
        task=task,
        window=window,
        chromosomes=tuple(chrom for chrom in contact_map.chromsizes if chrom in chosen),
        merge=merge,
        stride=stride,
        bound=task.default_bound if published and bound is None else bound or 0,
        max_bins=max_bins,
        total_count=contact_map.total_count,
        cutoff=network.cutoff,
        input=contact_map.name,
        options=options,
        dtype=dtype,
        anyway=bool(anyway),
        warnings=tuple(_range_warnings(contact_map, network, anyway or "pretrain" in task.head)),
    )
    return task.settle(plan, contact_map, network)


def refuse_unless(anyway: bool | None, sentence: str, remedy: str) -> str:
    """The sentence as a warning if the user wants to go on anyway; otherwise raises InputError."""
    if not anyway:
        raise InputError(f"{sentence}: {remedy}, or go on with --anyway.")
    return f"{sentence}."


def _range_warnings(contact_map: ContactMap, network: Network, anyway: bool | None) -> Iterator[str]:
    """Warnings about a map of another bin width or genome than those that the network was trained on."""
    widths = sorted({facts["resolution"] for facts in network.maps.values()})
    if len(widths) > 1:  # made for any bin width and species
        if not widths[0] <= contact_map.resolution <= widths[-1]:
            yield (
                f"{network.checkpoint} was trained on maps at {widths[0]:,} to {widths[-1]:,} bp, and "
                f"{contact_map.name} has bins of {contact_map.resolution:,} bp: check the result."
            )
        return
    if widths and contact_map.resolution not in widths:
        yield refuse_unless(
            anyway,
            f"{network.checkpoint} was trained on maps at {widths[0]:,} bp, but {contact_map.name} has bins "
            f"of {contact_map.resolution:,} bp",
            f"choose resolution={widths[0]}",
        )
    longest = longest_chromosomes(contact_map.chromsizes)
    trained = [facts["longest"] for facts in network.maps.values()]
    if trained and not any(same_species(longest, each) for each in trained):
        yield (
            f"{contact_map.name} has other chromosome lengths than the maps that {network.checkpoint} was "
            "trained on: measure first how well it does on a map of this species whose deep version is known."
        )


def map_positions(size: int, plan: ScanPlan) -> np.ndarray:
    """Windows of a chromosome whose predictions are merged to a map, `[N, 2]`."""
    if plan.merge == "original":
        return original_positions(size, plan.window, plan.stride, plan.bound)
    return covering_positions(size, plan.window, plan.stride, plan.max_bins)


def covering_positions(
    size: int, window: tuple[int, int], stride: int, max_bins: int | None = None
) -> np.ndarray:
    """Windows that cover every pixel of the upper triangle, `[N, 2]` (first row, first column).

    The lower triangle is the mirror image, so each row of windows begins at the diagonal. Along each axis
    they begin at 0, stride, ..., and the last ends with the chromosome; a chromosome shorter than a window
    has one, which overhangs its end.

    Args:
      size, window, stride: in bins; the stride is at most the window's shorter side.
      max_bins: pixels farther from the diagonal are not needed; None: all are.

    Returns:
      Sorted by `in_order`.
    """

    rows, cols = (covering_starts(size, side, stride) for side in window)
    reach = size if max_bins is None else max_bins
    # Where the sides differ, no window of this row may begin right at the diagonal: take the one before.
    first = np.searchsorted(cols, rows, side="right") - 1
    last = np.searchsorted(cols, rows + window[0] - 1 + reach, side="right")
    found = [
        np.stack(np.broadcast_arrays(row, cols[begin:end]), axis=1)
        for row, begin, end in zip(rows, first, last, strict=True)
    ]
    return in_order(np.concatenate(found))


def covering_starts(size: int, side: int, stride: int) -> np.ndarray:
    """First bins of the windows along one axis, see `covering_positions`."""
    last = max(size - side, 0)
    return np.append(np.arange(0, last, stride), last)


def within_region(plan: ScanPlan, text: str, contact_map: ContactMap) -> ScanPlan:
    """The plan with only the windows that cover a region, `CHROM:START-END`, of a chromosome.

    Raises:
      InputError: no such region, see `parse_region`, or chromosomes were chosen as well.
    """
    if len(plan.chromosomes) < len(contact_map.chromsizes):
        raise InputError("region cannot be combined with chromosomes: leave one of them out.")
    region = parse_region(text, contact_map)
    first, end = region.bins(contact_map.resolution)
    places = covering_positions(end - first, plan.window, plan.stride, plan.max_bins) + first
    # Real bins in place of those beyond the chromosome's end.
    last = np.maximum(contact_map.n_bins(region.chrom) - np.array(plan.window), 0)
    places = in_order(np.minimum(places, last))
    return dataclasses.replace(plan, chromosomes=(region.chrom,), places={region.chrom: places})


def original_positions(size: int, window: tuple[int, int], stride: int, bound: int) -> np.ndarray:
    """Windows of the original's inference, `[N, 2]`, with its duplicates, which count in the mean.

    Along each axis: 0, stride, ... below n - w, then n - w, then n - w - stride. A pair is kept if its
    starts differ by at most `bound`, then set to 0 where negative; the row's start at once, so that
    later columns of its row are compared with 0. Both triangles are scanned. All sizes are in bins; a
    chromosome shorter than the window counts as long as it.

    Returns:
      Sorted by `in_order`, unlike the original, whose means do not depend on the order.
    """

    def starts(side):
        last = max(size, side) - side
        return [*range(0, last, stride), last, last - stride]

    found, cols = [], starts(window[1])
    for row in starts(window[0]):
        for col in cols:
            if abs(row - col) <= bound:
                row = max(row, 0)
                found.append((row, max(col, 0)))
    return in_order(np.array(found, np.int64).reshape(-1, 2))


def in_order(positions: np.ndarray) -> np.ndarray:
    """Sorts by the first row of the upper triangle that a window or its mirror image touches.

    Rows above the first row of the next window are then final.
    """
    rows, cols = positions.T
    return positions[np.lexsort((cols, rows, positions.min(axis=1, initial=1 << 62)))]
