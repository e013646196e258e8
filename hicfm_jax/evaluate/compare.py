"""Compares maps with a deeper one, chromosome by chromosome."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.baselines import NAMES, RESCALED, tune_baselines
from hicfm_jax.evaluate.comparison import (
    ChromosomeView,
    Comparison,
    Record,
    ScoredValue,
    choose_regions,
    make_thumbnail,
    pool,
)
from hicfm_jax.evaluate.opening import ComparedMaps, MapSource, enhancement_notes, leakage_warnings
from hicfm_jax.evaluate.scores import CRITERIA, SCORES, map_tracks, scc, scored_pair, titles
from hicfm_jax.evaluate.scores.correlation import MAX_DIAGONAL
from hicfm_jax.evaluate.scores.diagonals import Matrix, upper
from hicfm_jax.evaluate.scores.scored_pair import PreparedMap, ScoredPair
from hicfm_jax.evaluate.scores.whole_map import data_range
from hicfm_jax.evaluate.trans_scores import compare_trans
from hicfm_jax.progress import doing


def compare(
    maps: Mapping[str, MapSource],
    reference: MapSource,
    chromosomes: Sequence[str] | None = None,
    *,
    resolution: int | None = None,
    max_diagonal: int = MAX_DIAGONAL,
    baselines_of: str | None = None,
    tune_chromosomes: Sequence[str] | None = None,
    tune_by: str = "r",
    trans: bool = False,
    region: str | None = None,
) -> Comparison:
    """Scores maps of raw counts against a reference, on each chromosome and pooled.

    Args:
      maps: name -> `ContactMap` or URI, of any depth; compared without rescaling.
      reference: the deep map, a `ContactMap` or URI.
      chromosomes: which to evaluate (`Chr4`, `chr4` and `4` are one); None means all that have contacts in
        every map.
      resolution: bin width in bp; None takes the reference's only one.
      max_diagonal: farthest diagonal of the scores by distance, in bins.
      baselines_of: name of the shallow map among `maps` to make the built-in baselines from; None makes
        none.
      tune_chromosomes: where the baselines' widths are chosen; None means all that are not evaluated.
      tune_by: the score to optimize there, one of `scores.CRITERIA`.
      trans: also score the contacts between the evaluated chromosomes, see `trans_scores.compare_trans`.
      region: in place of `chromosomes`, part of one: `Chr4:1M-3M`.

    Raises:
      InputError: files, names or chromosomes that do not fit together.
    """
    if max_diagonal != int(max_diagonal) or max_diagonal < 1:
        raise InputError(f"max_diagonal={max_diagonal} is invalid: give whole bins of 1 or more.")
    if tune_by not in CRITERIA:
        raise InputError(f"tune_by={tune_by!r} is invalid: choose from {', '.join(CRITERIA)}.")
    if baselines_of is not None and baselines_of not in maps:
        raise InputError(f"baselines_of={baselines_of!r} is not a map: choose from {', '.join(maps)}.")
    taken = sorted(set(maps) & set(NAMES)) if baselines_of is not None else []
    if taken:
        raise InputError(f"A map is called {taken[0]!r}, which is the name of a baseline: rename it.")
    if baselines_of is None and tune_chromosomes:
        raise InputError("tune_chromosomes needs baselines_of: name the map to make baselines from.")
    sources = {"reference": reference, **maps}
    with doing("Opening the maps"):
        opened = ComparedMaps(maps, reference, resolution, region)
    reference, resolution = opened.reference, opened.reference.resolution
    if opened.region is not None:
        if chromosomes:
            raise InputError("region and chromosomes cannot be combined: leave one of them out.")
        if trans:
            raise InputError("region is part of one chromosome, and trans needs two: leave one of them out.")
        chromosomes = [opened.region.chrom]
    evaluated, notes = opened.choose(chromosomes)
    if opened.region is not None:
        notes.append(f"Scores and pictures are of {opened.region} only.")
    if not evaluated:
        raise InputError(" ".join(["No chromosome to evaluate has contacts in all maps.", *notes[:1]]))
    warnings = []
    for name, each in opened.maps.items():
        warnings += leakage_warnings(name, each.metadata, evaluated, reference.chromsizes.values())
        notes += enhancement_notes(name, each.metadata)
    baselines, ratio, tuned_on = [], 1.0, []
    if baselines_of is not None:
        ratio = reference.total_count / opened.maps[baselines_of].total_count
        tuned_on = _tuning_chromosomes(opened, evaluated, tune_chromosomes, baselines_of)
        short = [name for name in tuned_on if reference.n_bins(name) <= scored_pair.WHOLE_BINS]
        pairs = [
            [PreparedMap(opened.counts(which, name), resolution) for which in (baselines_of, None)]
            for name in short
        ]
        with doing(f"Tuning the baselines on {', '.join(short[:5])}"):
            baselines = tune_baselines(pairs, ratio, max_diagonal, tune_by)
        chosen = "; ".join(f"{each.name}: {each.settings}" for each in baselines)
        notes.append(
            f"Baselines are made from {baselines_of}, with the best {tune_by} on {', '.join(short)}: "
            f"{chosen}."
            if short
            else f"Baselines other than the rescaled input are left out: {', '.join(tuned_on)} have more "
            f"than {scored_pair.WHOLE_BINS} bins each; choose a coarser resolution."
        )

    def maps_on(chrom: str, is_long: bool) -> Iterator[tuple[Matrix, str, bool, str]]:
        for name in opened.maps:
            yield opened.counts(name, chrom), name, False, ""
        for each in baselines:
            if each.name == RESCALED or not is_long:
                made = each.make(opened.counts(baselines_of, chrom), ratio)
                yield made, each.name, True, each.settings

    between: list[Record] = []
    if trans:
        with doing("Scoring contacts between chromosomes"):
            between = compare_trans(opened, evaluated, baselines_of, tuned_on, tune_by)
    views: list[ChromosomeView] = []
    by_map: dict[str, list[Record]] = {}
    for chrom in evaluated:
        prepared = PreparedMap(opened.counts(None, chrom), resolution)
        is_long = prepared.whole is not prepared
        with doing(f"Scoring {chrom}"):
            view, records = _compare_chromosome(
                chrom, opened.extent(chrom), prepared, maps_on(chrom, is_long), max_diagonal
            )
        views.append(view)
        for record in records:
            by_map.setdefault(record.map, []).append(record)
        if is_long:
            coarse = titles(score for score in SCORES.values() if score.coarsened)
            notes.append(
                f"{chrom} has {prepared.counts.shape[0]} bins: {coarse} are computed in bins of "
                f"{view.whole_resolution} bp, and the only baseline is the rescaled input."
            )
    # A mean over fewer chromosomes is not comparable with the others.
    partial = [name for name, rows in by_map.items() if len(rows) < len(evaluated)]
    if partial:
        notes.append(f"{', '.join(partial)}: scored on some of these chromosomes only, and not pooled.")
    return Comparison(
        reference=reference.name,
        resolution=resolution,
        settings=_settings(resolution, max_diagonal),
        records=[pool(rows) for name, rows in by_map.items() if name not in partial]
        + between
        + sum(by_map.values(), []),
        chromosomes=views,
        shallow=baselines_of,
        warnings=warnings,
        notes=notes,
        files={name: str(each) for name, each in sources.items() if not isinstance(each, ContactMap)},
    )


def _tuning_chromosomes(
    opened: ComparedMaps, evaluated: list[str], chosen: Sequence[str] | None, shallow: str
) -> list[str]:
    names, _ = opened.choose(chosen or None, [shallow])
    both = [name for name in names if name in evaluated]
    if chosen and both:
        raise InputError(
            f"{', '.join(both)} would be both evaluated and used to tune the baselines: tune on others."
        )
    if len(names) == len(both):
        raise InputError(
            "No chromosome is left to tune the baselines on: evaluate fewer or give tune_chromosomes."
        )
    return [name for name in names if name not in both]


def _compare_chromosome(
    chrom: str, extent: tuple[int, int], reference: PreparedMap, maps: Iterable[tuple], max_diagonal: int
) -> tuple[ChromosomeView, list[Record]]:
    foci, resolution, bin_size = reference.foci, reference.resolution, reference.for_foci.resolution
    origin, length = extent
    regions = choose_regions(foci, reference.for_foci.counts.shape[0], bin_size, origin)
    contacts = reference.counts.sum()
    thumbnails, records = {}, []
    for counts, name, *baseline in maps:
        test = upper(counts)
        pair = ScoredPair(PreparedMap(test, resolution), reference, max_diagonal)
        scores = {score.name: ScoredValue(*score.function(pair)) for score in SCORES.values()}
        records.append(Record(name, chrom, scores, *baseline))
        if name != RESCALED:  # it looks like its input, which is drawn at the reference's depth
            scale = float(contacts / test.sum()) if test.nnz else 1.0
            thumbnails[name] = make_thumbnail(test, regions, resolution, pair.spearman[0], scale)
    thumbnails["reference"] = make_thumbnail(reference.counts, regions, resolution, np.empty(0), 1.0)
    listed = [
        (origin + int((row + 0.5) * bin_size), origin + int((column + 0.5) * bin_size), float(enrichment))
        for row, column, enrichment in zip(foci.rows, foci.columns, foci.enrichment, strict=True)
    ]
    whole = reference.whole
    span = data_range(whole.counts)
    return ChromosomeView(chrom, origin, length, whole.resolution, span, listed, regions, thumbnails), records


def _settings(resolution: int, max_diagonal: int) -> dict[str, str]:
    width = 2 * scc.half_width(resolution) + 1
    bin_size = resolution * map_tracks.insulation_factor(resolution)
    diamond = bin_size * map_tracks.diamond_bins(bin_size)
    return {
        "diagonals": f"1 to {max_diagonal} bins ({max_diagonal * resolution / 1e6:g} Mb)",
        "SCC": f"mean filter of {width} x {width} bins",
        "insulation": f"diamond of {diamond / 1e3:g} kb in bins of {bin_size / 1e3:g} kb",
    }
