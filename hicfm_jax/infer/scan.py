"""Windows of a map through the network, in batches over all devices."""

import contextlib
import dataclasses
import functools
import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import Pair
from hicfm_jax.contacts.expected import TransExpected, TransSums, find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.scan_plan import DTYPES, ScanPlan
from hicfm_jax.infer.stitching import merge_windows
from hicfm_jax.progress import NullProgress, doing
from hicfm_jax.storage import check_memory
from hicfm_jax.tiles.build import cutting

merge_pair = functools.partial(merge_windows, symmetric=False)

_BYTES_A_PIXEL = 100  # of a batch, at least: counts, image and activations


class ScanWindow(NamedTuple):
    """Input of the network.

    Attributes:
      row, col: its first bins.
      counts: raw contacts `[H, W]` float32.
      context: `contacts.expected.Expected.window`, for a network that takes the depth; else empty.
    """

    row: int
    col: int
    counts: np.ndarray
    context: Mapping[str, np.ndarray] = {}


class WindowValues(NamedTuple):
    """Result of one window, where a task does not merge: its first bins, and values `[...]`."""

    row: int
    col: int
    values: np.ndarray


def scan(
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    batch_size: int = 8,
    progress: NullProgress | None = None,
) -> Iterator[tuple[str | Pair, Any]]:
    """Applies a network to the chromosomes of a map, one after another, and to the plan's pairs of them.

    A batch may have windows of several chromosomes. The map holds the matrix of the one that is yielded.

    Args:
      plan: from `scan_plan.make_plan` for this map of raw counts and this network.
      batch_size: windows at once, over all devices.
      progress: shows the windows done, and warnings.

    Yields:
      (chromosome, part of the merged result), `stitching.Rows` in order where that is a map; or
      (chromosome, `WindowValues`) for a task that does not merge. In place of the chromosome, a pair of
      different ones. Nothing for a chromosome or pair without contacts.

    Raises:
      InputError: no chromosome has contacts, the network gives values that are not finite, or a batch needs
        more memory than there is.
    """
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size} but must be 1 or more.")
    task, progress = plan.task, progress or NullProgress()
    for warning in plan.warnings:
        progress.say(f"WARNING: {warning}")
    positions = plan.places
    if positions is None:
        positions = {chrom: task.positions(contact_map.n_bins(chrom), plan) for chrom in plan.chromosomes}
    windows = sum(map(len, positions.values()))
    # No larger than the map needs, but of one size for small maps, which then share a compiled program.
    batch_size = min(batch_size, max(windows, 8))
    check_memory(_BYTES_A_PIXEL * batch_size * math.prod(plan.window), "choose a smaller batch_size")
    predict = _predictor(network, plan, batch_size, progress)
    scanned, warned, trans = {}, False, {}
    if plan.pairs:
        with doing("Summing up the contacts between chromosomes"):
            trans = TransSums(contact_map).expected(plan.pairs)

    def cut():
        nonlocal warned
        for region, places in positions.items():
            matrix = contact_map.matrix(*_pair(region))
            if not matrix.nnz:
                progress.advance(len(places), _title(region))
                continue
            if matrix.dtype.kind == "f" and not warned:
                progress.say(
                    f"WARNING: {contact_map.name}, chromosome {_title(region)}, has counts that are not "
                    "whole, but networks are trained on raw counts: give those if you can."
                )
                warned = True
            scanned[region] = matrix
            if region in trans:
                windows = cut_windows(matrix, places, network, trans[region])
            else:
                windows = task.prepare(matrix, places, network)
            for window in windows:
                yield region, window

    progress.start(windows)
    try:
        for region, found in itertools.groupby(predict(cut()), lambda found: found[0]):
            values, places, pair = (value for _, value in found), positions[region], _pair(region)
            if task.merge:
                merge = merge_pair if region in trans else task.merge
                parts = merge(values, places, contact_map.n_bins(pair[0]), plan.window, plan.merge)
            else:
                parts = map(WindowValues, *places.T.tolist(), values)
            for part in parts:
                contact_map.hold(pair, scanned[region])  # windows of later ones may have been cut since
                yield region, part
            scanned[region] = None
    finally:
        progress.close()
    if not scanned:
        raise InputError(
            f"{contact_map.name} has no contacts within {', '.join(plan.chromosomes[:5])}"
            f"{', ...' if len(plan.chromosomes) > 5 else ''}: choose other chromosomes, or give another map."
        )


def _pair(region: str | Pair) -> Pair:
    return (region, region) if isinstance(region, str) else region


def _title(region: str | Pair) -> str:
    return region if isinstance(region, str) else " x ".join(region)


def cut_windows(
    matrix: scipy.sparse.csr_array,
    positions: np.ndarray,
    network: Network,
    trans: TransExpected | None = None,
) -> Iterator[ScanWindow]:
    """Windows of a cis map as they are, both triangles, zeros beyond the chromosome.

    They have a context for a network that takes the depth. With `trans`, they are those of a pair of
    different chromosomes.
    """
    expected = trans or (find_expected(matrix) if network.takes_depth else None)
    for window in cutting.scan(matrix, positions, network.window, symmetric=trans is None):
        context = expected.window(window.row, window.col, network.window) if expected else {}
        yield ScanWindow(window.row, window.col, window.counts().astype(np.float32), context)


def on_devices(network: Network) -> Network:
    """The network with its parameters on every device of this machine, for several scans with it."""
    return dataclasses.replace(network, params=jax.device_put(network.params, _shardings()[1]))


def _shardings() -> tuple[NamedSharding, NamedSharding]:
    """Over all devices of this machine: the examples of a batch divided, and the same on each."""
    devices = jax.local_devices()
    mesh = jax.make_mesh((len(devices),), ("batch",), axis_types=(AxisType.Auto,), devices=devices)
    return NamedSharding(mesh, PartitionSpec("batch")), NamedSharding(mesh, PartitionSpec())


def _predictor(network: Network, plan: ScanPlan, batch_size: int, progress: NullProgress) -> Callable:
    """The function `(chromosome or pair, window)s` -> iterator of (chromosome or pair, values of a window).

    Parameters go to every device of this machine, the windows of a batch are divided among them. While they
    work on a batch, the next one is cut.
    """
    divided, everywhere = _shardings()
    batch_size = -(-batch_size // divided.num_devices) * divided.num_devices
    params = jax.device_put(network.params, everywhere)
    depth = {"total_count": np.float32(plan.total_count)}
    if plan.depth_ratio is not None:
        depth["depth_ratio"] = np.float32(plan.depth_ratio)
    task = plan.task
    model = network.model
    if plan.dtype != DTYPES[0]:
        model = model.clone(dtype=jnp.dtype(plan.dtype))
    program = _program(model, network.scaling, task.apply, task.postprocess, plan.cutoff, everywhere, divided)

    def stacked(parts):
        # Empty windows fill up the last batch.
        whole = np.zeros((batch_size, *parts[0].shape), np.float32)
        for i, part in enumerate(parts):
            whole[i] = part
        return jax.device_put(whole, divided)

    compiling = iter([doing("Compiling the network (about 30 s)")])

    def start(batch):
        regions, windows = zip(*batch, strict=True)
        context = {name: stacked([window.context[name] for window in windows]) for name in windows[0].context}
        return program(params, depth, stacked([window.counts for window in windows]), context), regions

    def fetch(values, regions):
        values = np.asarray(values)[: len(regions)]
        if not np.isfinite(values).all():
            raise InputError(
                "The network predicts values that are not finite: give a checkpoint that was trained to the "
                "end, and a map of raw counts."
            )
        progress.advance(len(regions), _title(regions[-1]))
        return zip(regions, values, strict=True)

    def predict(windows):
        ahead = None
        while batch := list(itertools.islice(windows, batch_size)):
            with next(compiling, contextlib.nullcontext()):
                started = start(batch)
            if ahead is not None:
                yield from fetch(*ahead)
            ahead = started
        if ahead is not None:
            yield from fetch(*ahead)

    return predict


@functools.lru_cache(maxsize=8)
def _program(model, scaling, apply, postprocess, cutoff, everywhere, divided):
    """The jitted `(params, depth, counts, context) -> values`, compiled once for all maps of a session."""

    def values(params, depth, counts, context):
        # Arguments and not constants, so that one program serves every depth.
        depth = {name: jnp.full(len(counts), value) for name, value in depth.items()}
        output = apply(model, params, counts, cutoff=cutoff, context=context or None, **depth)
        found = postprocess(output, scaling)
        if cutoff or model.residual != "none":
            return found
        # Without a cutoff an empty window has no scale and makes no image; the original skips it.
        empty = (counts <= 0).all(axis=(1, 2)).reshape(-1, *[1] * (found.ndim - 1))
        return jnp.where(empty, 0.0, found)

    return jax.jit(values, in_shardings=(everywhere, everywhere, divided, divided), out_shardings=divided)
