"""Embeddings of a map at all levels, their files and pictures."""

import dataclasses
import json
import os
import pathlib
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from hicfm_jax.contacts import ContactMap
from hicfm_jax.contacts.annotations.tracks import read_tracks
from hicfm_jax.errors import InputError
from hicfm_jax.infer.network import Network
from hicfm_jax.infer.scan_plan import ScanPlan
from hicfm_jax.storage import atomic_file, check_new_file

LEVELS = ("patches", "windows", "loci", "chromosomes")
"""Levels that have a table of coordinates, the finest first."""


@dataclasses.dataclass
class Embeddings:
    """Embeddings of one map, with a table of coordinates for each level.

    Tables are structured arrays, which `pandas.DataFrame` takes. Positions are in bp, 0-based and half-open.

    Attributes:
      values: level -> embeddings `[N, C]` float32, for some of `LEVELS`; also "genome" `[C]`.
      tables: level -> one row per embedding: `chrom`, `row_start`, `row_end`, `col_start`, `col_end` of
        patches and windows; `chrom`, `start`, `end`, `name` of loci; `chrom`, `start`, `end` of chromosomes.
      about: checkpoint, depth, resolution and so on.
    """

    values: dict[str, np.ndarray]
    tables: dict[str, np.ndarray]
    about: dict[str, Any] = dataclasses.field(default_factory=dict)

    def finest(self) -> str:
        """The finest level there is."""
        return next(level for level in LEVELS if level in self.values)


def made_from(contact_map: ContactMap, network: Network, plan: ScanPlan, **more: Any) -> dict[str, Any]:
    """`Embeddings.about` of a map that was scanned: the checkpoint, the map and the windows."""
    return {
        "checkpoint": network.checkpoint,
        "step": network.step,
        "task": plan.task.name,
        "input": plan.input,
        "resolution": contact_map.resolution,
        "total_count": plan.total_count,
        **more,
        "merge": plan.merge,
        "window": list(plan.window),
        "stride": plan.stride,
        "bound": plan.bound,
    }


def square_table(
    places: Mapping[str, np.ndarray], shape: tuple[int, int], sizes: Mapping[str, int], resolution: int
) -> np.ndarray:
    """Table of windows or patches.

    Args:
      places: chromosome -> first rows and columns `[N, 2]` in bins; before bin 0 they are cut.
      shape: rows and columns of each, in bins.
      sizes: lengths of the chromosomes in bp, where windows are cut.
      resolution: bp.
    """
    kinds = [(name, np.int64) for name in ("row_start", "row_end", "col_start", "col_end")]
    table = np.zeros(sum(map(len, places.values())), [("chrom", _text(places)), *kinds])
    filled = 0
    for chrom, starts in places.items():
        part = table[filled : filled + len(starts)]
        part["chrom"] = chrom
        for axis, name in enumerate(("row", "col")):
            part[f"{name}_start"] = np.maximum(starts[:, axis], 0) * resolution
            ends = (starts[:, axis] + shape[axis]) * resolution
            part[f"{name}_end"] = np.minimum(ends, sizes[chrom])
        filled += len(starts)
    return table


def span_table(rows: Sequence[tuple], named: bool = False) -> np.ndarray:
    """Table of `(chrom, start, end)` in bp, or with `named` of `(chrom, start, end, name)`."""
    kinds = [("chrom", _text([row[0] for row in rows])), ("start", np.int64), ("end", np.int64)]
    if named:
        kinds.append(("name", _text([row[3] for row in rows])))
    return np.array([tuple(row[: len(kinds)]) for row in rows], kinds)


def _text(words) -> str:
    return f"U{max(map(len, words), default=1) or 1}"


def write_embeddings(embeddings: Embeddings, path: str | os.PathLike) -> None:
    """Writes `.npz` or `.h5ad`, whole or not at all.

    The `.npz` has `LEVEL` and `LEVEL_table` for each level, `genome`, and `about` as JSON. The `.h5ad` has
    the finest level as `X` and `obs`, and the others in `uns`.

    Raises:
      InputError: `.h5ad` without anndata.
      OSError: the disk is full or not writable.
    """
    with atomic_file(path) as partial:
        if partial.suffix == ".h5ad":
            _write_h5ad(embeddings, partial)
        else:
            tables = {f"{name}_table": table for name, table in embeddings.tables.items()}
            # One array after the other: patches may be a file larger than memory.
            with partial.open("wb") as file:
                np.savez(file, **embeddings.values, **tables, about=json.dumps(embeddings.about))


def check_anndata(path: pathlib.Path) -> None:
    """Raises InputError if `.h5ad` files cannot be written here."""
    try:
        import anndata  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"{path} needs the package anndata: pip install anndata, or write .npz, which has the same."
        ) from error


def _write_h5ad(embeddings: Embeddings, path: pathlib.Path) -> None:
    import anndata
    import pandas as pd

    finest = embeddings.finest()
    table = pd.DataFrame(embeddings.tables[finest])
    table.index = table.index.astype(str)
    rest = {name: np.asarray(value) for name, value in embeddings.values.items() if name != finest}
    for name, other in embeddings.tables.items():
        if name != finest:
            frame = pd.DataFrame(other)
            frame.index = frame.index.astype(str)
            rest[f"{name}_table"] = frame
    rest["about"] = json.dumps(embeddings.about)
    anndata.AnnData(np.asarray(embeddings.values[finest]), obs=table, uns=rest).write_h5ad(path)


def read_embeddings(path: str | os.PathLike) -> Embeddings:
    """Reads a `.npz` of `write_embeddings`.

    Raises:
      InputError: no such file, or another one.
    """
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        about = json.loads(str(arrays.pop("about")))
        tables = {level: arrays.pop(f"{level}_table") for level in LEVELS if level in arrays}
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise InputError(
            f"{os.fspath(path)} is not a file of embeddings: give a .npz of the task embedding."
        ) from error
    return Embeddings(arrays, tables, about)


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
        import hicfm_jax.evaluate.report.prediction_figures  # noqa: F401
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
    from hicfm_jax.evaluate.report.prediction_figures import draw_embeddings

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
