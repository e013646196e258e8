"""`report.png`: one picture for a talk, with maps, scores, and the strongest focus."""

import math
import textwrap

from matplotlib.figure import Figure

from hicfm_jax.evaluate.comparison import ChromosomeView, Comparison
from hicfm_jax.evaluate.report.figures import count_scale, show_map, show_zoom, title, zoom_scale
from hicfm_jax.evaluate.scores import CAPTIONS, SCORES
from hicfm_jax.evaluate.tuning import RESCALED

MOST_MAPS = 5


def draw_for_talk(comparison: Comparison) -> Figure:
    """The chromosome with the strongest focus: shallow map, best baseline, other maps, reference."""
    view = max(comparison.chromosomes, key=lambda each: each.foci[0][2] if each.foci else 0)
    names = [*_choose(comparison, view), "reference"]
    records = {record.map: record for record in comparison.of(view.name)}
    figure = Figure(figsize=(3.4 * len(names) + 0.9, 7.6), dpi=200, layout="constrained")
    axes = figure.subplots(2, len(names), squeeze=False, height_ratios=[1, 1])
    norm, zoom_norm = count_scale(view), zoom_scale(view, 0)
    for column, name in enumerate(names):
        above, below = axes[:, column]
        shown = show_map(above, view, name, norm)
        above.set_title(textwrap.fill(title(view, name), 24), fontsize=13)
        text = ""
        # A shallow map is drawn at the reference's depth, and so its scores are those at that depth.
        record = records.get(RESCALED if name == comparison.shallow else name)
        if record is not None:
            scores = {SCORES[key].title: record.scores[key].value for key in CAPTIONS}
            parts = [f"{label} {value:.3f}" for label, value in scores.items() if not math.isnan(value)]
            text = "   ".join(parts[:2]) + "\n" + "   ".join(parts[2:])
        above.set_xlabel(text or f"{comparison.resolution / 1000:g} kb bins, Mb\n", fontsize=11)
        zoomed = show_zoom(below, view, name, 0, zoom_norm)
        below.tick_params(labelsize=8)
    axes[0, 0].set_ylabel(f"{view.name}, Mb", fontsize=11)
    axes[1, 0].set_ylabel(view.regions[0].label.replace(", ", "\n"), fontsize=10)
    for image, row in ((shown, axes[0]), (zoomed, axes[1])):
        figure.colorbar(image, ax=list(row), shrink=0.8, pad=0.01, label="contacts per pixel")
    return figure


def _choose(comparison: Comparison, view: ChromosomeView) -> list[str]:
    """The shallow map and the best baseline, then the other given maps."""
    records = comparison.of(view.name)
    names = [record.map for record in records if not record.baseline]
    if comparison.shallow is not None:
        others = [record for record in records if record.baseline and record.map != RESCALED]
        best = max(others, key=lambda record: record.scores["r"].value, default=None)
        names.remove(comparison.shallow)
        names = [comparison.shallow, *([best.map] if best else []), *names]
    return names[:MOST_MAPS]
