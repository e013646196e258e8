"""Chromosome-level covariates of windows: decay, bias and coverage.

They are stored once per map and chromosome: with every tile, they would take a third of the disk
that sparse counts do.
"""

import os
import zipfile
import zlib
from collections.abc import Iterable, Mapping

import numpy as np
from etils import epath

from hicfm_jax.contacts.expected import Expected
from hicfm_jax.storage import check_inflated
from hicfm_jax.tiles.dataset import damaged

FILE = "context.npz"
"""In the folder of a dataset."""

_VECTORS = ("decay", "bias", "coverage")

ByChromosome = Mapping[tuple[str, str], Expected]
"""By assay and chromosome."""


def no_context(count: int, window: tuple[int, int]) -> dict[str, np.ndarray]:
    """Uninitialized `Batch.context` of `count` windows `(H, W)`, for `place_context`."""
    height, width = window
    sizes = {"row_bias": height, "column_bias": width, "row_coverage": height, "column_coverage": width}
    sizes["decay"] = height + width - 1
    return {name: np.empty((count, size), np.float32) for name, size in sizes.items()}


def place_context(
    out: Mapping[str, np.ndarray],
    index: int,
    expected: Expected,
    start: tuple[int, int],
    window: tuple[int, int],
    flips: np.ndarray,
) -> None:
    """Fills in the context of window number `index` in `out`, the result of `no_context`.

    `start` is its first bin of rows and of columns before the flips, which are (reverse, transpose) as
    in `sampling.Crops`.
    """
    reverse, transpose = flips
    for name, values in expected.window(*start, window).items():
        if name == "decay":
            # Each flip reverses the distance c - r of a pixel, so two leave it unchanged.
            out[name][index] = values[::-1] if reverse != transpose else values
            continue
        axis, _, kind = name.partition("_")
        if transpose:
            axis = "column" if axis == "row" else "row"
        out[f"{axis}_{kind}"][index] = values[::-1] if reverse else values


def pack(expected: ByChromosome) -> dict[str, np.ndarray]:
    """The same values as arrays by name, one of each kind for all chromosomes."""
    arrays = {
        "assays": np.array([assay for assay, _ in expected], np.str_),
        "chromosomes": np.array([chromosome for _, chromosome in expected], np.str_),
        "bins": np.array([len(each.bias) for each in expected.values()], np.int64),
    }
    for name in _VECTORS:
        arrays[name] = np.concatenate([np.zeros(0), *(getattr(each, name) for each in expected.values())])
    return arrays


def unpack(arrays: Mapping[str, np.ndarray]) -> dict[tuple[str, str], Expected]:
    """Inverse of `pack`; raises KeyError or ValueError for other arrays."""
    bins, expected, start = arrays["bins"], {}, 0
    size, vectors = int(bins.sum()), {name: arrays[name] for name in _VECTORS}
    for name, values in vectors.items():
        if values.dtype != np.float64 or values.shape != (size,) or (bins < 1).any():
            raise ValueError(f"{name} has {values.shape} {values.dtype}, not ({size},) float64")
    keys = zip(arrays["assays"].tolist(), arrays["chromosomes"].tolist(), strict=True)
    for key, count in zip(keys, bins.tolist(), strict=True):
        expected[key] = Expected(**{name: values[start : start + count] for name, values in vectors.items()})
        start += count
    return expected


def read_context(
    folder: str | os.PathLike, needed: Iterable[tuple[str, str]]
) -> dict[tuple[str, str], Expected]:
    """Reads the file of a dataset; raises InputError if it is damaged or lacks a `needed` chromosome."""
    path = epath.Path(folder) / FILE
    try:
        check_inflated(path)
        with path.open("rb") as content, np.load(content, allow_pickle=False) as file:
            expected = unpack({name: file[name] for name in file.files})
        missing = [key for key in needed if key not in expected]
        if missing:
            raise ValueError(f"no {' '.join(missing[0])} in it")
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise damaged(path, error) from error
    return expected
