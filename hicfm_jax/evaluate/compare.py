"""Compares maps with a deeper one: opens them, tunes the baselines, scores chromosome by chromosome."""

from collections.abc import Mapping, Sequence

import numpy as np

from hicfm_jax.errors import InputError
from hicfm_jax.evaluate.comparison import ChromosomeView, Comparison, Record, pool
from hicfm_jax.evaluate.opening import Maps, Source, leakage_warnings
from hicfm_jax.evaluate.report.thumbnails import choose_windows, make_portrait
from hicfm_jax.evaluate.scores import score_chromosome
from hicfm_jax.evaluate.scores.correlation import MAX_DIAGONAL
from hicfm_jax.evaluate.scores.diagonals import upper
from hicfm_jax.evaluate.scores.score_chromosome import ChromosomeScorer
from hicfm_jax.evaluate.tuning import CRITERIA, NAMES, RESCALED, Tuned, tune_baselines


def compare(
    maps: Mapping[str, Source],
    reference: Source,
    chromosomes: Sequence[str] | None = None,
    *,
    resolution: int | None = None,
    max_diagonal: int = MAX_DIAGONAL,
    baselines_of: str | None = None,
    tune_chromosomes: Sequence[str] | None = None,
    tune_by: str = "r",
) -> Comparison:
    """Scores maps of raw counts against a reference, on each chromosome and pooled.

    Args:
      maps: name -> `ContactMap` or URI; compared as they are, at whatever depth.
      reference: the deep map, a `ContactMap` or URI.
      chromosomes: which to evaluate (`Chr4`, `chr4` and `4` are one); None means all that hold contacts
        in every map.
      resolution: bin width in bp; None takes the reference's only one.
      max_diagonal: farthest diagonal of the scores by distance, in bins.
      baselines_of: name of the shallow map among `maps` to make the built-in baselines from; None makes
        none.
      tune_chromosomes: where the baselines' widths are chosen; None means all that are not evaluated.
      tune_by: the score that is to be best there: `r`, `log_r` or `mse`.

    Returns:
      Scores, and what a report is made of.

    Raises:
      InputError: files, names or chromosomes that do not fit; chromosomes to tune on that are evaluated.
    """
    if max_diagonal != int(max_diagonal) or max_diagonal < 1:
        raise InputError(f"max_diagonal={max_diagonal} is no diagonal: give whole bins of 1 or more.")
    if tune_by not in CRITERIA:
        raise InputError(f"tune_by={tune_by!r} is no criterion: choose from {', '.join(CRITERIA)}.")
    if baselines_of is not None and baselines_of not in maps:
        raise InputError(f"baselines_of={baselines_of!r} is none of the maps: choose from {', '.join(maps)}.")
    taken = sorted(set(maps) & set(NAMES)) if baselines_of is not None else []
    if taken:
        raise InputError(f"A map is called {taken[0]!r}, which is the name of a baseline: rename it.")
    if baselines_of is None and tune_chromosomes:
        raise InputError("Chromosomes to tune on are given, but no map to make baselines of: name it.")
    opened = Maps(maps, reference, resolution)
    evaluated, notes = opened.choose(chromosomes)
    warnings = [
        warning
        for name, held in opened.maps.items()
        for warning in leakage_warnings(name, getattr(held, "metadata", None), evaluated)
    ]
    tuned: list[Tuned] = []
    ratio = 1.0
    if baselines_of is not None:
        ratio = opened.reference.total_count / opened.maps[baselines_of].total_count
        names = _tuning_chromosomes(opened, evaluated, tune_chromosomes, baselines_of)
        small = [name for name in names if opened.reference.n_bins(name) <= score_chromosome.WHOLE_BINS]
        tuned = tune_baselines(
            [(upper(opened.matrix(baselines_of, name)), upper(opened.matrix(None, name))) for name in small],
            ratio,
            max_diagonal,
            tune_by,
        )
        chosen = "; ".join(f"{baseline.name}: {baseline.settings}" for baseline in tuned)
        notes.append(
            f"Baselines are made of {baselines_of}, with the best {tune_by} on {', '.join(small)}: {chosen}."
            if small
            else f"Baselines other than the rescaled input are left out: {', '.join(names)} have more than "
            f"{score_chromosome.WHOLE_BINS} bins each; choose a coarser resolution."
        )

    records: dict[str, list[Record]] = {name: [] for name in [*maps, *(held.name for held in tuned)]}
    views: list[ChromosomeView] = []
    settings: dict[str, dict[str, list[str]]] = {}
    for chrom in evaluated:
        scorer, view, rows = _compare_chromosome(opened, chrom, max_diagonal, tuned, baselines_of, ratio)
        views.append(view)
        for record in rows:
            records[record.map].append(record)
        for name, text in _settings(scorer, opened.reference.resolution, max_diagonal).items():
            settings.setdefault(name, {}).setdefault(text, []).append(chrom)
        if view.whole_resolution > opened.reference.resolution:
            notes.append(
                f"{chrom} has {opened.reference.n_bins(chrom)} bins: SSIM, PSNR, compartments and "
                f"GenomeDISCO are those of bins of {view.whole_resolution} bp, and there are no baselines "
                "but the rescaled input."
            )
    records = {name: rows for name, rows in records.items() if rows}
    partial = [name for name, rows in records.items() if len(rows) < len(evaluated)]
    if partial:
        notes.append(
            f"{', '.join(partial)}: on some of these chromosomes alone, and so not pooled with the others."
        )
    return Comparison(
        reference=opened.reference.name,
        resolution=opened.reference.resolution,
        settings={name: _merged(texts) for name, texts in settings.items()},
        # A mean over fewer chromosomes would stand beside the others as if it were comparable.
        records=[pool(rows) for name, rows in records.items() if name not in partial]
        + sum(records.values(), []),
        chromosomes=views,
        shallow=baselines_of,
        warnings=warnings,
        notes=notes,
    )


def _tuning_chromosomes(
    opened: Maps, evaluated: list[str], chosen: Sequence[str] | None, shallow: str
) -> list[str]:
    if not chosen:
        others = [name for name in opened.reference.chromsizes if name not in evaluated]
        names = [name for name in others if _usable(opened, name, shallow)]
        if not names:
            raise InputError(
                "No chromosome is left to choose the baselines' widths on: evaluate fewer than all, or name "
                "chromosomes to tune on."
            )
        return names
    names = [opened.reference.find_chromosome(name) for name in chosen]
    both = [name for name in names if name in evaluated]
    if both:
        raise InputError(
            f"{', '.join(both)} would be both evaluated and used to tune the baselines: tune on other "
            "chromosomes, so that the baselines know as little of the evaluated ones as a model."
        )
    for name in names:
        opened.check(name, [shallow])
    return names


def _usable(opened: Maps, chrom: str, shallow: str) -> bool:
    try:
        opened.check(chrom, [shallow])
    except InputError:
        return False
    return True


def _compare_chromosome(
    opened: Maps,
    chrom: str,
    max_diagonal: int,
    tuned: list[Tuned],
    baselines_of: str | None,
    ratio: float,
) -> tuple[ChromosomeScorer, ChromosomeView, list[Record]]:
    resolution = opened.reference.resolution
    reference = upper(opened.matrix(None, chrom))
    size = reference.shape[0]
    scorer = ChromosomeScorer(reference, resolution, max_diagonal)
    bin_size = resolution * scorer.focus_factor
    windows = choose_windows(scorer.foci, -(-size // scorer.focus_factor), bin_size)
    contacts = reference.sum()
    portraits, records = {}, []

    def add(name: str, matrix, **baseline) -> None:
        matrix = upper(matrix)
        scores, spearman = scorer.score(matrix)
        records.append(Record(name, chrom, scores, **baseline))
        if name == RESCALED:
            return  # would look like the map it is made of, which is drawn at the reference's depth
        scale = float(contacts / matrix.sum()) if matrix.nnz else 1.0
        portraits[name] = make_portrait(matrix, windows, resolution, spearman, scale)

    for name in opened.maps:
        add(name, opened.matrix(name, chrom))
    for baseline in tuned:
        if scorer.whole_factor == 1 or baseline.name == RESCALED:
            counts = upper(opened.matrix(baselines_of, chrom))
            add(baseline.name, baseline.make(counts, ratio), baseline=True, settings=baseline.settings)
    portraits["reference"] = make_portrait(reference, windows, resolution, np.empty(0), 1.0)
    view = ChromosomeView(
        name=chrom,
        length=opened.reference.chromsizes[chrom],
        whole_resolution=resolution * scorer.whole_factor,
        data_range=scorer.data_range,
        foci=[
            (int((row + 0.5) * bin_size), int((column + 0.5) * bin_size), float(enrichment))
            for row, column, enrichment in zip(
                scorer.foci.rows, scorer.foci.columns, scorer.foci.enrichment, strict=True
            )
        ],
        windows=windows,
        portraits=portraits,
    )
    return scorer, view, records


def _merged(texts: Mapping[str, list[str]]) -> str:
    """What holds for all chromosomes, or what holds for which."""
    if len(texts) == 1:
        return next(iter(texts))
    return ", ".join(f"{text} ({', '.join(chroms)})" for text, chroms in texts.items())


def _settings(scorer: ChromosomeScorer, resolution: int, max_diagonal: int) -> dict[str, str]:
    half = scorer.scc_half_width
    bin_size = resolution * scorer.insulation_factor
    diamond = bin_size * scorer.insulation_window
    return {
        "diagonals": f"1 to {max_diagonal} bins ({max_diagonal * resolution / 1e6:g} Mb)",
        "SCC": f"mean filter of {2 * half + 1} x {2 * half + 1} bins",
        "insulation": f"diamond of {diamond / 1e3:g} kb in bins of {bin_size / 1e3:g} kb",
        "foci": f"found at {resolution * scorer.focus_factor / 1e3:g} kb",
    }
