"""`report.html`: one page with its pictures embedded."""

import base64
import datetime
import hashlib
import html
import os
import pathlib
import shlex
import sys
from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

from hicfm_jax.cli import version
from hicfm_jax.evaluate.comparison import POOLED, TRANS, ChromosomeView, Comparison, Record
from hicfm_jax.evaluate.report import figures, zoomable
from hicfm_jax.evaluate.report.tables import best_values, html_table, shown
from hicfm_jax.evaluate.scores import SCORES
from hicfm_jax.progress import doing

MOST_FOCI = 12
MOST_PICTURED = 10  # chromosomes, the longest ones: a page stays below 5 MB

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
th { white-space: normal; max-width: 8em; vertical-align: bottom; border-bottom: 2px solid #444; }
th:first-child, td:first-child { text-align: left; position: sticky; left: 0; background: white; }
table.defined td:first-child { white-space: normal; width: 30em; min-width: 11em; }
tbody tr { border-bottom: 1px solid #e4e4e4; } .baseline { color: #666; font-weight: 400; }
small { color: #666; font-weight: 400; } img { max-width: 100%; height: auto; }
@media (max-width: 700px) { .scroll img { max-width: none; } }
pre { white-space: pre-wrap; overflow-wrap: anywhere; } p { overflow-wrap: anywhere; }
"""


def render(comparison: Comparison) -> str:
    """The whole page."""
    names = ", ".join(view.name for view in comparison.chromosomes)
    settings = "; ".join(f"{name}: {text}" for name, text in comparison.settings.items())
    parts = [
        "<h1>Contact maps compared with a reference</h1>",
        f'<p class="about">Reference: {_text(comparison.reference)}, {comparison.resolution / 1000:g} kb '
        f"bins. Evaluated: {_text(names)}.<br>{_text(settings)}.</p>",
        *(f'<p class="warning"><b>Warning.</b> {_text(text)}</p>' for text in comparison.warnings),
        "<h2>Scores</h2>",
        _table(comparison.of(POOLED), defined=True),
        "<p>The best value of each score is bold. Maps in gray are built-in baselines. Several chromosomes "
        "are weighted by their pixels, bins or foci.</p>",
        *(f"<p>{_text(text)}</p>" for text in comparison.notes),
    ]
    if between := comparison.of(TRANS):
        parts += [
            "<h2>Between chromosomes</h2>",
            _table(between),
            "<p>All pixels between two of these chromosomes. Correlations are within each pair of them, "
            "averaged by pixels.</p>",
        ]
    views = comparison.chromosomes
    pictured = {view.name: view for view in sorted(views, key=lambda view: view.length)[-MOST_PICTURED:]}
    if len(pictured) < len(views):
        parts.append(f"<p>Pictures are of the {MOST_PICTURED} longest chromosomes.</p>")
    # Ratios are drawn at half of this side.
    side = zoomable.most_pixels(sum(1.25 * len(view.thumbnails) for view in pictured.values()))
    for view in views:
        parts.append(f"<h2>{_text(view.name)}</h2>")
        if len(views) > 1:
            parts.append(_table(comparison.of(view.name)))
        if view.name in pictured:
            parts += _pictures(comparison, view, side)
    return whole_page(f"Contact maps: {names}", parts, comparison.files)


def whole_page(title: str, parts: Sequence[str], files: Mapping[str, str | os.PathLike]) -> str:
    """A page of these parts, in HTML, with the style of all reports, and how it was made from `files`."""
    body = "\n".join([*parts, *_origin(files)])
    script = f"<script>\n{zoomable.SCRIPT.read_text()}</script>\n" if 'class="linked"' in body else ""
    return (
        '<!doctype html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{_text(title)}</title>\n<style>{STYLE}{zoomable.STYLE}</style></head>\n"
        f"<body>\n{body}\n{script}</body>\n</html>\n"
    )


def _pictures(comparison: Comparison, view: ChromosomeView, side: int) -> list[str]:
    name = _text(view.name)
    sections = {
        "Maps": figures.map_panels(view, side),
        "Ratio to the reference": figures.ratio_panels(view, side // 2),
    }
    return [
        f"<p>SSIM and PSNR are of log10(1 + count), with a data range of {view.data_range:.2f}.</p>",
        zoomable.draw_zoomable(sections, view.name, (view.origin, view.length), comparison.resolution),
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


def _table(records: list[Record], defined: bool = False) -> str:
    """A row for each score, with its definition if that is asked for, and a column for each map."""
    head, rows = [""], []
    for record in records:
        settings = f"<br><small>{_text(record.settings)}</small>" if record.settings else ""
        head.append(f'<span class="{_kind(record)}">{_text(record.map)}</span>{settings}')
    for name, best in best_values(records).items():
        score = SCORES[name]
        unit = f", {score.unit}" if score.unit else ""
        lower = "; lower is better" if score.better == "lower" else ""
        text = f"{score.text}{unit}; pooled by {score.pooled_by}{lower}"
        row = [_text(score.title) + (f"<br><small>{_text(text)}</small>" if defined else "")]
        for record in records:
            value = shown(record.scores[name].value, name)
            is_best = bool(value) and float(value) == best and len(records) > 1
            row.append(f"<b>{value}</b>" if is_best else f'<span class="{_kind(record)}">{value}</span>')
        rows.append(row)
    return html_table(head, rows, "defined" if defined else "facts")


def _kind(record: Record) -> str:
    return "baseline" if record.baseline else "map"


def embedded(picture: Figure | bytes, text: str) -> str:
    """A picture, drawn or as a PNG, in the page itself; `text` describes it."""
    data = base64.b64encode(picture if isinstance(picture, bytes) else figures.png(picture)).decode()
    return f'<div class="scroll"><img alt="{text}" src="data:image/png;base64,{data}"></div>'


def _text(value: str) -> str:
    return html.escape(str(value))


def _origin(files: Mapping[str, str | os.PathLike]) -> list[str]:
    """HTML of version, date, command, and the SHA-256 of each input.

    Args:
      files: URIs of the input by the name of their part in the report.
    """
    program = pathlib.Path(sys.argv[0])
    by_command = program.parent.name == "scripts" or program.name.startswith("hicfm ")
    command = f"{program.name} {shlex.join(sys.argv[1:])}" if by_command else "Made from Python."
    now = datetime.datetime.now(datetime.UTC)
    parts = [
        "<h2>How this page was made</h2>",
        f'<p class="about">hicfm_jax {_text(version())}, {now:%Y-%m-%d %H:%M} UTC</p>',
        f"<pre>{_text(command)}</pre>",
    ]
    paths = {name: pathlib.Path(os.fspath(uri).partition("::")[0]) for name, uri in files.items()}
    with doing("Computing checksums"):
        rows = [
            [_text(name), _text(path.name), f"{path.stat().st_size:,}", _sha256(path)]
            for name, path in paths.items()
            if path.is_file()
        ]
    if rows:
        parts.append(html_table(["", "file", "bytes", "SHA-256"], rows))
    return parts


def _sha256(path: pathlib.Path) -> str:
    with open(path, "rb") as file:
        return f"<code>{hashlib.file_digest(file, 'sha256').hexdigest()}</code>"
