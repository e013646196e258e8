"""`report.html` of an enhanced map: its certificate and pictures of what it is sure of."""

import html
import os
import pathlib
from collections.abc import Mapping

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.expected import find_expected
from hicfm_jax.evaluate.baselines import AWARE
from hicfm_jax.evaluate.certificate import LEVELS, NETWORK
from hicfm_jax.evaluate.report.figures import DPI, RATIO_LIMIT, fall, log_scale
from hicfm_jax.evaluate.report.html import embedded, whole_page
from hicfm_jax.evaluate.report.tables import html_table
from hicfm_jax.evaluate.report.zoomable import ZoomPanel, draw_zoomable, most_pixels
from hicfm_jax.evaluate.scores.diagonals import dense
from hicfm_jax.storage import write_atomically

PAGE = "report.html"
MOST_CHROMOSOMES = 5
GRAY = "#d0d0d0"
PIT = "Histogram of the probability of a lower count in pixels set aside; flat if the intervals are right"
SURE = 1.645  # standard deviations from the expected contacts, the 90 % interval of a Gaussian


def write_page(
    certificate: Mapping,
    enhanced: ContactMap,
    fitted: ContactMap,
    folder: str | os.PathLike,
    files: Mapping[str, str | os.PathLike] | None = None,
) -> pathlib.Path:
    """Writes `PAGE` whole or not at all.

    Args:
      certificate: the result of `certificate.certify` for `enhanced` and `fitted`.
      enhanced, fitted: the enhanced map and its input.
      folder: to write to.
      files: URIs of the maps by name, for their checksums.
    """
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
        parts += ["<h2>Intervals</h2>", _intervals(certificate), embedded(_histogram(certificate), PIT)]
    side = most_pixels(4 * len(chromosomes))
    for chrom in sorted(chromosomes, key=list(enhanced.chromsizes).index):
        parts += [f"<h2>{html.escape(chrom)}</h2>", _maps(enhanced, fitted, chrom, side)]
    path = pathlib.Path(folder) / PAGE
    write_atomically(path, whole_page("Enhanced contact map", parts, files or {}).encode())
    return path


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
    return html_table(["distance", *titles, "P(s)", "contacts"], rows)


def _intervals(certificate: Mapping) -> str:
    keys = [f"{100 * level:g}" for level in LEVELS]
    rows = [
        [name, *("" if found[key] is None else f"{found[key]:.1%}" for key in keys), f"{found['pixels']:,}"]
        for name, found in certificate["intervals"].items()
    ]
    widths = certificate["interval_widths"]
    return (
        html_table(["pixels", *(f"within {key} % interval" for key in keys), "number"], rows)
        + f"<p>From end to end, the 90 % interval has {widths[NETWORK]:.3g} contacts on average, that of a "
        f"coverage-aware Gaussian with the best constant overdispersion {widths[AWARE]:.3g}.</p>"
    )


def _histogram(certificate: Mapping) -> Figure:
    figure = Figure(figsize=(4, 2.4), dpi=DPI, layout="constrained")
    axis, values = figure.subplots(), np.array(certificate["pit"])
    axis.bar(np.arange(len(values)) / len(values), values, 1 / len(values), align="edge", color="#bd0026")
    axis.axhline(1 / len(values), color="black", linewidth=0.8)
    axis.set_xlabel("probability of a lower count", fontsize=9)
    axis.set_ylabel("fraction of pixels", fontsize=9)
    return figure


def _maps(enhanced: ContactMap, fitted: ContactMap, chrom: str, side: int) -> str:
    """Input, mean, relative standard deviation, and log ratio to the expected contacts where it is sure.

    Chromosomes of more than `side` bins are drawn in wider bins.
    """
    factor = -(-enhanced.n_bins(chrom) // side)
    shown = enhanced.coarsen(factor)
    counts, mean = (dense(each.matrix(chrom)).astype(np.float64) for each in (fitted.coarsen(factor), shown))
    sd = None if shown.sd is None else dense(shown.sd.matrix(chrom))
    expected = find_expected(shown.matrix(chrom)).dense()
    scale = mean.sum() / max(counts.sum(), 1)
    norm, label = log_scale(np.triu(mean, 1)), f"contacts per pixel of {shown.resolution / 1000:g} kb"
    panels = [
        ZoomPanel(f"input (shown × {scale:.3g})", counts * scale, fall(), norm, label),
        ZoomPanel("enhanced", mean, fall(), norm, label),
    ]
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log2(mean / expected)
        if sd is not None:
            ratio[np.abs(mean - expected) < SURE * sd] = np.nan
            relative = np.where(mean > 0, sd / mean, np.nan)
            limits = Normalize(0, _most(relative))
            panels.append(
                ZoomPanel("relative deviation", relative, colormaps["viridis"], limits, "sd / mean", GRAY)
            )
    limits = Normalize(-RATIO_LIMIT, RATIO_LIMIT)
    title = "over expected" + ("" if sd is None else ", gray where not sure")
    panels.append(ZoomPanel(title, ratio, colormaps["RdBu_r"], limits, "log2(mean / expected)", GRAY))
    return draw_zoomable({"Maps": panels}, chrom, (0, enhanced.chromsizes[chrom]), enhanced.resolution)


def _most(values: np.ndarray) -> float:
    """Almost the largest value: the few above it would hide the differences of all others."""
    finite = values[np.isfinite(values)]
    return float(np.quantile(finite, 0.99)) if finite.size else 1.0
