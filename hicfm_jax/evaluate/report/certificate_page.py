"""`report.html` of an enhanced map: its certificate and pictures of what it is sure of."""

import html
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.certificate import LEVELS, NETWORK
from hicfm_jax.evaluate.report.figures import DPI, RATIO_LIMIT, fall
from hicfm_jax.evaluate.report.html import embedded, whole_page
from hicfm_jax.evaluate.scores.diagonals import dense
from hicfm_jax.storage import write_atomically

PAGE = "report.html"
MOST_PIXELS = 600  # a side; wider chromosomes are drawn in wider bins
MOST_CHROMOSOMES = 5
SURE = 1.645  # standard deviations from the expected contacts, the 90 % interval of a Gaussian


def write_page(certificate: Mapping, enhanced: ContactMap, folder: str | os.PathLike) -> pathlib.Path:
    """Writes `PAGE` whole or not at all; arguments as of `certificate.certify` and its result."""
    chromosomes = sorted(enhanced.chromsizes, key=enhanced.chromsizes.get)[-MOST_CHROMOSOMES:]
    parts = [
        "<h1>Enhanced contact map</h1>",
        f"<p><b>{html.escape(certificate['verdict'])}</b></p>",
        *(f"<p>{html.escape(note)}</p>" for note in certificate["notes"]),
        f'<p class="about">{html.escape(certificate["map"])}, {certificate["resolution"] / 1000:g} kb bins: '
        f"{certificate['fitted_contacts']:,.0f} contacts for training and enhancement, "
        f"{certificate['held_out_contacts']:,.0f} set aside.</p>",
        "<h2>Contacts that were set aside, by distance</h2>",
        _strata(certificate),
        "<p>Poisson deviance per pixel, the lowest in bold. The widths of the filters are the best for these "
        "very contacts. P(s): contacts of the enhanced map over those set aside, with the standard error of "
        "the latter.</p>",
    ]
    if "intervals" in certificate:
        parts += ["<h2>Intervals</h2>", _intervals(certificate), embedded(_histogram(certificate), "PIT")]
    for chrom in sorted(chromosomes, key=list(enhanced.chromsizes).index):
        parts += [f"<h2>{html.escape(chrom)}</h2>", embedded(_maps(enhanced, chrom), f"Maps of {chrom}")]
    path = pathlib.Path(folder) / PAGE
    write_atomically(path, whole_page("Enhanced contact map", parts).encode())
    return path


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    return (
        '<div class="scroll"><table><thead><tr>'
        + "".join(f"<th>{name}</th>" for name in head)
        + "</tr></thead><tbody>"
        + "".join(f"<tr>{line}</tr>" for line in lines)
        + "</tbody></table></div>"
    )


def _strata(certificate: Mapping) -> str:
    names = [NETWORK, *certificate["filters"]]
    titles = [NETWORK, *(f"{name} <small>{text}</small>" for name, text in certificate["filters"].items())]
    rows = []
    for each in certificate["strata"]:
        least = min(each["deviance"].values())
        cells = [f"{each['deviance'][name]:.4f}" for name in names]
        cells = [
            f"<b>{cell}</b>" if each["deviance"][name] == least else cell
            for name, cell in zip(names, cells, strict=True)
        ]
        ratio = (
            "" if each["decay_ratio"] is None else f"{each['decay_ratio']:.3f} ± {each['decay_error']:.3f}"
        )
        distance = f"{each['from_bp'] / 1000:g} to {each['to_bp'] / 1000:g} kb"
        rows.append([distance, *cells, ratio, f"{each['contacts']:,.0f}"])
    return _table(["distance", *titles, "P(s)", "contacts"], rows)


def _intervals(certificate: Mapping) -> str:
    keys = [f"{100 * level:g}" for level in LEVELS]
    rows = [
        [name, *("" if found[key] is None else f"{found[key]:.1%}" for key in keys), f"{found['pixels']:,}"]
        for name, found in certificate["intervals"].items()
    ]
    return _table(["pixels", *(f"within {key} % interval" for key in keys), "number"], rows)


def _histogram(certificate: Mapping) -> Figure:
    figure = Figure(figsize=(4, 2.4), dpi=DPI, layout="constrained")
    axis, values = figure.subplots(), np.array(certificate["pit"])
    axis.bar(np.arange(len(values)) / len(values), values, 1 / len(values), align="edge", color="#bd0026")
    axis.axhline(1 / len(values), color="black", linewidth=0.8)
    axis.set_xlabel("probability of a lower count", fontsize=9)
    axis.set_ylabel("fraction of pixels", fontsize=9)
    return figure


def _maps(enhanced: ContactMap, chrom: str) -> Figure:
    """Mean, relative standard deviation, and log ratio to the expected contacts where it is sure."""
    shown = enhanced.coarsen(-(-enhanced.n_bins(chrom) // MOST_PIXELS))
    mean = dense(shown.matrix(chrom))
    sd = None if shown.sd is None else dense(shown.sd.matrix(chrom))
    expected = find_expected(shown.matrix(chrom)).dense()
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log2(mean / expected)
        if sd is not None:
            ratio[np.abs(mean - expected) < SURE * sd] = np.nan
        panels = {"log10(1 + contacts)": (np.log10(1 + mean), {"cmap": fall()})}
        if sd is not None:
            relative = sd / mean
            panels["sd / mean"] = (relative, {"cmap": "viridis", "vmin": 0, "vmax": _most(relative)})
    limits = {"cmap": "RdBu_r", "vmin": -RATIO_LIMIT, "vmax": RATIO_LIMIT}
    panels["log2(mean / expected), gray where not sure"] = (ratio, limits)
    figure = Figure(figsize=(4.2 * len(panels), 3.8), dpi=DPI, layout="constrained")
    length = enhanced.chromsizes[chrom] / 1e6
    for axis, (title, (values, style)) in zip(
        figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True
    ):
        axis.set_facecolor("#d0d0d0")
        image = axis.imshow(values, extent=(0, length, length, 0), interpolation="none", **style)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel(f"{chrom}, Mb", fontsize=9)
        figure.colorbar(image, ax=axis, shrink=0.8)
    return figure


def _most(values: np.ndarray) -> float:
    """Almost the largest value: the few above it would hide the differences of all others."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.99)) if finite.size else 1.0
