"""Scatter plot of embeddings: two principal components, and UMAP where it is installed."""

import numpy as np
from matplotlib.figure import Figure

from hicfm_jax.evaluate.report.figures import DPI, LINES

MOST_POINTS = 20_000
MOST_COLORS = len(LINES)


def draw_embeddings(values: np.ndarray, colors: np.ndarray, label: str) -> Figure:
    """Points `[N, C]` in two dimensions, by PCA and, if umap-learn is installed, by UMAP.

    Args:
      values: embeddings; of more than `MOST_POINTS` a random part is drawn.
      colors: one number per point, NaN where unknown (gray); or one name, which gets a legend for up to
        `MOST_COLORS` names.
      label: of the colors.
    """
    if len(values) > MOST_POINTS:
        part = np.sort(np.random.default_rng(0).permutation(len(values))[:MOST_POINTS])
        values, colors = values[part], colors[part]
    projected = {"PCA": principal_components(values)}
    if (layout := _umap(values)) is not None:
        projected["UMAP"] = layout, ["UMAP 1", "UMAP 2"]
    figure = Figure(figsize=(5.2 * len(projected) + 0.8, 4.6), dpi=DPI, layout="constrained")
    axes = figure.subplots(1, len(projected), squeeze=False)[0]
    for axis, (title, (points, names)) in zip(axes, projected.items(), strict=True):
        shown = _scatter(axis, points, colors)
        axis.set(title=title, xlabel=names[0], ylabel=names[1], xticks=[], yticks=[])
    if shown is not None:
        figure.colorbar(shown, ax=list(axes), label=label, shrink=0.8)
    else:
        figure.legend(*axes[0].get_legend_handles_labels(), title=label, loc="outside right center")
    return figure


def principal_components(values: np.ndarray) -> tuple[np.ndarray, list[str]]:
    """The first two principal components `[N, 2]`, and their names with the variance they explain."""
    centered = values.astype(np.float64) - values.mean(axis=0, dtype=np.float64)
    left, scale, _ = np.linalg.svd(centered, full_matrices=False)
    points = np.zeros((len(values), 2))
    number = min(2, len(scale))
    points[:, :number] = left[:, :number] * scale[:number]
    shares = scale**2 / max((scale**2).sum(), 1e-30)
    return points, [f"PC{i + 1} ({shares[i]:.0%})" if i < number else f"PC{i + 1}" for i in range(2)]


def _umap(values: np.ndarray) -> np.ndarray | None:
    """UMAP's layout `[N, 2]`; None without umap-learn, or for too few points."""
    if len(values) < 20:
        return None
    try:
        import umap
    except ImportError:
        return None
    return umap.UMAP(random_state=0, n_jobs=1).fit_transform(values)


def _scatter(axis, points: np.ndarray, colors: np.ndarray):
    style = {"s": 9, "linewidths": 0}
    if colors.dtype.kind != "U":
        unknown = ~np.isfinite(colors)
        axis.scatter(*points[unknown].T, color="lightgray", **style)
        low, high = np.nanpercentile(colors, [2, 98]) if not unknown.all() else (0, 1)
        return axis.scatter(*points[~unknown].T, c=colors[~unknown], vmin=low, vmax=high, **style)
    names = list(dict.fromkeys(colors.tolist()))
    for index, name in enumerate(names):
        color = LINES[index % MOST_COLORS]
        shown = name if len(names) <= MOST_COLORS else None
        axis.scatter(*points[colors == name].T, color=color, label=shown, **style)
    return None
