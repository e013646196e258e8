"""Report of reproducibility: `metrics.csv`, `report.html`, `report.png`."""

import contextlib
import csv
import html
import itertools
import os
from collections.abc import Mapping

import numpy as np

from hicfm_jax.evaluate.replicates import Replicates, in_overall
from hicfm_jax.evaluate.report import FILES, check_folder
from hicfm_jax.storage import atomic_file

OVERALL = "overall"  # in place of a chromosome


def write_replicates(
    found: Replicates, folder: str | os.PathLike, files: Mapping[str, str | os.PathLike] | None = None
) -> str:
    """Writes table, page and heat maps, all of them complete or none; returns a summary for the terminal.

    Older files of these names are replaced. `files` are the URIs of the maps by name, for their checksums.

    Raises:
      InputError: the folder cannot be created or written.
      OSError: the disk is full or not writable.
    """
    # Comparing works without matplotlib.
    from hicfm_jax.evaluate.report.figures import png

    target = check_folder(folder)
    target.mkdir(parents=True, exist_ok=True)
    picture = png(draw_matrices(found))
    with contextlib.ExitStack() as stack:
        table, page, image = (stack.enter_context(atomic_file(target / name)) for name in FILES)
        with open(table, "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["map1", "map2", "chromosome", *found.scores])
            writer.writerows(_rows(found))
        page.write_text(_page(found, picture, files or {}), encoding="utf-8")
        image.write_bytes(picture)
    written = ", ".join(str(target / name) for name in FILES)
    return "\n".join([summary(found), *found.notes, f"Wrote {written}."])


def summary(found: Replicates) -> str:
    """The overall scores as a table for the terminal."""
    pairs = list(itertools.combinations(range(len(found.names)), 2))
    labels = [f"{found.names[i]} x {found.names[j]}" for i, j in pairs]
    width = max(map(len, labels))
    lines = [f"{'':{width}}" + "".join(f"{method:>13}" for method in found.scores)]
    overall = [found.overall(method) for method in found.scores]
    for label, (i, j) in zip(labels, pairs, strict=True):
        lines.append(f"{label:{width}}" + "".join(f"{matrix[i, j]:13.4f}" for matrix in overall))
    return "\n".join(lines)


def draw_matrices(found: Replicates):
    """One heat map of the overall scores per method, with the numbers where there is room."""
    from matplotlib.figure import Figure

    from hicfm_jax.evaluate.report.figures import DPI

    number, columns = len(found.names), len(found.scores)
    side = min(max(1.6 + 0.55 * number, 3.0), 9.0)
    figure = Figure(figsize=((side + 1.0) * columns, side + 0.6), dpi=DPI, layout="constrained")
    for axis, method in zip(figure.subplots(1, columns, squeeze=False)[0], found.scores, strict=True):
        matrix = found.overall(method)
        shown = axis.imshow(matrix, cmap="viridis", vmin=min(np.nanmin(matrix), 0.99), vmax=1)
        axis.set_xticks(range(number), found.names, rotation=90)
        axis.set_yticks(range(number), found.names)
        axis.tick_params(labelsize=8, length=2)
        axis.set_title(method, fontsize=11)
        middle = (np.nanmin(matrix) + 1) / 2
        for i, j in itertools.product(range(number), repeat=2) if number <= 12 else ():
            color = "white" if not matrix[i, j] > middle else "black"
            axis.text(j, i, f"{matrix[i, j]:.3f}", ha="center", va="center", fontsize=7, color=color)
        figure.colorbar(shown, ax=axis, shrink=0.7)
    return figure


def _rows(found: Replicates):
    matrices = {
        OVERALL: [found.overall(method) for method in found.scores],
        **{
            chrom: [found.scores[method][index] for method in found.scores]
            for index, chrom in enumerate(found.chromosomes)
        },
    }
    for chrom, scores in matrices.items():
        for i, j in itertools.combinations(range(len(found.names)), 2):
            yield [found.names[i], found.names[j], chrom, *(f"{matrix[i, j]:.6f}" for matrix in scores)]


def _page(found: Replicates, picture: bytes, files: Mapping[str, str | os.PathLike]) -> str:
    from hicfm_jax.evaluate.report.html import embedded, whole_page
    from hicfm_jax.evaluate.report.tables import html_table

    left_out = [chrom for chrom in found.chromosomes if not in_overall(chrom)]
    rows = [[html.escape(str(cell)) for cell in row] for row in _rows(found)]
    notes = [*found.notes]
    if left_out and len(left_out) < len(found.chromosomes):
        notes.append(f"Not counted in the overall score: {', '.join(left_out)}.")
    notes += [f"{method}: {seconds:.1f} s." for method, seconds in found.seconds.items()]
    parts = [
        "<h1>Reproducibility of contact maps</h1>",
        f'<p class="about">{len(found.names)} maps, {found.resolution / 1000:g} kb bins, '
        f"{len(found.chromosomes)} chromosomes.</p>",
        embedded(picture, "Overall scores of each pair of maps"),
        *(f"<p>{html.escape(note)}</p>" for note in notes),
        html_table(["map", "map", "chromosome", *found.scores], rows),
        "<h2>Definitions of the scores</h2>",
        "<p>network: mean cosine of the embeddings of matching windows. SCC: stratum-adjusted correlation "
        "coefficient of HiCRep. GenomeDISCO: concordance after a random walk of 3 steps. SCC and GenomeDISCO "
        "compare two maps at the depth of the shallower. The overall score is the mean over chromosomes.</p>",
    ]
    return whole_page("Reproducibility", parts, files)
