"""`report.html`: one page with its pictures embedded."""

import base64
import html
from collections.abc import Sequence

from matplotlib.figure import Figure

from hicfm_jax.evaluate.comparison import POOLED, TRANS, ChromosomeView, Comparison, Record
from hicfm_jax.evaluate.report import figures
from hicfm_jax.evaluate.report.tables import best_values, shown
from hicfm_jax.evaluate.scores import SCORES, titles

MOST_FOCI = 12

STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; max-width: 1280px; margin: 2em auto;
  padding: 0 1.5em; }
h1 { font-size: 1.7em; margin-bottom: 0; } h2 { margin-top: 2.2em; border-bottom: 2px solid #bd0026; }
h3 { margin: 1.6em 0 .3em; font-size: 1.05em; }
p.about { color: #555; margin-top: .2em; }
.warning { background: #fff1f0; border-left: 5px solid #d7191c; padding: .6em 1em; margin: .8em 0; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .86em; font-variant-numeric: tabular-nums; }
th, td { padding: .28em .6em; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: white; }
thead th { border-bottom: 2px solid #444; vertical-align: bottom; }
tbody tr { border-bottom: 1px solid #e4e4e4; } tr.baseline td { color: #666; }
td.best { font-weight: 700; color: #1c1c1c; } small { color: #777; font-weight: 400; }
img { max-width: 100%; height: auto; } dt { font-weight: 600; float: left; clear: left; width: 9em; }
dd { margin-left: 9.5em; }
"""


def render(comparison: Comparison) -> str:
    """The whole page."""
    names = ", ".join(view.name for view in comparison.chromosomes)
    settings = "; ".join(f"{name}: {text}" for name, text in comparison.settings.items())
    lower = titles(score for score in SCORES.values() if score.better == "lower")
    parts = [
        "<h1>Contact maps compared with a reference</h1>",
        f'<p class="about">Reference: {_text(comparison.reference)}, {comparison.resolution / 1000:g} kb '
        f"bins. Evaluated: {_text(names)}.<br>{_text(settings)}.</p>",
        *(f'<p class="warning"><b>Warning.</b> {_text(text)}</p>' for text in comparison.warnings),
        "<h2>All chromosomes together</h2>",
        _table(comparison.of(POOLED)),
        f"<p>The best value of each column is bold; lower is better for {lower}, higher for all others. Gray "
        "rows are built-in baselines. Chromosomes are weighted by their pixels, bins or foci.</p>",
        *(f"<p>{_text(text)}</p>" for text in comparison.notes),
    ]
    if between := comparison.of(TRANS):
        parts += [
            "<h2>Between chromosomes</h2>",
            _table(between),
            "<p>All pixels between two of these chromosomes. Correlations are within each pair of them, "
            "averaged by pixels.</p>",
        ]
    for view in comparison.chromosomes:
        parts += _chromosome(comparison, view)
    parts += ["<h2>Definitions of the scores</h2>", "<dl>"]
    for score in SCORES.values():
        text = f"{score.text}, {score.unit}" if score.unit else score.text
        parts.append(f"<dt>{_text(score.title)}</dt><dd>{_text(text)}; pooled by {score.pooled_by}</dd>")
    return whole_page(f"Contact maps: {names}", [*parts, "</dl>"])


def whole_page(title: str, parts: Sequence[str]) -> str:
    """A page of these parts, in HTML, with the style of all reports."""
    body = "\n".join(parts)
    return (
        f'<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n<title>{_text(title)}</title>\n'
        f"<style>{STYLE}</style></head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def _chromosome(comparison: Comparison, view: ChromosomeView) -> list[str]:
    name = _text(view.name)
    return [
        f"<h2>{name}</h2>",
        _table(comparison.of(view.name)),
        f"<p>SSIM and PSNR are of log10(1 + count), with a data range of {view.data_range:.2f}.</p>",
        "<h3>Maps</h3>",
        embedded(figures.draw_maps(view), f"Maps of {name}"),
        "<h3>Ratio to the reference</h3>",
        embedded(figures.draw_ratios(view), f"Ratios of maps of {name}"),
        "<h3>" + ("Strongest foci" if view.foci else "Zoom") + "</h3>",
        f"<p>{_foci(view)}</p>",
        embedded(figures.draw_zooms(view), f"Foci of {name}"),
        "<h3>Distance</h3>",
        embedded(figures.draw_curves(view, comparison.resolution), f"Curves of {name}"),
    ]


def _foci(view: ChromosomeView) -> str:
    if not view.foci:
        return "The reference has no foci on this chromosome; the plot shows its middle."
    listed = "; ".join(
        f"{one / 1e6:.2f} x {two / 1e6:.2f} Mb ({ratio:.1f})" for one, two, ratio in view.foci[:MOST_FOCI]
    )
    count = len(view.foci)
    more = f" and {count - MOST_FOCI} more" if count > MOST_FOCI else ""
    word = "focus" if count == 1 else "foci"
    at = f"{view.regions[0].bin_size / 1000:g} kb"
    return f"The reference has {count} {word} at {at} (enrichment over the ring): {listed}{more}."


def _table(records: list[Record]) -> str:
    best = best_values(records)
    head = "".join(
        f'<th title="{_text(SCORES[name].text)}">{_text(SCORES[name].title)}</th>' for name in best
    )
    rows = []
    for record in records:
        settings = f" <small>{_text(record.settings)}</small>" if record.settings else ""
        cells = [f"<td>{_text(record.map)}{settings}</td>"]
        for name, value in best.items():
            text = shown(record.scores[name].value, name)
            is_best = bool(text) and float(text) == value and len(records) > 1
            cells.append(f'<td class="best">{text}</td>' if is_best else f"<td>{text}</td>")
        kind = ' class="baseline"' if record.baseline else ""
        rows.append(f"<tr{kind}>{''.join(cells)}</tr>")
    return (
        f'<div class="scroll"><table><thead><tr><th></th>{head}</tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table></div>"
    )


def embedded(figure: Figure, text: str) -> str:
    """A picture in the page itself; `text` describes it."""
    data = base64.b64encode(figures.png(figure)).decode()
    return f'<img alt="{text}" src="data:image/png;base64,{data}">'


def _text(value: str) -> str:
    return html.escape(str(value))
