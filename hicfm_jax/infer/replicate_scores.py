"""Reproducibility of maps by the embeddings of a network, beside SCC and GenomeDISCO."""

import itertools
import os
import time
from collections.abc import Mapping, Sequence

import numpy as np

from hicfm_jax.contacts.contact_map import bare_name
from hicfm_jax.evaluate import replicates
from hicfm_jax.evaluate.opening import MapSource
from hicfm_jax.evaluate.replicates import Replicates
from hicfm_jax.infer.embedding_table import Embeddings
from hicfm_jax.infer.network import Network, load_network
from hicfm_jax.infer.tasks.reproducibility import TASK, reproducibility
from hicfm_jax.progress import NullProgress


def compare_replicates(
    maps: Mapping[str, MapSource],
    params: Network | str | os.PathLike | None = None,
    chromosomes: Sequence[str] | None = None,
    *,
    resolution: int | None = None,
    merge: str = "average",
    methods: Sequence[str] = tuple(replicates.PAIR_SCORES),
    batch_size: int = 8,
    progress: NullProgress | None = None,
) -> Replicates:
    """Scores every pair of maps by a network and by methods without one.

    Args:
      maps: name -> map or URI, two or more.
      params: a checkpoint or a network of `load_network`; None: no network.
      chromosomes: to compare; all that the maps have in common if not given.
      resolution: bp; the only one of the first map if not given.
      merge: "original" gives the original's windows and chromosomes.
      methods: keys of `evaluate.replicates.PAIR_SCORES`.
      batch_size, progress: see `scan.scan`.

    Raises:
      InputError: maps that do not fit together, or a checkpoint that does not fit.
    """
    progress = progress or NullProgress()
    opened = replicates.open_maps(maps, resolution)
    matched, notes = replicates.match_chromosomes(opened, chromosomes)
    found = Replicates(list(opened), next(iter(opened.values())).resolution, list(matched), notes=notes)
    if params is not None:
        start = time.monotonic()
        network = params
        if not isinstance(network, Network):
            network = load_network(params, None, TASK.head, TASK.default_window, progress)
        embeddings = [
            reproducibility(
                each,
                network,
                chromosomes=[own[index] for own in matched.values()],
                merge=merge,
                batch_size=batch_size,
                progress=progress,
            )
            for index, each in enumerate(opened.values())
        ]
        found.scores["network"], counted = compare_embeddings(embeddings, found.chromosomes)
        found.notes += counted
        found.seconds["network"] = time.monotonic() - start
    for method in methods:
        start = time.monotonic()
        score = replicates.PAIR_SCORES[method]
        found.scores[method] = replicates.compare_pairs(opened, matched, score, progress)
        found.seconds[method] = time.monotonic() - start
    return found


def compare_embeddings(
    embeddings: Sequence[Embeddings], chromosomes: Sequence[str]
) -> tuple[np.ndarray, list[str]]:
    """Mean cosine of matching windows for every pair, `[chromosomes, maps, maps]`, and a note.

    Windows match if they begin at the same bins of the same chromosome (`4`, `chr4` and `Chr4` are one).
    The note counts those that only one map of a pair has, because the other has no contacts there.
    """
    tables = [_by_window(each) for each in embeddings]
    scores = np.full((len(chromosomes), len(tables), len(tables)), np.nan)
    matched = unmatched = 0
    for i, j in itertools.combinations_with_replacement(range(len(tables)), 2):
        for index, chrom in enumerate(map(bare_name, chromosomes)):
            one, two = (tables[k].get(chrom, {}) for k in (i, j))
            both = [place for place in one if place in two]
            if i != j:
                matched += len(both)
                unmatched += len(one) + len(two) - 2 * len(both)
            if both:
                vectors = [np.stack([table[place] for place in both]) for table in (one, two)]
                scores[index, i, j] = scores[index, j, i] = cosines(*vectors).mean()
    return scores, [f"network: {matched:,} pairs of windows compared, {unmatched:,} windows without a match."]


def cosines(one: np.ndarray, two: np.ndarray) -> np.ndarray:
    """Cosine of each row of two arrays `[N, C]`, float64 `[N]`."""
    one, two = one.astype(np.float64), two.astype(np.float64)
    norms = np.linalg.norm(one, axis=1) * np.linalg.norm(two, axis=1)
    return (one * two).sum(axis=1) / norms


def _by_window(embeddings: Embeddings) -> dict[str, dict[tuple[int, int], np.ndarray]]:
    """Chromosome without `chr` -> start of rows and columns in bp -> embedding."""
    table, found = embeddings.tables["windows"], {}
    for row, vector in zip(table, embeddings.values["windows"], strict=True):
        place = int(row["row_start"]), int(row["col_start"])
        found.setdefault(bare_name(str(row["chrom"])), {})[place] = vector
    return found
