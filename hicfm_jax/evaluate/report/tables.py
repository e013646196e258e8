"""Tables of scores: `metrics.csv`, best values, in HTML, and the terminal summary."""

import csv
import math
import pathlib
from collections.abc import Iterable

from hicfm_jax.evaluate.comparison import POOLED, TRANS, Comparison, Record
from hicfm_jax.evaluate.scores import SCORES, SUMMARY


def write_csv(comparison: Comparison, path: pathlib.Path) -> None:
    """One line for each map and chromosome, the pooled ones first; undefined scores are empty."""
    views = {view.name: view for view in comparison.chromosomes}
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        facts = ["foci", "data_range", "whole_map_resolution"]
        writer.writerow(["map", "chromosome", *SCORES, "baseline", "settings", *facts])
        for record in comparison.records:
            if record.chromosome == POOLED:
                facts = [sum(len(view.foci) for view in comparison.chromosomes), "", ""]
            elif record.chromosome == TRANS:
                facts = ["", "", ""]
            else:
                view = views[record.chromosome]
                facts = [len(view.foci), f"{view.data_range:.4f}", view.whole_resolution]
            values = [record.scores[name].value for name in SCORES]
            values = ["" if math.isnan(value) else f"{value:.6g}" for value in values]
            writer.writerow(
                [record.map, record.chromosome, *values, int(record.baseline), record.settings, *facts]
            )


def best_values(records: list[Record]) -> dict[str, float]:
    """The best value of each score among maps, rounded as in tables; scores without a value are left out."""
    best = {}
    for name, score in SCORES.items():
        values = [record.scores[name].value for record in records]
        values = [value for value in values if not math.isnan(value)]
        if values:
            best[name] = float(shown(max(values) if score.better == "higher" else min(values), name))
    return best


def shown(value: float, name: str) -> str:
    """A score with its decimals; empty for NaN."""
    return "" if math.isnan(value) else f"{value:.{SCORES[name].digits}f}"


def html_table(head: Iterable[str], rows: Iterable[Iterable[str]], kind: str = "facts") -> str:
    """A table that scrolls by itself where it is wider than the page; cells are HTML.

    `kind` is its class in the style of a report.
    """
    titles = "".join(f"<th>{name}</th>" for name in head)
    lines = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    body = "".join(f"<tr>{line}</tr>" for line in lines)
    return (
        f'<div class="scroll" tabindex="0"><table class="{kind}"><thead><tr>{titles}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def summary(comparison: Comparison) -> str:
    """The pooled scores of `SUMMARY` as a table for a terminal, then any between chromosomes."""
    rows = [["", *(SCORES[name].title for name in SUMMARY)]]
    for record in (*comparison.of(POOLED), *comparison.of(TRANS)):
        values = (shown(record.scores[name].value, name) or "-" for name in SUMMARY)
        rows.append([f"{record.map}, {TRANS}" if record.chromosome == TRANS else record.map, *values])
    first, *widths = (max(map(len, column)) for column in zip(*rows, strict=True))
    lines = []
    for name, *texts in rows:
        cells = [text.rjust(width) for text, width in zip(texts, widths, strict=True)]
        lines.append("  ".join([name.ljust(first), *cells]))
    return "\n".join(lines)
