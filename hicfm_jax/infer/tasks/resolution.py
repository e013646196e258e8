"""A deep contact map from a shallow one."""

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import ENHANCEMENT
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.errors import InputError
from hicfm_jax.infer.enhanced_map import EnhancedChromosome, enhanced_map
from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.infer.scan import Predictor, Window
from hicfm_jax.infer.scan_plan import Plan, make_plan
from hicfm_jax.infer.stitching import RowFile, create_merge, merge_windows
from hicfm_jax.progress import NullProgress
from hicfm_jax.tiles.build.cutting import scan


def enhance(
    contact_map: ContactMap,
    params: Network | Mapping[str, Any] | str | os.PathLike,
    *,
    network: Network | None = None,
    chromosomes: Sequence[str] | None = None,
    target_contacts: float | None = None,
    merge: str = "average",
    stride: int | None = None,
    bound: int | None = None,
    max_distance: int | None = None,
    integer: bool = False,
    batch_size: int = 8,
    folder: str | os.PathLike | None = None,
    progress: NullProgress | None = None,
) -> ContactMap:
    """Predicts what a deeper experiment would have given, for whole chromosomes.

        deep = enhance(open_contacts("shallow.mcool", 10_000), "runs/enhance")
        write_contacts(deep, "deep.mcool", balance=True)

    Cis contacts only; chromosomes keep names and lengths. Windows overlap and are merged; the chromosomes
    are worked on one after another, and what is finished lies on disk.

    Args:
      contact_map: raw counts.
      params: a checkpoint (path), what `load_network` made of it, or parameters that take the place of
        those of `network`.
      network: which network the parameters are for.
      chromosomes: to enhance; all if not given.
      target_contacts: of the whole deep map, cis and trans; those of the map that the checkpoint was
        trained on if not given. Networks without `model.residual` give a depth of their own; their map is
        scaled if contacts are given, and left as it is if not.
      merge: "average" or "original", see `merge.create_merge`.
      stride: bins from window to window; half a window if not given, 20 for merge original.
      bound: of merge original, how many bins a window's rows and columns may begin apart; 0 if not given,
        as published: windows on the diagonal alone.
      max_distance: farthest pixel from the diagonal in bp; all if not given.
      integer: round to whole contacts, halves up. Pixels below half a contact are then empty, so that a
        sparse map loses contacts.
      batch_size: windows at once, over all devices.
      folder: where temporary files lie, 8 bytes a pixel; None: where `tempfile` puts them (TMPDIR).
      progress: told how far it is, and of what is odd; None: the latter on stderr.

    Returns:
      The deep map. Real counts are rounded to 1/1024 of a contact, and those below half of that are
      left out. It reads its chromosomes from the temporary files, which go with it.

    Raises:
      InputError: an empty map, an unknown chromosome, values out of range, a checkpoint that does not
        fit, predictions that are not finite.
      OSError: the disk of the temporary files is full.
    """
    network = _network(params, network)
    plan = make_plan(
        contact_map,
        network,
        chromosomes=chromosomes,
        target_contacts=target_contacts,
        merge=merge,
        stride=stride,
        bound=bound,
        max_distance=max_distance,
    )
    return run_plan(contact_map, network, plan, integer, batch_size, folder, progress)


def run_plan(
    contact_map: ContactMap,
    network: Network,
    plan: Plan,
    integer: bool = False,
    batch_size: int = 8,
    folder: str | os.PathLike | None = None,
    progress: NullProgress | None = None,
) -> ContactMap:
    """Enhances as planned; arguments and errors as of `enhance`."""
    if batch_size < 1:
        raise InputError(f"batch_size is {batch_size} but must be 1 or more.")
    progress = progress or NullProgress()
    for warning in plan.warnings:
        progress.say(f"WARNING: {warning}")
    predict = Predictor(network, plan.total_count, plan.cutoff, plan.enlarge, batch_size)
    merge = create_merge(plan.merge, plan.window)
    positions = {chrom: plan.positions(contact_map.n_bins(chrom)) for chrom in plan.chromosomes}
    finished, file, told = {}, RowFile(folder), False
    progress.start(sum(map(len, positions.values())))
    try:
        for chrom in plan.chromosomes:
            matrix, size = contact_map.matrix(chrom), contact_map.n_bins(chrom)
            finished[chrom] = EnhancedChromosome(matrix, file, plan.max_bins, merge.least)
            if not matrix.nnz:
                progress.advance(len(positions[chrom]), chrom)
                continue
            if matrix.dtype.kind == "f" and not told:
                told = True
                progress.say(
                    f"WARNING: {contact_map.name}, chromosome {chrom}, has counts that are not whole, but "
                    "networks are trained on raw counts: give those if you can."
                )
            windows = _windows(matrix, positions[chrom], network)
            predictions = _told(predict(windows), progress, chrom)
            for rows in merge_windows(predictions, positions[chrom], plan.window, size, merge):
                finished[chrom].append(rows)
    finally:
        progress.close()
    scale = None if network.takes_depth else plan.target_contacts
    exact = plan.merge == "original"
    metadata = {**contact_map.metadata, ENHANCEMENT: _describe(contact_map, network, plan)}
    return enhanced_map(contact_map, finished, scale, integer, exact, metadata)


def _describe(shallow: ContactMap, network: Network, plan: Plan) -> dict[str, Any]:
    """How a map came about, for JSON; what is not known is None."""
    seen = network.seen or {}
    return {
        "checkpoint": network.checkpoint,
        "step": network.step,
        "task": network.model.task,
        "trained_on": seen.get("train"),
        "validated_on": seen.get("val"),
        "unknown": list(network.unknown),
        "input": shallow.name,
        "input_contacts": shallow.total_count,
        "target_contacts": plan.target_contacts,
        "merge": plan.merge,
        "window": list(plan.window),
        "stride": plan.stride,
        "bound": plan.bound if plan.merge == "original" else None,
        "max_distance": None if plan.max_bins is None else plan.max_bins * shallow.resolution,
    }


def _windows(matrix, positions: np.ndarray, network: Network) -> Iterator[Window]:
    expected = find_expected(matrix) if network.takes_depth else None
    for window in scan(matrix, positions, network.window, symmetric=True):
        counts = window.counts().astype(np.float32)
        if network.published and window.row == window.col:
            np.fill_diagonal(counts, 0)
        context = expected.window(window.row, window.col, network.window) if expected else {}
        yield Window(counts, context)


def _told(predictions: Iterator[np.ndarray], progress: NullProgress, chrom: str) -> Iterator[np.ndarray]:
    for values in predictions:
        progress.advance(1, chrom)
        yield values


def _network(params: Any, network: Network | None) -> Network:
    if isinstance(params, Network):
        return params
    if isinstance(params, (str, os.PathLike)):
        return load_network(params)
    if network is None:
        raise InputError(
            "Parameters alone do not say which network they are for: give network=load_network(CHECKPOINT), "
            "or the checkpoint itself in their place."
        )
    return dataclasses.replace(network, params=params)
