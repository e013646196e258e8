"""Task embedding: features of patches, windows, chromosomes and the genome."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_array

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.regions import parse_region, read_bed
from hicfm_jax.contacts.contact_map import counted
from hicfm_jax.errors import InputError
from hicfm_jax.infer import embedding_windows
from hicfm_jax.infer.embedding_table import (
    CHROMOSOME,
    Embeddings,
    check_anndata,
    check_picture,
    made_from,
    span_table,
    square_table,
    write_embeddings,
    write_picture,
)
from hicfm_jax.infer.features import HEAD, check_depth, features_at
from hicfm_jax.infer.network import Network, as_network
from hicfm_jax.infer.scan import ScanWindow, WindowValues, cut_windows, scan
from hicfm_jax.infer.scan_plan import InferenceTask, Option, ScanPlan, make_plan
from hicfm_jax.infer.tasks.target_depth import without_short
from hicfm_jax.progress import NullProgress
from hicfm_jax.storage import check_space
from hicfm_jax.types import PATCH


def embed_map(
    contact_map: ContactMap,
    params: Network | str | os.PathLike,
    *,
    batch_size: int = 8,
    progress: NullProgress | None = None,
    **choices: Any,
) -> Embeddings:
    """Embeddings of the windows of whole chromosomes, of a region or of loci.

        found = embed_map(open_contacts("leaf.mcool", 10_000), "runs/pretrain", chromosomes=["Chr4"])
        pandas.DataFrame(found.tables["windows"]), found.values["windows"]

    Args:
      contact_map: raw counts.
      params: a checkpoint, or a network of `load_network`.
      batch_size: windows at once, over all devices.
      progress: shows the windows done, and warnings.
      **choices: `chromosomes`, `merge`, `stride`, `bound` as of `make_plan`, and the task's options: `depth`,
        `patches`, `region`, `loci`.

    Raises:
      InputError: a map without contacts, or a choice or checkpoint that does not fit.
    """
    network = as_network(params, None, TASK.head, progress, choose_window(contact_map, choices))
    plan = make_plan(TASK, contact_map, network, **choices)
    found = scan(contact_map, network, plan, batch_size, progress)
    return collect(found, contact_map, network, plan)


def choose_window(contact_map: ContactMap, choices: Mapping[str, Any]) -> tuple[int, int] | None:
    """Window of a pretraining checkpoint: strips for loci, else the one it was trained on."""
    if not choices.get("loci"):
        return None
    return embedding_windows.strip_window(max(map(contact_map.n_bins, contact_map.chromsizes)))


def settle(plan: ScanPlan, contact_map: ContactMap, network: Network) -> ScanPlan:
    """The plan with its windows, and with the layer that is the embedding.

    With merge "original", chromosomes of fewer bins than half a window's rows are left out, also in the
    depth, which is that of the others' cis contacts.

    Raises:
      InputError: options that exclude each other or do not fit the map or the network.
    """
    options = plan.options
    depth = options.get("depth", 0)
    check_depth(depth, network.model.decoder_depth)
    chosen = [name for name in ("region", "loci") if options.get(name)]
    if len(chosen) == 2:
        raise InputError("region and loci cannot be combined: give one of them.")
    if chosen and plan.merge == "original":
        raise InputError(f"{chosen[0]} needs merge=average: leave merge out.")
    if options.get("loci") and options.get("patches"):
        raise InputError("loci cannot be combined with patches: a locus has one embedding.")
    if "picture" in options:
        check_picture(options["picture"], options.get("color_by", CHROMOSOME), contact_map)
    elif "color_by" in options:
        raise InputError("color_by needs a picture: give picture=FILE.png, or leave color_by out.")
    task = dataclasses.replace(plan.task, apply=features_at(depth))
    bound = plan.bound if plan.max_bins is None else plan.max_bins
    plan = dataclasses.replace(plan, task=task, bound=bound)
    if options.get("loci"):
        return _settle_loci(plan, contact_map)
    if plan.merge == "original":
        return _settle_original(plan, contact_map)
    parts: dict[str, tuple[int, int] | None] = dict.fromkeys(plan.chromosomes)
    if options.get("region"):
        region = parse_region(options["region"], contact_map)
        parts = {region.chrom: region.bins(contact_map.resolution)}
    places = {
        chrom: embedding_windows.near_diagonal(
            contact_map.n_bins(chrom), plan.window, plan.stride, plan.bound, part
        )
        for chrom, part in parts.items()
    }
    return dataclasses.replace(plan, chromosomes=tuple(places), places=places)


def _settle_loci(plan: ScanPlan, contact_map: ContactMap) -> ScanPlan:
    loci = read_bed(plan.options["loci"], contact_map)
    groups = embedding_windows.around_loci(loci, contact_map.resolution, plan.window)
    places: dict[str, list[np.ndarray]] = {}
    for locus, group in zip(loci, groups, strict=True):
        places.setdefault(locus.chrom, []).append(group)
    joined = {chrom: np.concatenate(found) for chrom, found in places.items()}
    return dataclasses.replace(plan, chromosomes=tuple(joined), places=joined)


def _settle_original(plan: ScanPlan, contact_map: ContactMap) -> ScanPlan:
    plan = without_short(plan, contact_map)
    total = sum(float(contact_map.matrix(chrom).data.sum(dtype=np.float64)) for chrom in plan.chromosomes)
    places = {
        chrom: embedding_windows.original_centers(
            contact_map.n_bins(chrom), plan.window, plan.stride, plan.bound
        )
        for chrom in plan.chromosomes
    }
    task = dataclasses.replace(plan.task, prepare=cut_from_top_left)
    return dataclasses.replace(plan, task=task, total_count=total or plan.total_count, places=places)


def cut_from_top_left(matrix: csr_array, positions: np.ndarray, network: Network) -> Iterator[ScanWindow]:
    """Windows of the original: those cut by the map's start lie top-left, with zeros behind them."""
    for window in cut_windows(matrix, positions, network):
        shift = min(window.row, 0), min(window.col, 0)
        yield window._replace(counts=np.roll(window.counts, shift, axis=(0, 1)))


def collect(
    found: Iterable[tuple[str, WindowValues]],
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    folder: str | os.PathLike | None = None,
) -> Embeddings:
    """Averages the patches of windows to windows, loci, chromosomes and a genome.

    A window's embedding is the mean of its patches that begin inside the chromosome; with merge "original"
    of all its patches. Windows without contacts are left out. A patch's embedding is the mean over all
    windows that have a patch exactly there; it is kept in a nameless file in `folder`.
    """
    means: dict[str, list[np.ndarray]] = {}
    places: dict[str, list[tuple[int, int]]] = {}
    patches = _Patches(folder) if plan.options.get("patches") else None
    for chrom, (row, col, values) in found:
        if not values.any():
            continue
        inside = _inside(row, col, values, contact_map.n_bins(chrom), plan)
        means.setdefault(chrom, []).append(_mean(values if plan.merge == "original" else inside))
        places.setdefault(chrom, []).append((row, col))
        if patches:
            patches.add(chrom, max(row, 0), max(col, 0), inside)
    if not means:
        raise InputError(f"{contact_map.name} has no contacts in these windows: choose others.")
    about = made_from(contact_map, network, plan, depth=plan.options.get("depth", 0))
    if plan.options.get("loci"):
        values, tables = _by_locus(means, places, contact_map, plan)
        return Embeddings(values, tables, about)
    sizes, resolution = contact_map.chromsizes, contact_map.resolution
    values, tables = {}, {}
    if patches:
        values["patches"], at = patches.finish()
        tables["patches"] = square_table(at, (PATCH, PATCH), sizes, resolution)
    values["windows"] = np.concatenate([np.stack(rows) for rows in means.values()])
    starts = {chrom: np.array(at) for chrom, at in places.items()}
    tables["windows"] = square_table(starts, plan.window, sizes, resolution)
    values["chromosomes"] = np.stack([_mean(rows) for rows in means.values()])
    tables["chromosomes"] = span_table([(chrom, 0, sizes[chrom]) for chrom in means])
    values["genome"] = _mean(values["chromosomes"])
    return Embeddings(values, tables, about)


def _mean(rows: Sequence[np.ndarray] | np.ndarray) -> np.ndarray:
    rows = np.asarray(rows)
    return rows.reshape(-1, rows.shape[-1]).mean(axis=0, dtype=np.float64).astype(np.float32)


def _inside(row: int, col: int, values: np.ndarray, size: int, plan: ScanPlan) -> np.ndarray:
    """The patches `[h, w, C]` of a window that lie in the chromosome at least in part.

    Windows of merge "original" that the chromosome's start cuts are moved, and end where they did before.
    """
    slices = []
    for start, count, side in zip((row, col), values.shape, plan.window, strict=False):
        if plan.merge == "original":
            end = min(max(size, side), start + side) - max(start, 0)
            slices.append(slice(0, -(-end // PATCH)))
        else:
            slices.append(slice(max(-start // PATCH, 0), min(count, -(-(size - start) // PATCH))))
    return values[tuple(slices)]


def _by_locus(means, places, contact_map: ContactMap, plan: ScanPlan):
    """The mean embedding of the windows of each locus, in the order of the file."""
    vectors = {
        (chrom, *place): vector
        for chrom, at in places.items()
        for place, vector in zip(at, means[chrom], strict=True)
    }
    rows, kept = [], []
    loci = read_bed(plan.options["loci"], contact_map)
    groups = embedding_windows.around_loci(loci, contact_map.resolution, plan.window)
    for locus, group in zip(loci, groups, strict=True):
        found = [vectors[key] for place in group.tolist() if (key := (locus.chrom, *place)) in vectors]
        if found:
            rows.append(_mean(found))
            kept.append(locus)
    return {"loci": np.stack(rows)}, {"loci": span_table(kept, named=True)}


class _Patches:
    """Means of patches over windows that come in order of rows; finished ones go to a nameless file."""

    def __init__(self, folder: str | os.PathLike | None):
        self._file = tempfile.TemporaryFile(dir=folder)
        self._open: dict[tuple[int, int], list] = {}  # sum and number of windows
        self._chrom: str | None = None
        self._places: dict[str, list[tuple[int, int]]] = {}
        self._width = 0

    def add(self, chrom: str, row: int, col: int, values: np.ndarray) -> None:
        """Adds the patches `[h, w, C]` of a window that begins at a bin of the chromosome."""
        if chrom != self._chrom:
            self._close(None)
            self._chrom = chrom
        self._close(row)
        self._width = values.shape[-1]
        for i, line in enumerate(values.astype(np.float64)):
            for j, vector in enumerate(line):
                place = row + PATCH * i, col + PATCH * j
                if place in self._open:
                    self._open[place][0] += vector
                    self._open[place][1] += 1
                else:
                    self._open[place] = [vector.copy(), 1]

    def _close(self, before: int | None) -> None:
        """Writes the patches that begin above a row, which no later window has; None: all."""
        done = sorted(place for place in self._open if before is None or place[0] < before)
        for place in done:
            total, number = self._open.pop(place)
            self._file.write((total / number).astype(np.float32).tobytes())
        self._places.setdefault(self._chrom, []).extend(done)

    def finish(self) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """All patches `[N, C]`, read from the file when needed, and their first bins by chromosome."""
        self._close(None)
        self._file.flush()
        places = {chrom: np.array(at) for chrom, at in self._places.items() if at}
        shape = sum(map(len, places.values())), self._width
        return np.memmap(self._file, np.float32, "r", shape=shape), places


def write(
    path: pathlib.Path,
    suffix: str,
    found: Iterable[tuple[str, WindowValues]],
    contact_map: ContactMap,
    network: Network,
    plan: ScanPlan,
    progress: NullProgress,
) -> str:
    """Writes the embeddings as `.npz` or `.h5ad`, see `embedding_table.write_embeddings`.

    Raises:
      InputError: `.h5ad` without anndata, or windows without contacts.
      OSError: the disk is full or not writable.
    """
    if suffix == ".h5ad":
        check_anndata(path)
    windows = sum(map(len, plan.places.values()))
    grid = plan.window[0] * plan.window[1] // PATCH**2
    check_space(path, 4 * network.model.dim * windows * (grid if plan.options.get("patches") else 1))
    embeddings = collect(found, contact_map, network, plan, path.parent)
    write_embeddings(embeddings, path)
    picture = plan.options.get("picture")
    if picture:
        write_picture(embeddings, picture, plan.options.get("color_by", CHROMOSOME), contact_map)
    counts = [
        f"{len(embeddings.values[level]):,} {level}" for level in embeddings.tables if level != "chromosomes"
    ]
    files = f"{path} and {picture}" if picture else path
    width = embeddings.values[embeddings.finest()].shape[1]
    chromosomes = counted(len(plan.chromosomes), "chromosome")
    return f"Wrote {files}: embeddings of {' and '.join(counts)} of {chromosomes}, {width} numbers each."


TASK = InferenceTask(
    name="embedding",
    text="features of patches, windows, chromosomes and the genome",
    head=HEAD,
    default_window=None,
    default_stride=80,
    default_bound=200,
    prepare=cut_windows,
    postprocess=lambda features, scaling: features,
    merge=None,
    outputs=(".npz", ".h5ad"),
    write=write,
    positions=lambda size, plan: embedding_windows.near_diagonal(size, plan.window, plan.stride, plan.bound),
    settle=settle,
    choose_window=choose_window,
    options=(
        Option("depth", int, "Layer: 0 is the encoder, k block k of the decoder; 0 if not given."),
        Option("patches", bool, "Also write the embedding of every patch of 16 x 16 bins."),
        Option("region", str, "CHROM:START-END to cover with windows, instead of whole chromosomes."),
        Option("picture", str, "PNG file to write: windows or loci in two dimensions."),
        Option("color_by", str, "Colors of the picture: chromosome, coverage, or a track, FILE[:COLUMN]."),
        Option("loci", str, "BED file: one embedding per locus, from a strip of 16 rows along the diagonal."),
    ),
)
