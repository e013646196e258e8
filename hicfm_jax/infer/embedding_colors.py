"""What the picture of embeddings is colored by: chromosomes, coverage or a track."""

import os
import pathlib

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.tracks import read_tracks
from hicfm_jax.errors import InputError
from hicfm_jax.infer.embedding_table import Embeddings
from hicfm_jax.storage import atomic_file, check_new_file

CHROMOSOME, COVERAGE = "chromosome", "coverage"


def check_picture(path: str | os.PathLike, color_by: str, contact_map: ContactMap) -> None:
    """Checks a picture before the work.

    Raises:
      InputError: not a new .png file, no matplotlib, or a track that cannot be read.
    """
    path = pathlib.Path(path)
    if path.suffix.lower() != ".png":
        raise InputError(f"{path}: a picture is a .png file: give such a name.")
    check_new_file(path)
    try:
        import hicfm_jax.evaluate.report.inference_figures  # noqa: F401
    except ImportError as error:
        raise InputError(f"{path} needs matplotlib: pip install matplotlib, or leave picture out.") from error
    if color_by not in (CHROMOSOME, COVERAGE):
        _track(color_by, contact_map)


def write_picture(
    embeddings: Embeddings, path: str | os.PathLike, color_by: str, contact_map: ContactMap
) -> None:
    """Draws windows, or loci, in two dimensions, and writes a PNG file.

    Args:
      embeddings: of the map.
      path: the file.
      color_by: "chromosome"; "coverage", the mean contacts per bin; or a track as FILE or FILE:COLUMN. Of a
        window the mean over its rows.
      contact_map: the map.
    """
    from hicfm_jax.evaluate.report.figures import png
    from hicfm_jax.evaluate.report.inference_figures import draw_embeddings

    level = "windows" if "windows" in embeddings.values else "loci"
    table = embeddings.tables[level]
    start, end = ("row_start", "row_end") if level == "windows" else ("start", "end")
    if color_by == CHROMOSOME:
        colors, label = table["chrom"], "chromosome"
    else:
        if color_by == COVERAGE:
            values, label = _coverage(contact_map, np.unique(table["chrom"])), "log10(1 + contacts per bin)"
        else:
            label, values = _track(color_by, contact_map)
        resolution = contact_map.resolution
        colors = np.array(
            [
                _mean(values[row["chrom"]][row[start] // resolution : -(-row[end] // resolution)])
                for row in table
            ]
        )
    figure = draw_embeddings(np.asarray(embeddings.values[level]), colors, label)
    with atomic_file(path) as partial:
        partial.write_bytes(png(figure))


def _mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if known.size else float("nan")


def _coverage(contact_map: ContactMap, chromosomes) -> dict[str, np.ndarray]:
    """log10(1 + cis contacts) of each bin."""
    found = {}
    for chrom in chromosomes:
        matrix = contact_map.matrix(str(chrom))
        contacts = matrix.sum(axis=0) + matrix.sum(axis=1) - matrix.diagonal()
        found[str(chrom)] = np.log10(1 + contacts.astype(np.float64))
    return found


def _track(text: str, contact_map: ContactMap) -> tuple[str, dict[str, np.ndarray]]:
    path, colon, column = text.rpartition(":")
    if not colon or os.path.exists(text):
        path, column = text, ""
    tracks = read_tracks(path, contact_map, [column] if column else None)
    if len(tracks) != 1:
        listed = ", ".join(list(tracks)[:8])
        raise InputError(f"{path} has several tracks, {listed}: choose one as {path}:NAME.")
    name, values = next(iter(tracks.items()))
    return name, dict(values)
