"""Task reproducibility: embeddings of windows that compare replicates."""

import dataclasses
import os
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import jax.numpy as jnp
import numpy as np
import scipy.sparse
from scipy.sparse import csr_array

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import counted
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.scores.scc import smooth_band
from hicfm_jax.infer.embedding_table import Embeddings, made_from, square_table, write_embeddings
from hicfm_jax.infer.network import Network, as_network
from hicfm_jax.infer.scan import ScanWindow, WindowValues, cut_windows, scan
from hicfm_jax.infer.scan_plan import InferenceTask, ScanPlan, make_plan, original_positions
from hicfm_jax.infer.tasks.target_depth import without_short
from hicfm_jax.models.heads import apply_head
from hicfm_jax.progress import NullProgress
from hicfm_jax.types import Array

LARGEST_COUNT = 1000
LAST_DIAGONAL = 199  # of the input; the main diagonal is left out too
HALF_WIDTH = 11  # of the mean filter, 23 x 23 bins
FEWEST_BINS = 225  # shorter chromosomes are left out by the original


def smooth(matrix: csr_array) -> csr_array:
    """The original's smoothing of a cis map, upper triangle `[n, n]` -> the same, float64.

    Counts are clipped at 1000, diagonals 1 to 199 kept, and a mean filter of 23 x 23 bins divides by the
    bins inside the map; the result reaches from diagonal 0 to 221. Memory is a few bands of 265 diagonals.
    """
    counts = matrix.tocoo()
    distance = counts.col - counts.row
    near = (distance >= 1) & (distance <= LAST_DIAGONAL)
    clipped = np.minimum(counts.data[near], LARGEST_COUNT).astype(np.float64)
    kept = scipy.sparse.coo_array((clipped, (counts.row[near], counts.col[near])), matrix.shape)
    band = smooth_band(kept.tocsr(), LAST_DIAGONAL + 2 * HALF_WIDTH, HALF_WIDTH)
    diagonal, row = np.nonzero(band > 0)
    return scipy.sparse.coo_array((band[diagonal, row], (row, row + diagonal)), matrix.shape).tocsr()


def reproducibility(
    contact_map: ContactMap,
    params: Network | str | os.PathLike,
    *,
    batch_size: int = 8,
    progress: NullProgress | None = None,
    **choices: Any,
) -> Embeddings:
    """Embeddings of windows along the diagonal, which `replicate_scores.compare_replicates` compares.

    Args:
      contact_map: raw counts.
      params: a checkpoint, or a network of `load_network`.
      batch_size: windows at once, over all devices.
      progress: shows the windows done, and warnings.
      **choices: `chromosomes`, `merge`, `stride`, `bound` as of `make_plan`.

    Raises:
      InputError: a map without contacts, or a choice or checkpoint that does not fit.
    """
    network = as_network(params, None, TASK.head, progress, TASK.default_window)
    plan = make_plan(TASK, contact_map, network, **choices)
    return collect(scan(contact_map, network, plan, batch_size, progress), contact_map, network, plan)


def settle(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with its windows, and with the depth of the smoothed map for published weights.

    Merge "original" leaves out chromosomes of at most 224 bins with a warning, also in the depth, and has
    the original's duplicate windows.

    Raises:
      InputError: merge "original" leaves no chromosome.
    """
    plan = without_short(plan, contact_map, max(FEWEST_BINS, plan.window[0] // 2))
    places = {
        chrom: original_positions(contact_map.n_bins(chrom), plan.window, plan.stride, plan.bound)
        for chrom in plan.chromosomes
    }
    if plan.merge != "original":
        places = {chrom: np.unique(at, axis=0) for chrom, at in places.items()}
    total = plan.total_count
    if network.published:
        sums = (smooth(contact_map.matrix(chrom)).data.sum(dtype=np.float64) for chrom in plan.chromosomes)
        total = float(sum(sums)) or total
    return dataclasses.replace(plan, places=places, total_count=total)


def prepare(matrix: csr_array, positions: np.ndarray, network: Network) -> Iterator[ScanWindow]:
    """Windows of a chromosome; of its smoothed map for published weights, which were trained on such."""
    return cut_windows(smooth(matrix) if network.published else matrix, positions, network)


def apply(model, params, counts, total_count, *, cutoff=0.0, context=None, depth_ratio=None) -> Array:
    """Embeddings `[B, C]`; 0 for windows without contacts."""
    vectors = apply_head(model, params, counts, total_count, cutoff=cutoff).embedding
    return jnp.where((counts > 0).any(axis=(1, 2))[:, None], vectors, 0.0)


def collect(
    found: Iterable[tuple[str, WindowValues]], contact_map: ContactMap, network: Network, plan: ScanPlan
) -> Embeddings:
    """The embeddings of the windows that have contacts, each window once."""
    windows: dict[str, dict[tuple[int, int], np.ndarray]] = {}
    for chrom, (row, col, vector) in found:
        if vector.any():
            windows.setdefault(chrom, {})[row, col] = vector
    if not windows:
        raise InputError(f"{contact_map.name} has no contacts near the diagonal: give another map.")
    places = {chrom: np.array(list(vectors)) for chrom, vectors in windows.items()}
    values = np.stack([vector for vectors in windows.values() for vector in vectors.values()])
    about = made_from(contact_map, network, plan, smoothed=network.published)
    table = square_table(places, plan.window, contact_map.chromsizes, contact_map.resolution)
    return Embeddings({"windows": values}, {"windows": table}, about)


def write(
    path: pathlib.Path,
    suffix: str,
    found: Iterable[tuple[str, WindowValues]],
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    progress: NullProgress,
) -> str:
    """Writes the embeddings as `.npz`, see `embedding_table.write_embeddings`.

    Raises:
      InputError: a map without contacts near the diagonal.
      OSError: the disk is full or not writable.
    """
    embeddings = collect(found, contact_map, network, plan)
    write_embeddings(embeddings, path)
    number, width = embeddings.values["windows"].shape
    chromosomes = counted(len(plan.chromosomes), "chromosome")
    return f"Wrote {path}: embeddings of {number:,} windows of {chromosomes}, {width} numbers each."


TASK = InferenceTask(
    name="reproducibility",
    text="embeddings of windows, to compare replicates",
    head=("reproducibility",),
    default_window=(224, 224),
    default_stride=20,
    prepare=prepare,
    postprocess=lambda vectors, scaling: vectors,
    merge=None,
    outputs=(".npz",),
    write=write,
    positions=lambda size, plan: original_positions(size, plan.window, plan.stride, plan.bound),
    settle=settle,
    apply=apply,
)
