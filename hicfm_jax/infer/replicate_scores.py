"""Reproducibility of maps by the embeddings of a network, beside SCC and GenomeDISCO."""

import dataclasses
import functools
import itertools
import os
import time
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.contact_map import bare_name
from hicfm_jax.evaluate import replicates
from hicfm_jax.evaluate.opening import MapSource
from hicfm_jax.evaluate.replicates import Replicates
from hicfm_jax.evaluate.scores.whole_map import STEPS
from hicfm_jax.infer.embedding_table import Embeddings
from hicfm_jax.infer.network import Network, as_network
from hicfm_jax.infer.tasks.embedding import embed_map
from hicfm_jax.infer.tasks.reproducibility import TASK, reproducibility
from hicfm_jax.progress import NullProgress
from hicfm_jax.types import PATCH

PATCH_DEPTH = 1
"""The decoder's first block: its patches separate replicates best among the layers of the benchmark."""


def compare_replicates(
    maps: Mapping[str, MapSource],
    params: Network | str | os.PathLike | None = None,
    chromosomes: Sequence[str] | None = None,
    *,
    resolution: int | None = None,
    merge: str = "average",
    methods: Sequence[str] = tuple(replicates.PAIR_SCORES),
    steps: int = STEPS,
    batch_size: int = 8,
    progress: NullProgress | None = None,
) -> Replicates:
    """Scores every pair of maps by a network and by methods without one.

    The network's score is `compare_patches`; that of published weights, and with merge "original", is
    `compare_windows`.

    Args:
      maps: name -> map or URI, two or more.
      params: a checkpoint or a network of `load_network`; None: no network.
      chromosomes: to compare; all that the maps have in common if not given.
      resolution: bp; the only one of the first map if not given.
      merge: "original" gives the original's windows, chromosomes and score.
      methods: keys of `evaluate.replicates.PAIR_SCORES`.
      steps: of GenomeDISCO's random walk.
      batch_size, progress: see `scan.scan`.

    Raises:
      InputError: maps that do not fit together, or a checkpoint that does not fit.
    """
    progress = progress or NullProgress()
    opened, network = replicates.open_maps(maps, resolution), None
    if params is not None:  # first, as reading counts takes minutes
        network = as_network(params, None, TASK.head, progress, TASK.default_window)
    matched, notes = replicates.match_chromosomes(opened, chromosomes)
    found = Replicates(list(opened), next(iter(opened.values())).resolution, list(matched), notes=notes)
    if network is not None:
        start = time.monotonic()
        by_windows = merge == "original" or network.published
        embeddings = []
        for index, each in enumerate(opened.values()):
            own = [names[index] for names in matched.values()]
            run = dict(batch_size=batch_size, progress=progress)
            if by_windows:
                embeddings.append(reproducibility(each, network, chromosomes=own, merge=merge, **run))
            else:
                embeddings.append(patch_embeddings(each, network, own, **run))
        compare = compare_windows if by_windows else compare_patches
        found.scores["network"], note = compare(embeddings, found.chromosomes)
        found.notes.append(note)
        found.seconds["network"] = time.monotonic() - start
    for method in methods:
        start = time.monotonic()
        score = replicates.PAIR_SCORES[method]
        if method == "GenomeDISCO":
            score = functools.partial(score, steps=steps)
        found.scores[method] = replicates.compare_pairs(opened, matched, score, progress)
        found.seconds[method] = time.monotonic() - start
    return found


def patch_embeddings(
    contact_map: ContactMap,
    network: Network,
    chromosomes: Sequence[str] | None = None,
    *,
    batch_size: int = 8,
    progress: NullProgress | None = None,
) -> Embeddings:
    """Embeddings of the patches of windows on the diagonal, every half window, for `compare_patches`."""
    # The parameters are those of task reproducibility; only the output differs.
    network = dataclasses.replace(network, model=network.model.clone(task="embedding"))
    return embed_map(
        contact_map,
        network,
        chromosomes=chromosomes,
        depth=PATCH_DEPTH,
        patches=True,
        stride=max(min(network.window) // 2 // PATCH, 1) * PATCH,
        bound=0,
        batch_size=batch_size,
        progress=progress,
    )


def compare_windows(embeddings: Sequence[Embeddings], chromosomes: Sequence[str]) -> tuple[np.ndarray, str]:
    """The original's score: mean cosine of matching windows, `[chromosomes, maps, maps]`; and a note.

    Windows match if they begin at the same bins of the same chromosome (`4`, `chr4` and `Chr4` are one).
    The note counts those that only one map of a pair has, because the other has no contacts there.
    """
    return _compare(embeddings, chromosomes, "windows", lambda one, two, strata: cosines(one, two).mean())


def compare_patches(embeddings: Sequence[Embeddings], chromosomes: Sequence[str]) -> tuple[np.ndarray, str]:
    """Stratum-adjusted cosine of patch embeddings, `[chromosomes, maps, maps]`; and a note.

    Of each map, the mean embedding of the patches at the same distance from the diagonal is subtracted, as
    SCC compares each distance on its own: else distance decay and depth alone would make maps similar. The
    score is the cosine of all that is left of a chromosome's patches, taken as one vector. Patches match as
    windows do in `compare_windows`.
    """
    return _compare(embeddings, chromosomes, "patches", adjusted_cosine)


def adjusted_cosine(one: np.ndarray, two: np.ndarray, strata: np.ndarray) -> float:
    """Cosine of two sets of vectors `[N, C]` after subtracting the mean of each stratum `[N]`; NaN if 0."""
    _, stratum, size = np.unique(strata, return_inverse=True, return_counts=True)
    rest = []
    for each in (one, two):
        each = each.astype(np.float64)
        sums = np.zeros((len(size), each.shape[1]))
        np.add.at(sums, stratum, each)
        rest.append(each - (sums / size[:, None])[stratum])
    norm = np.sqrt((rest[0] ** 2).sum() * (rest[1] ** 2).sum())
    return float((rest[0] * rest[1]).sum() / norm) if norm else float("nan")


def cosines(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Cosine of each row of two arrays `[N, C]`, float64 `[N]`."""
    one, two = one.astype(np.float64), two.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return (one * two).sum(axis=1) / norms


def _compare(
    embeddings: Sequence[Embeddings], chromosomes: Sequence[str], level: str, score: Callable[..., float]
) -> tuple[np.ndarray, str]:
    """`score(vectors, vectors, distances)` of what two maps have in common at a level, for every pair."""
    scores = np.full((len(chromosomes), len(embeddings), len(embeddings)), np.nan)
    matched = unmatched = 0
    for index, chrom in enumerate(map(bare_name, chromosomes)):
        places, vectors = zip(*(_of_chromosome(each, chrom, level) for each in embeddings), strict=True)
        for i, j in itertools.combinations_with_replacement(range(len(embeddings)), 2):
            both, first, second = np.intersect1d(places[i], places[j], return_indices=True)
            if i != j:
                matched += len(both)
                unmatched += len(places[i]) + len(places[j]) - 2 * len(both)
            if len(both):
                found = score(vectors[i][first], vectors[j][second], both["col"] - both["row"])
                scores[index, i, j] = scores[index, j, i] = found
    return scores, f"network: {matched:,} pairs of {level} compared, {unmatched:,} {level} without a match."


def _of_chromosome(embeddings: Embeddings, chrom: str, level: str) -> tuple[np.ndarray, np.ndarray]:
    """Places (`row`, `col` in bp) and embeddings of a chromosome, named without `chr`."""
    table = embeddings.tables[level]
    names = [name for name in np.unique(table["chrom"]) if bare_name(str(name)) == chrom]
    chosen = np.flatnonzero(np.isin(table["chrom"], names))
    places = np.zeros(len(chosen), [("row", np.int64), ("col", np.int64)])
    places["row"], places["col"] = table["row_start"][chosen], table["col_start"][chosen]
    return places, np.asarray(embeddings.values[level])[chosen]
